"""The npm package, built and installed as a Node backend would; what it stores is what Python's client stores."""

import asyncio
import fcntl
import hashlib
import json
import shutil
import socket
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from client.npm import write_package
from jobs import Mail, NamedJob
from local.sink.smtp import MailSink
from local.supervisor.supervisor import Supervisor
from producers import Producer
from sessions import Sessions
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "tests/node"
NPM = shutil.which("npm") or ""
PACKAGES = ["ioredis@6.0.0", "express@5.1.0"]
MAIL = {"to": "ana@example.com", "subject": "s", "text": "t"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
COMPILER = ["typescript@5.9.3", "@types/node@22.19.0"]

pytestmark = [
    pytest.mark.skipif(not NPM, reason="Node and npm are not on this machine"),
    pytest.mark.timeout(300),  # the first run installs packages
]


def installed(wanted: list[str]) -> Path:
    """A folder with these packages, installed once and kept."""
    digest = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:12]
    folder = ROOT / ".momentus/node" / digest
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            (folder / "package.json").write_text("{}", encoding="utf-8")
            subprocess.run(
                [NPM, "install", "--silent", "--no-audit", "--no-fund", *wanted], cwd=folder, check=True
            )
            (folder / "complete").touch()
    return folder / "node_modules"


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a backend's: the package built from this checkout, and the scripts of these tests."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "node_modules").mkdir()
    for one in installed(PACKAGES).iterdir():
        (folder / "node_modules" / one.name).symlink_to(one)
    write_package(folder / "node_modules/momentus-client")
    for script in SCRIPTS.iterdir():
        shutil.copy(script, folder)
    return folder


async def node(folder: Path, *words: str) -> Any:
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec("node", *words, cwd=folder, stdout=pipe, stderr=pipe)
    said, wrong = await running.communicate()
    assert running.returncode == 0, wrong.decode()
    return json.loads(said)


class Backend:
    """A backend's process that makes calls of the package one after the other, each with a client of its own.

    Args:
        folder: with the package and the scripts.
    """

    def __init__(self, folder: Path) -> None:
        command, pipe = ["node", "calls.mjs"], subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    async def answer(self, url: str, name: str, *arguments: Any) -> Any:
        """What one call gives: its value or its error."""
        return await asyncio.to_thread(self._ask, {"url": url, "call": name, "words": arguments})

    def _ask(self, question: dict[str, Any]) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        said = process.stdout.readline()
        assert said, process.stderr.read()
        return json.loads(said)

    def end(self) -> None:
        """Close its input; it ends by itself, and well."""
        _, wrong = self._process.communicate(timeout=30)
        assert (self._process.returncode, wrong) == (0, "")


@pytest.fixture(scope="module")
def calls(application: Path) -> Iterator[Backend]:
    running = Backend(application)
    yield running
    running.end()


async def call(calls: Backend, url: str, name: str, *arguments: Any) -> Any:
    """The value of one call; its error is raised as a text."""
    told = await calls.answer(url, name, *arguments)
    if "error" in told:
        raise AssertionError(f"{told['error']['name']}: {told['error']['message']}")
    return told["value"]


async def stored(redis: Redis, job_id: str) -> dict[str, Any]:
    payload = await redis.get(f"arq:job:{job_id}")
    assert payload is not None
    found: dict[str, Any] = orjson.loads(payload)
    return found


async def test_a_job_of_node_is_stored_as_one_of_python_and_has_its_key(
    calls: Backend, valkey_url: str, redis: Redis, producer: Producer
) -> None:
    payload = {"order": 7, "of": "José \U0001f600", "parts": [1, 2.5, None, True]}
    job = {"kind": "invoice.send", "payload": payload, "lane": "invoices", "version": 2}
    theirs = await call(calls, valkey_url, "producer.send", job, {"key": "order:7", "limit": "bank"})
    same = NamedJob("invoice.send", payload, lane="invoices", version=2)
    again = await producer.send(same, key="order:7", limit="bank")
    assert (again.id, again.state) == (theirs["id"], "duplicate")
    ours = await producer.send(same, limit="bank")
    first, second = await stored(redis, theirs["id"]), await stored(redis, ours.id)
    ignored = {"et", "q"}
    assert {k: v for k, v in first.items() if k not in ignored} == {
        k: v for k, v in second.items() if k not in ignored
    }
    assert await redis.hget("momentus:{jobs}:limited", theirs["id"]) == b"bank"


