"""The Django application under real servers: gunicorn with a fork behind the first mail, and with gevent."""

import http.client
import json
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from redis.asyncio import Redis

from local.embedded.ports import free_port
from tests.django_environment import APPLICATION, django_python, django_variables
from tests.environments import client_site
from tests.support import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return client_site(tmp_path_factory.mktemp("django"))


def start(command: list[str], output: BinaryIO, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    own_files = ["--worker-tmp-dir", "/tmp"]  # noqa: S108  gunicorn's
    return subprocess.Popen(
        [*command, *own_files], cwd=APPLICATION, env=variables, stdout=output, stderr=subprocess.STDOUT
    )


@asynccontextmanager
async def gunicorn(site: Path, log: Path, *options: str, **variables: str) -> AsyncIterator[int]:
    """The application under gunicorn; the port at which it answers."""
    python, port = django_python("5.2", "gunicorn[gevent]==27.0.1", "gevent==26.9.0"), free_port()
    command = [str(python), "-m", "gunicorn", "shop.wsgi:application", "-b", f"127.0.0.1:{port}", *options]
    with log.open("wb") as output:
        server = start(command, output, django_variables(site) | variables)
        try:
            await eventually(lambda: answers(server, log, port), timeout=60, every=0.1)
            yield port
        finally:
            server.terminate()
            server.wait(30)


def get(port: int, path: str) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def answers(server: subprocess.Popen[bytes], log: Path, port: int) -> bool:
    assert server.poll() is None, log.read_text()
    try:
        return get(port, "/process")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
async def test_processes_forked_after_a_mail_queue_their_own_mails_and_tasks_once(
    site: Path, valkey_url: str, redis: Redis, tmp_path: Path, worker: str
) -> None:
    log = tmp_path / "log"
    patched = tmp_path / "gunicorn.conf.py"  # before the application is loaded, as gevent demands
    patched.write_text("from gevent import monkey\nmonkey.patch_all()\n")
    more = {"sync": (), "gthread": ("--threads", "4"), "gevent": ("-c", str(patched))}
    options = ("--preload", "-w", "3", "-k", worker, *more[worker])
    async with gunicorn(site, log, *options, SHOP_REDIS=valkey_url, SHOP_PRELOADED="1") as port:
        with ThreadPoolExecutor(8) as threads:
            replies = [
                one.result() for one in [threads.submit(get, port, f"/notify?name=n{n}") for n in range(60)]
            ]
    assert {status for status, _ in replies} == {200}, log.read_text()
    assert len({reply["process"] for _, reply in replies}) > 1
    queued = await redis.zrange("arq:queue:{mail}:mail.normal", 0, -1)
    sent = [json.loads(await redis.get(b"arq:job:" + one))["k"]["to"] for one in queued]
    assert sorted(sent) == sorted(["preloaded@example.com", *(f"n{n}@example.com" for n in range(60))])
    tasks = await redis.zrange("arq:queue:{jobs}:jobs.tasks", 0, -1)
    assert sorted(one.decode() for one in tasks) == sorted(reply["task"] for _, reply in replies)
    assert "Traceback" not in log.read_text()


@contextmanager
def silent_server() -> Iterator[str]:
    """A Redis that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []
        stopped = threading.Event()

        def accept() -> None:
            while not stopped.is_set():
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in taken:
                one.close()


async def test_under_gevent_a_silent_redis_costs_each_request_its_budget_and_the_others_nothing(
    site: Path, tmp_path: Path
) -> None:
    """Twenty requests wait at once in one process, so they end together, and another is answered meanwhile."""
    ended: list[str] = []
    log = tmp_path / "log"
    with silent_server() as url, ThreadPoolExecutor(20) as threads:
        async with gunicorn(site, log, "-w", "1", "-k", "gevent", SHOP_REDIS=url, SHOP_BUDGET="3") as port:
            waiting = [threads.submit(get, port, f"/notify?name=n{n}") for n in range(20)]
            for one in waiting:
                one.add_done_callback(lambda _: ended.append("waiting"))
            assert get(port, "/process")[0] == 200
            ended.append("other")
            statuses = [one.result()[0] for one in as_completed(waiting, timeout=30)]
    assert ended == ["other", *["waiting"] * 20]
    assert statuses == [503] * 20, log.read_text()
