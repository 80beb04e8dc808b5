"""Applications on FastAPI and Flask with the built wheel: their tests, and real servers on a real Redis."""

import http.client
import json
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.environments import client_site
from tests.support import eventually
from tests.web.frameworks import run, server, starlette_sources

pytestmark = pytest.mark.timeout(300)
"""The first run makes the environment."""
QUIET = ("-q", "-c", "/dev/null", "--rootdir", ".", "--noconftest", "-p", "no:cacheprovider", "-W", "error")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return client_site(tmp_path_factory.mktemp("wheel"))


@pytest.mark.parametrize("name", ["check_fastapi.py", "check_flask.py"])
def test_an_application_is_tested_with_the_fixtures_of_the_plugin(site: Path, name: str) -> None:
    tested = run(site, "-m", "pytest", *QUIET, "-p", "no:asyncio", name)
    assert tested.returncode == 0, tested.stdout + tested.stderr


PLAIN = """
import sys

def test_sync(momentus_sync_producer): assert momentus_sync_producer.sent == []

def test_unused():
    assert not [name for name in sys.modules if name.startswith(("fastapi", "flask"))]
"""
ASYNCIO = """
import pytest

@pytest.mark.asyncio
@pytest.mark.parametrize("turn", [1, 2])
async def test_loop(momentus_sessions, turn):
    token, _ = await momentus_sessions.create("u-17", {})
    assert await momentus_sessions.load(token)
"""
OWN_LOOP = ("-o", "asyncio_default_fixture_loop_scope=function")
ANYIO = (
    ASYNCIO.replace("pytest.mark.asyncio", "pytest.mark.anyio")
    + """
@pytest.fixture
def anyio_backend(): return "asyncio"
"""
)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        pytest.param(PLAIN, ("-p", "no:asyncio", "-p", "no:anyio"), id="without an asyncio plugin"),
        pytest.param(ASYNCIO, ("-p", "no:anyio", *OWN_LOOP), id="pytest-asyncio", marks=pytest.mark.long),
        pytest.param(ANYIO, ("-p", "no:asyncio"), id="anyio", marks=pytest.mark.long),
    ],
)
def test_the_plugin_fits_every_way_to_run_coroutines(
    site: Path, tmp_path: Path, source: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "test_it.py").write_text(source)
    tested = run(site, "-m", "pytest", *QUIET, *options, cwd=tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "2 passed" in tested.stdout


MAIL = 'Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"})'
FIRST_MAILS = {
    "fastapi": f"""
import asyncio, os, sys
from momentus_client.fastapi import Momentus
from momentus_client.jobs import Mail

async def main():
    momentus = Momentus.connect(os.environ["SHOP_REDIS"], budget=5)
    async with momentus.lifespan():
        before = {{*sys.modules}}
        await momentus.producer.send({MAIL})
        print(sorted(sys.modules.keys() - before))

asyncio.run(main())
""",
    "flask": f"""
import os, sys
from flask import Flask
from momentus_client.flask import Momentus

momentus = Momentus(url=os.environ["SHOP_REDIS"], budget=5)
app = Flask("shop")
momentus.init_app(app)
from momentus_client.jobs import Mail  # as a view that is imported later does

with app.app_context():
    before = {{*sys.modules}}
    momentus.producer.send({MAIL})
    print(sorted(sys.modules.keys() - before))
""",
}


@pytest.mark.parametrize("name", FIRST_MAILS)
def test_the_first_mail_of_an_application_imports_nothing(site: Path, valkey_url: str, name: str) -> None:
    done = run(site, "-c", FIRST_MAILS[name], SHOP_REDIS=valkey_url)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize("name", ["fastapi", "flask"])
def test_an_origin_that_no_browser_would_send_is_refused_where_it_is_written(site: Path, name: str) -> None:
    code = f"""
from momentus_client.{name} import Momentus

make = getattr(Momentus, "connect", Momentus)
make(url="redis://127.0.0.1:1/0", trusted_origins=["https://a.example:8443", "capacitor://localhost", "http://[::1]"])
for wrong in ("https://a.example", ["https://a.example/"], ["a.example"], ["https://A.example"], ["*"]):
    try:
        make(url="redis://127.0.0.1:1/0", trusted_origins=wrong)
    except ValueError as refusal:
        print(str(refusal).partition(": ")[0])
"""
    done = run(site, "-c", code)
    assert (done.returncode, done.stdout.split()) == (0, ["trusted_origins"] * 5), done.stderr


def test_an_application_on_fastapi_without_mails_loads_none_of_their_libraries(site: Path) -> None:
    code = """
import asyncio, sys
from momentus_client.fastapi import Momentus
from momentus_client.jobs import Job

async def main():
    async with Momentus.connect("redis://127.0.0.1:1/0").lifespan():
        print([name for name in ("jinja2", "momentus_client.jobs.mail") if name in sys.modules])

asyncio.run(main())
"""
    done = run(site, "-c", code)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_plugin_loads_nothing_until_a_test_asks_for_a_fixture(site: Path) -> None:
    code = (
        "import momentus_client.pytest_plugin, sys; "
        "print([name for name in sys.modules if name.startswith(('momentus_client.', 'redis', 'orjson'))])"
    )
    done = run(site, "-c", code)
    assert done.stdout.strip() == "['momentus_client.pytest_plugin']", done.stderr


@pytest.mark.long
def test_starlettes_own_tests_of_sessions_hold_on_our_middleware(
    site: Path, valkey_url: str, tmp_path: Path
) -> None:
    module = starlette_sources() / "tests/middleware/test_session.py"
    (tmp_path / "tests").mkdir()
    for name in ("__init__.py", "types.py"):
        (tmp_path / "tests" / name).symlink_to(module.parents[1] / name)
    (tmp_path / module.name).symlink_to(module)
    tested = run(
        site,
        *("-m", "pytest", *QUIET, "-p", "no:asyncio", "-p", "starlette_sessions", "-W", "ignore", module.name),
        cwd=tmp_path,
        SHOP_REDIS=valkey_url,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "6 passed" in tested.stdout, tested.stdout


# ---- real servers


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Browser:
    """One user's browser: keeps the cookie, as a browser would over http."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookie = ""

    def ask(self, method: str, path: str) -> tuple[int, str]:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)) as connection:
            connection.request(method, path, headers={"Cookie": self._cookie} if self._cookie else {})
            response = connection.getresponse()
            self._cookie = (response.headers["Set-Cookie"] or self._cookie).partition(";")[0]
            return response.status, response.read().decode()


SERVERS = {
    "uvicorn, two processes": ("uvicorn", "fastapi_shop:app", "--workers", "2", "--port", "{port}"),
    "gunicorn, forked with the application loaded": (
        *("gunicorn", "flask_shop:create_app()", "--preload", "-w", "2", "--threads", "4"),
        *("-b", "127.0.0.1:{port}", "--worker-tmp-dir", "/tmp"),  # noqa: S108  gunicorn's own files
    ),
    "gunicorn, each process loads the application": (
        *("gunicorn", "flask_shop:create_app()", "-w", "2", "-b", "127.0.0.1:{port}"),
    ),
    "gunicorn with gevent": (
        *("gunicorn", "flask_shop:create_app()", "-k", "gevent", "-w", "2", "-b", "127.0.0.1:{port}"),
    ),
    "gunicorn with gevent, forked with the application loaded": (
        *("gunicorn", "flask_shop:create_app()", "--preload", "-k", "gevent", "-w", "2", "-b", "127.0.0.1:{port}"),
    ),
    "the development server of Flask with its reloader": (
        *("flask", "--app", "flask_shop:create_app()", "run", "--debug", "--port", "{port}"),
    ),
}
SHORT = {"uvicorn, two processes", "gunicorn, forked with the application loaded"}
CASES = [pytest.param(name, id=name, marks=[] if name in SHORT else [pytest.mark.long]) for name in SERVERS]


@pytest.mark.parametrize("name", CASES)
async def test_under_a_real_server_all_processes_share_logins_and_queue_each_mail_once(
    site: Path, valkey_url: str, tmp_path: Path, name: str
) -> None:
    port = free_port()
    arguments = [one.format(port=port) for one in SERVERS[name]]
    log = tmp_path / "log"
    with server(site, *arguments, log=log, SHOP_REDIS=valkey_url, SHOP_HTTP="1") as process:
        browser = Browser(port)
        await eventually(lambda: _serves(browser, process, log), timeout=60, every=0.1)
        assert browser.ask("POST", "/login?user=u-17&root=17")[0] == 200
        assert {browser.ask("GET", "/management")[0] for _ in range(20)} == {200}
        assigned = [json.loads(browser.ask("POST", f"/tasks/{n % 5}/assign")[1]) for n in range(20)]
        assert len({one["id"] for one in assigned}) == 5
        assert sorted(one["state"] for one in assigned) == ["duplicate"] * 15 + ["queued"] * 5
        assert browser.ask("POST", "/logout")[0] == 200
        assert {browser.ask("GET", "/me")[0] for _ in range(10)} == {401}
    assert "Traceback" not in log.read_text()


def _serves(browser: Browser, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return browser.ask("GET", "/visitor")[0] == 200
    except OSError:
        return False