@pytest.mark.parametrize(
    ("options", "context"),
    [
        ({"traceparent": PARENT, "tracestate": "shop=1"}, {"tp": PARENT, "ts": "shop=1"}),
        ({"traceparent": PARENT, "tracestate": "x" * 513}, {"tp": PARENT}),
        ({"traceparent": "yesterday", "tracestate": "shop=1"}, {}),
        ({"traceparent": 7}, {}),
    ],
)
async def test_a_job_of_node_has_the_context_of_the_span_that_it_was_sent_in(
    calls: Backend, valkey_url: str, redis: Redis, options: dict[str, Any], context: dict[str, Any]
) -> None:
    for name, job in (("send", {"kind": "invoice.send"}), ("refresh", "sales")):
        receipt = await call(calls, valkey_url, f"producer.{name}", job, options)
        found = await stored(redis, receipt["id"])
        assert {field: found[field] for field in ("tp", "ts") if field in found} == context
        assert found["et"]


async def test_a_mail_of_node_has_the_fields_of_one_of_python(
    calls: Backend, valkey_url: str, redis: Redis, producer: Producer
) -> None:
    mail = {
        "to": "ana@example.com",
        "subject": "Añadido",
        "text": "Hola",
        "senderName": "Tareas",
        "stream": "notice",
    }
    theirs = await call(calls, valkey_url, "producer.sendMail", mail, {"delayMs": 60_000})
    ours = await producer.send(
        Mail(to="ana@example.com", subject="Añadido", text="Hola", sender_name="Tareas", stream="notice"),
        delay=timedelta(minutes=1),
    )
    first, second = (await stored(redis, theirs["id"]))["k"], (await stored(redis, ours.id))["k"]
    own = {"message_id", "date"}
    assert {k: v for k, v in first.items() if k not in own} == {k: v for k, v in second.items() if k not in own}
    assert first.keys() == second.keys()


async def test_a_mail_of_node_is_delivered(
    calls: Backend, valkey_url: str, smtp_sink: MailSink, redis: Redis
) -> None:
    from tests.acceptance.test_worker_process import worker  # noqa: PLC0415  a worker with a sink

    del redis
    async with Supervisor([worker(valkey_url, smtp_sink)]):
        mail = {"to": "ana@example.com", "subject": "De Node", "text": "Hola"}
        receipt = await call(calls, valkey_url, "producer.sendMail", mail, {"key": "k"})
        (delivered,) = await smtp_sink.mailbox.wait_for(1, timeout=30)
        assert delivered.subject == "De Node"

        async def done() -> bool:
            return bool((await call(calls, valkey_url, "producer.result", receipt["id"]))["state"] == "done")

        await eventually(done, timeout=30)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("sendMail", [MAIL | {"to": "Ana <ana@example.com>"}], "to: must be one plain address"),
        ("sendMail", [MAIL | {"subject": "a\nBcc: b@example.com"}], "subject: has a control"),
        ("sendMail", [MAIL | {"text": ""}], "text: is empty"),
        ("sendMail", [MAIL | {"cc": "b"}], "cc: is not a field"),
        ("sendMail", [MAIL | {"stream": "bulk"}], "unsubscribe: is missing"),
        ("send", [{"kind": "mail.send"}], "kind: must be noun.verb"),
        ("send", [{"kind": "a.b", "lane": "Big"}], "lane: must be a lower-case letter"),
        ("send", [{"kind": "a.b"}, {"delayMs": -1}], "delayMs: must be"),
        ("send", [{"kind": "a.b"}, {"key": ""}], "key: must be"),
        ("send", [{"kind": "a.b", "payload": {"x": "x" * 300_000}}], "payload: is over 256 KiB"),
        ("cancel", ["nothing"], "id: give the id"),
        ("sendMail", [None], "mail: must be an object"),
        ("send", [None], "job: must be an object"),
        ("send", [{"kind": "a.b"}, {"kye": "a"}], "kye: is not an option; the options are key, delayMs"),
        ("sendMany", [{"kind": "a.b"}], "messages: must be an array"),
        ("sendMany", [[None]], "mail: must be an object"),
        ("refresh", [None], "report: must be the name"),
    ],
)
async def test_what_cannot_be_sent_is_refused_by_its_field(
    calls: Backend, valkey_url: str, redis: Redis, name: str, arguments: list[Any], told: str
) -> None:
    with pytest.raises(AssertionError, match="InvalidRequest") as refusal:
        await call(calls, valkey_url, f"producer.{name}", *arguments)
    assert told in str(refusal.value)
    assert not await redis.keys("arq:*")


async def test_a_report_that_no_worker_declares_is_refused(calls: Backend, valkey_url: str, redis: Redis) -> None:
    await redis.hset("momentus:{reports}:catalogue:default", "sales", '{"debounce_ms": 0}')
    with pytest.raises(AssertionError, match='report: "sale" is not declared by any worker; check its name'):
        await call(calls, valkey_url, "producer.refresh", "sale")
    assert (await call(calls, valkey_url, "producer.refresh", "sales"))["state"] == "queued"


PAYLOADS = """
import { Producer } from 'momentus-client'
const producer = new Producer(process.argv[2], { budgetMs: 5000 })
for (const x of [NaN, 10n, () => 1, new Map(), [undefined]]) {
  await producer.send({ kind: 'a.b', payload: { x } }).catch((error) => console.log(error.name, error.field))
}
const at = (year) => producer.send({ kind: 'a.b', payload: { at: new Date(year, 0) } }, { key: 'k' })
await at(2026)
await at(2027).catch((error) => console.log(error.name))
await producer.close()
"""


async def test_a_payload_that_json_would_change_is_refused_by_its_place_and_a_date_is_content(
    application: Path, valkey_url: str, redis: Redis
) -> None:
    (application / "payloads.mjs").write_text(PAYLOADS)
    child = await asyncio.create_subprocess_exec(
        "node", "payloads.mjs", valkey_url, cwd=application, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await child.communicate()
    refused = ["InvalidRequest payload.x"] * 4 + ["InvalidRequest payload.x[0]"]
    assert told.decode().splitlines() == [*refused, "KeyConflict"]
    assert len(await redis.keys("arq:job:*")) == 1


async def test_another_content_under_a_used_key_is_a_conflict(
    calls: Backend, valkey_url: str, redis: Redis
) -> None:
    del redis
    job = {"kind": "a.b", "payload": {"n": 1}}
    first = await call(calls, valkey_url, "producer.send", job, {"key": "k"})
    told = await calls.answer(valkey_url, "producer.send", {"kind": "a.b"}, {"key": "k"})
    assert (told["error"]["name"], told["error"]["knownId"]) == ("KeyConflict", first["id"])


async def test_a_server_that_never_replies_costs_each_call_its_budget_and_no_more(application: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = await node(application, "budget.mjs", f"redis://127.0.0.1:{server.getsockname()[1]}")
    assert told == ["NotEnqueued in time"] * 3
    closed = await node(application, "budget.mjs", "redis://127.0.0.1:1")
    assert closed == ["NotEnqueued in time"] * 3


async def test_sessions_are_shared_both_ways(calls: Backend, valkey_url: str, redis: Redis) -> None:
    del redis
    sessions = Sessions.connect(valkey_url, deadline=timedelta(seconds=10))
    made = await call(calls, valkey_url, "sessions.create", "josé", {"roots": [17]}, {"label": "node"})
    assert made["token"] not in json.dumps(made["session"])
    found = await sessions.load(made["token"])
    assert found is not None
    assert (found.user, found.data, found.label) == ("josé", {"roots": [17]}, "node")
    saved = await call(calls, valkey_url, "sessions.save", made["session"], {"roots": [18]})
    assert saved["version"] == 2
    told = await calls.answer(valkey_url, "sessions.save", made["session"], {})
    assert (told["error"]["name"], told["error"]["current"]["data"]) == ("SessionConflict", {"roots": [18]})
    rotated = await call(calls, valkey_url, "sessions.rotate", made["token"])
    after = await sessions.load(rotated["token"])
    assert after is not None
    assert after.data == {"roots": [18]}
    await sessions.revoke_user("josé")
    assert await call(calls, valkey_url, "sessions.load", rotated["token"]) is None
    await sessions.close()


@pytest.fixture
def backend(application: Path, valkey_url: str) -> Iterator[int]:
    command = ["node", "express_application.mjs", valkey_url]
    with subprocess.Popen(command, cwd=application, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield int(running.stdout.readline())
        finally:
            running.terminate()


def post(port: int, path: str, content: dict[str, Any], token: str = "") -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}", "Connection": "close"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(content).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310  our own http server
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read())


async def test_an_express_application_under_nodes_cluster_shares_log_ins_and_keys(
    backend: int, redis: Redis
) -> None:
    _, login = await asyncio.to_thread(post, backend, "/login", {"user": "u-17"})
    answers = [await asyncio.to_thread(post, backend, "/tasks", {"task": 42}, login["token"]) for _ in range(6)]
    assert {status for status, _ in answers} == {200}
    assert len({answer["pid"] for _, answer in answers}) == 2, "both processes answered"
    assert len({answer["id"] for _, answer in answers}) == 1
    assert await redis.zcard("arq:queue:{mail}:mail.normal") == 1
    status, _ = await asyncio.to_thread(post, backend, "/tasks", {"task": 43}, "ms1.00000000." + "A" * 43)
    assert status == 401


@pytest.mark.long
def test_the_types_accept_the_lines_of_the_documentation_and_refuse_a_mail_without_subject(
    application: Path,
) -> None:
    options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022"]
    for one in installed(COMPILER).iterdir():
        if not (application / "node_modules" / one.name).exists():
            (application / "node_modules" / one.name).symlink_to(one)
    command = ["node", str(application / "node_modules/typescript/bin/tsc"), *options, "typed.ts"]
    done = subprocess.run(command, cwd=application, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_the_archive_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "client.npm", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with tarfile.open(done.stdout.strip()) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    ours = {path.name for path in (ROOT / "client/node").iterdir()}
    assert names == ours | {"scripts.json", "LICENSE"}
