"""Each setting reaches what it is for, through a process that was started with it.

A proof looks at what the process does to others: to Redis, Postgres, the mail server, the browser. Few processes
are started, each with many settings; a value is chosen so that the default would not give the same. The last test
walks ``settings.py``: a setting without a proof fails it.
"""

import asyncio
import base64
import hashlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from redis.asyncio import Redis

from jobs import Attachment, Mail, NamedJob
from jobs.mail.dkim import load_signer
from jobs.mail.seal import KeyRing
from ledger import schema
from local.embedded.ports import free_port
from local.installation import worker_ready
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from ops.depth.read import read_depth
from producers import Producer, Receipt
from producers.keys import LaneKeys, catalogue
from reports import load_reports
from reports.boards import boards_of
from reports.keys import snapshot
from reports.triggers import install_script
from settings import each_field
from tests.certificates import make_certificates
from tests.command_line import run_ops
from tests.dkim_verifier import verifies
from tests.moved_clocks import move_database
from tests.scripted_smtp import ScriptedSmtp
from tests.support import eventually
from worker.ledger.links import GroupLinks
from worker.ledger.relay import Relay
from worker.ledger.tables_postgres import LedgerTables

ROOT = Path(__file__).resolve().parents[2]
NORMAL = LaneKeys("mail.normal")
REPORTS = LaneKeys("reports")
RING = f"one:{base64.b64encode(bytes(32)).decode()}"
DKIM_KEY = (
    Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)
FILE = b"a;b\n1;2\n"
SCHEMA = """
CREATE SCHEMA retail;
CREATE TABLE retail.shops (id bigint PRIMARY KEY, parent_id bigint, name text, kind text);
INSERT INTO retail.shops VALUES (1, NULL, 'All', 'country'), (2, 1, 'Norte', 'region');
"""
REPORT = """-- +++
-- name = "{name}"
-- scope = "shop_id"
-- tree = "shops"
-- every = "1m"
--
-- [freshness]
-- soft = "30s"
-- hard = "5m"
-- debounce = "0s"
--
-- [rollup]
-- found = "max"
-- +++
SELECT id AS shop_id, {found} AS found FROM retail.shops WHERE :now::timestamptz IS NOT NULL
"""


@dataclass
class Run:
    """A started process, and what it works with."""

    redis: Any
    producer: Producer
    server: ScriptedSmtp
    folder: Path
    running: Supervisor
    lines: list[str]
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def count(self, event: str) -> int:
        return int(await self.redis.hget(NORMAL.counters, f"{event}:mail.normal") or 0)

    async def sent(self, mail: Mail, *, producer: Producer | None = None) -> bytes:
        """Send it and return the octets that the server took."""
        before = len(self.server.mails)
        await (producer or self.producer).send(mail)
        await eventually(lambda: len(self.server.mails) > before)
        return self.server.mails[-1].octets


Proof = Callable[[Run], Awaitable[None]]
PROOFS: dict[str, list[Proof]] = {}
PROVED: dict[str, str] = {}


def proves(process: str, *names: str) -> Callable[[Proof], Proof]:
    """Note that a proof, tried on this process, is about these settings."""

    def note(proof: Proof) -> Proof:
        PROOFS.setdefault(process, []).append(proof)
        PROVED.update(dict.fromkeys(names, proof.__name__))
        return proof

    return note


def mail(**parts: Any) -> Mail:
    return Mail(**{"to": "ana@example.com", "subject": "Hola", "text": "Va", **parts})


def process(name: str, *arguments: str, ready: Any, **settings: str) -> Process:
    return Process(
        name=name,
        argv=[sys.executable, "-m", *arguments],
        environment={f"MOMENTUS_{one}": value for one, value in settings.items()},
        ready=ready,
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=20),
    )


def answers(host: str, port: int) -> Callable[[int], Awaitable[bool]]:
    async def ready(_pid: int) -> bool:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return False
        writer.close()
        return True

    return ready


async def http(host: str, port: int, path: str, name: str = "") -> str:
    """The answer to a GET of another site's page, by a name of the server's."""
    reader, writer = await asyncio.open_connection(host, port)
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {name or host}",
        "Origin: https://app.example",
        "Connection: close",
        "",
        "",
    )
    writer.write("\r\n".join(lines).encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer


@asynccontextmanager
async def run_of(url: str, server: ScriptedSmtp, folder: Path, **settings: str) -> AsyncIterator[Run]:
    """A worker with these settings."""
    lines: list[str] = []
    worker = process("worker", "worker", ready=worker_ready(url), REDIS_URL=url, **settings)
    async with (
        Redis.from_url(url) as redis,
        Producer.connect(url, budget=5) as producer,
        Supervisor([worker], log=lambda _name, line: lines.append(line)) as running,
    ):
        yield Run(redis, producer, server, folder, running, lines)


# A worker with one account from the settings


@proves("worker", "REDIS_URL", "WORKER__URGENT_SLOTS", "WORKER__NORMAL_SLOTS", "WORKER__BULK_SLOTS")
async def a_lane_runs_as_many_mails_as_it_has_slots(run: Run) -> None:
    run.server.before["dot"] = run.gate.wait
    for urgency in ("urgent", "normal", "bulk"):
        await run.producer.send_many([mail(urgency=urgency)] * 25)
    for urgency, slots in (("urgent", 11), ("normal", 21), ("bulk", 12)):
        leases = LaneKeys(f"mail.{urgency}").leases
        await eventually(lambda leases=leases, slots=slots: has(run.redis.zcard(leases), slots), timeout=20)


@proves("worker", "WORKER__JOBS", "WORKER__JOBS_FOLDER", "WORKER__JOBS_SLOTS", "WORKER__LANES")
async def own_lanes_have_the_slots_that_were_set(run: Run) -> None:
    async def are_set() -> bool:
        depth = await read_depth(run.redis, tenant="default")
        slots = {one.lane: one.slots.total for one in depth.lanes if one.lane.startswith("jobs")}
        return slots == {"jobs": 7, "jobs.sums": 4}

    await run.producer.send_many([NamedJob("steps.take", {"words": ["well"]}, lane=lane) for lane in ("", "sums")])
    await eventually(are_set, timeout=20)


@proves("worker", "WORKER__PROCESSES", "WORKER__PROCESS_JOBS")
async def as_many_children_compute_as_there_may_be_each_as_often_as_it_may(run: Run) -> None:
    receipts: list[Receipt] = []

    async def children() -> int:
        results = [await run.producer.result(one.id) for one in receipts]
        ended = [one.value["pid"] for one in results if isinstance(one.value, dict)]
        return len(set(ended)) if len(ended) == len(receipts) else 0

    for count in (1, 2):
        many = [NamedJob("sum.compute", {"numbers": [count, one]}, lane="sums") for one in range(8)]
        receipts += await run.producer.send_many(many)
        await eventually(lambda count=count: has(children(), count), timeout=20)


@proves("worker", "MAIL__CONNECTIONS")
async def as_many_connections_are_open_as_there_may_be(run: Run) -> None:
    await eventually(lambda: run.server.open == 23, timeout=20)


@proves("worker", "WORKER__LEASE", "WORKER__LEASE_RENEW")
async def a_lease_lasts_and_is_renewed_as_it_was_set(run: Run) -> None:
    job = (await run.redis.zrange(NORMAL.leases, 0, 0))[0].decode()
    assert 10_000 < await run.redis.pttl(f"arq:in-progress:{job}") <= 20_000
    deadlines = {int(await run.redis.zscore(NORMAL.queue, job))}

    async def changed() -> bool:
        deadlines.add(int(await run.redis.zscore(NORMAL.queue, job)))
        return len(deadlines) > 4

    await eventually(changed)
    ordered = sorted(deadlines)
    assert min(later - earlier for earlier, later in pairwise(ordered)) < 2000


@proves("worker", "MAIL__HOST", "MAIL__PORT", "MAIL__TLS", "MAIL__MESSAGES_PER_CONNECTION")
async def all_mails_leave_one_by_each_connection(run: Run) -> None:
    run.gate.set()
    await eventually(lambda: len(run.server.mails) == 75, timeout=30)
    assert max(sum(line == "." for line in one.commands) for one in run.server.connections) == 1
    assert len(run.server.connections) >= 75


@proves("worker", "MAIL__USERNAME", "MAIL__PASSWORD")
async def the_server_is_told_who_logs_in(run: Run) -> None:
    (said,) = {line for line in run.server.commands if line.startswith("AUTH PLAIN")}
    assert base64.b64decode(said.rpartition(" ")[2]) == b"\0tasks\0s3cret"


@proves("worker", "MAIL__EHLO_NAME")
async def the_server_is_greeted_by_name(run: Run) -> None:
    assert {line for line in run.server.commands if line.startswith("EHLO")} == {"EHLO worker.example.org"}


@proves("worker", "MAIL__SENDER", "MAIL__DKIM_DOMAIN", "MAIL__DKIM_SELECTOR", "MAIL__DKIM_KEY")
async def a_mail_is_from_the_sender_and_signed(run: Run) -> None:
    octets = await run.sent(mail())
    assert b'From: "Tareas" <tareas@example.org>\r\n' in octets
    assert b"d=example.org" in octets
    assert b"s=autumn" in octets
    assert verifies(octets, load_signer(DKIM_KEY, domain="example.org", selector="autumn").public_text)


@proves("worker", "MAIL__ATTACHMENTS")
async def a_file_by_reference_leaves(run: Run) -> None:
    (run.folder / "2026").mkdir()
    (run.folder / "2026/a.csv").write_bytes(FILE)
    digest = hashlib.sha256(FILE).hexdigest()
    octets = await run.sent(mail(attachments=[Attachment(name="a.csv", ref="2026/a.csv", size=8, sha256=digest)]))
    assert base64.b64encode(FILE) in octets


@proves("worker", "MAIL__SEAL_KEYS")
async def a_sealed_mail_is_opened(run: Run) -> None:
    async with Producer.connect(url_of(run), budget=5, seal=KeyRing(RING)) as sealing:
        assert b"Subject: Sealed\r\n" in await run.sent(mail(subject="Sealed"), producer=sealing)


@proves("worker", "MAIL__KEEP_JOURNAL", "MAIL__BOUNCE_DAYS")
async def what_is_kept_of_a_sent_mail_is_kept_as_long_as_was_set(run: Run) -> None:
    receipt = await run.producer.send(mail())
    life = await eventually(lambda: above(run.redis.ttl(f"arq:result:{receipt.id}"), 0))
    assert 99 * 3600 < life <= 100 * 3600
    (note,) = await eventually(lambda: keys_of(run.redis, "momentus:{mail}:sent:*"))
    assert 20 * 86_400 < await run.redis.ttl(note) <= 21 * 86_400


@proves("worker", "MAIL__HORIZON")
async def a_mail_is_tried_as_long_as_was_set(run: Run) -> None:
    run.server.replies["rcpt"] = ["451 4.3.0 later"]
    receipt = await run.producer.send(mail(), delay=timedelta(hours=1))
    job = f"arq:job:{receipt.id}"
    waiting = {**orjson.loads(await run.redis.get(job)), "d": 0}
    waiting["et"] -= 3 * 60_000  # as if it had been sent three minutes ago, and fell due then
    await run.redis.set(job, orjson.dumps(waiting))
    await run.redis.zadd(NORMAL.queue, {receipt.id: 1})
    await eventually(lambda: run.redis.zscore(NORMAL.dead, receipt.id))


@dataclass(frozen=True)
class Erase:
    kind: ClassVar[str] = "mail.erase"

    lane: str = "mail.bulk"

    def fingerprint(self) -> str:
        return ""

    def compose(self, **_: object) -> Mapping[str, object]:
        return {}


@proves("worker", "MAIL__ERASE_AFTER", "WORKER__KEEP_RESULT")
async def a_dead_mail_is_erased_when_it_was_set(run: Run) -> None:
    (dead,) = await run.redis.zrange(NORMAL.dead, 0, -1)
    now = int((await run.redis.time())[0]) * 1000
    await run.redis.zadd(NORMAL.dead, {dead: now - 2 * 3_600_000})
    receipt = await run.producer.send(Erase())

    async def is_erased() -> bool:
        return b'"erased":true' in await run.redis.get(f"arq:job:{dead.decode()}")

    await eventually(is_erased)
    life = await eventually(lambda: above(run.redis.ttl(f"arq:result:{receipt.id}"), 0))
    assert 4 * 3600 < life <= 5 * 3600


@proves("worker", "WORKER__PROMISES")
async def the_promises_that_it_is_told_of_are_noted(run: Run) -> None:
    async def noted() -> dict[str, tuple[int, float]]:
        states = (await read_depth(run.redis, tenant="default")).promises
        return {one.name: (one.limit_ms, one.target) for one in states}

    kept = {"mail.urgent": (90_000, 0.9995), "report/sales": (300_000, 0.99)}
    await eventually(lambda: has(noted(), kept))


@proves("worker", "LOG_FORMAT", "LOG_LEVEL")
async def every_line_is_json_down_to_debug(run: Run) -> None:
    await eventually(lambda: run.lines)
    assert {orjson.loads(line)["level"] for line in run.lines} >= {"debug", "info"}


@proves("worker", "WORKER__CRASH_LIMIT")
async def a_mail_that_a_worker_died_of_is_dead(run: Run) -> None:
    run.gate.clear()
    receipt = await run.producer.send(mail())
    await eventually(lambda: run.redis.zscore(NORMAL.leases, receipt.id))
    run.running.send_signal("worker", signal.SIGKILL)
    await run.running.wait_exit("worker")
    await run.redis.zadd(NORMAL.queue, {receipt.id: 1})  # the lease has lapsed, as after 20 s
    await run.redis.delete(f"arq:in-progress:{receipt.id}")
    await run.running.start("worker")
    await eventually(lambda: run.redis.zscore(NORMAL.dead, receipt.id))
    history = await run.redis.lrange(NORMAL.history(receipt.id), 0, -1)
    assert b"crash_loop" in b"".join(history)


@proves("worker", "WORKER__GRACE")
async def a_stopping_worker_waits_no_longer_than_was_set(run: Run) -> None:
    receipt = await run.producer.send(mail())
    await eventually(lambda: run.redis.zscore(NORMAL.leases, receipt.id))
    run.running.send_signal("worker", signal.SIGTERM)
    async with asyncio.timeout(20):  # by default it would wait 30 s for this mail
        assert await run.running.wait_exit("worker") == 0
    assert await run.redis.zscore(NORMAL.queue, receipt.id)


async def has(found: Awaitable[object], wanted: object) -> bool:
    return await found == wanted


async def above(found: Awaitable[int], least: int) -> int:
    number = await found
    return number if number > least else 0


async def keys_of(redis: Any, pattern: str) -> list[bytes]:
    return [key async for key in redis.scan_iter(pattern)]


def url_of(run: Run) -> str:
    where = run.redis.connection_pool.connection_kwargs
    return f"redis://{where['host']}:{where['port']}"


@pytest.mark.timeout(120)
async def test_each_setting_of_a_worker_with_one_account_has_its_effect(valkey_url: str, tmp_path: Path) -> None:
    async with (
        ScriptedSmtp(offers=("PIPELINING", "AUTH PLAIN", "SIZE 1000000")) as server,
        run_of(
            valkey_url,
            server,
            tmp_path,
            LOG_FORMAT="json",
            LOG_LEVEL="debug",
            MAIL__ATTACHMENTS=str(tmp_path),
            MAIL__BOUNCE_DAYS="20",
            MAIL__CONNECTIONS="23",
            MAIL__DKIM_DOMAIN="example.org",
            MAIL__DKIM_KEY=DKIM_KEY,
            MAIL__DKIM_SELECTOR="autumn",
            MAIL__EHLO_NAME="worker.example.org",
            WORKER__JOBS="shop.jobs",
            WORKER__JOBS_FOLDER=str(ROOT / "tests/own_jobs"),
            WORKER__JOBS_SLOTS="7",
            WORKER__LANES="sums:4",
            WORKER__PROCESSES="1",
            WORKER__PROCESS_JOBS="10",
            MAIL__ERASE_AFTER="1h",
            MAIL__HORIZON="1m",
            MAIL__HOST="127.0.0.1",
            MAIL__KEEP_JOURNAL="100h",
            MAIL__MESSAGES_PER_CONNECTION="1",
            MAIL__PASSWORD="s3cret",
            MAIL__PORT=str(server.port),
            MAIL__SEAL_KEYS=RING,
            MAIL__SENDER="Tareas <tareas@example.org>",
            MAIL__TLS="off",
            MAIL__USERNAME="tasks",
            WORKER__BULK_SLOTS="12",
            WORKER__CRASH_LIMIT="1",
            WORKER__GRACE="1s",
            WORKER__KEEP_RESULT="5h",
            WORKER__LEASE="20s",
            WORKER__LEASE_RENEW="300ms",
            WORKER__NORMAL_SLOTS="21",
            WORKER__PROMISES="mail.urgent:90s:99.95, report/sales:5m:99",
            WORKER__URGENT_SLOTS="11",
        ) as run,
    ):
        for proof in PROOFS["worker"]:
            await proof(run)


# A worker with an accounts file that redirects


@proves("redirecting", "MAIL__ACCOUNTS", "MAIL__MODE", "MAIL__REDIRECT_TO", "MAIL__ALLOWED_DOMAINS")
async def mails_go_by_the_file_s_account_and_only_where_they_may(run: Run) -> None:
    await run.sent(mail())
    await run.sent(mail(to="bob@example.org"))
    assert sorted(one.recipients[0] for one in run.server.mails) == ["all@example.net", "bob@example.org"]


@proves("redirecting", "WORKER__MAX_RUNNING")
async def no_more_run_at_once_than_may(run: Run) -> None:
    await run.producer.send_many([mail()] * 6)
    await eventually(lambda: len(run.server.mails) == 8)
    assert run.server.most_open == 1


@proves("redirecting", "MAIL__TEMPLATES")
async def the_templates_are_looked_at_and_previewed(run: Run) -> None:
    assert [line for line in run.lines if "p:is(.x): stays in <style>" in line]
    _, told, _ = await run_ops("mail", "preview", "hello", MAIL__TEMPLATES=str(run.folder))
    assert told.startswith("Subject: Ours\n")


async def test_each_setting_of_a_worker_that_redirects_has_its_effect(valkey_url: str, tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello/es.subject").write_text("Ours")
    (tmp_path / "hello/es.html").write_text("<style>p:is(.x) { top: 0 }</style><p>x</p>")
    async with ScriptedSmtp() as server:
        accounts = tmp_path / "accounts.toml"
        accounts.write_text(f'[accounts.main]\nhost = "127.0.0.1"\nport = {server.port}\ntls = "off"\n')
        async with run_of(
            valkey_url,
            server,
            tmp_path,
            MAIL__ACCOUNTS=str(accounts),
            MAIL__ALLOWED_DOMAINS="example.org",
            MAIL__MODE="redirect",
            MAIL__REDIRECT_TO="all@example.net",
            MAIL__TEMPLATES=str(tmp_path),
            WORKER__MAX_RUNNING="1",
        ) as run:
            for proof in PROOFS["redirecting"]:
                await proof(run)


@proves("unconfirmed", "MAIL__CA_FILE")
async def a_server_that_the_authority_vouches_for_is_trusted(run: Run) -> None:
    await run.producer.send(mail())
    await eventually(lambda: any(line.startswith("MAIL FROM") for line in run.server.commands))
    assert run.server.commands.index("STARTTLS") == 1


@proves("unconfirmed", "WORKER__CONFIRM_REPLICAS")
async def without_its_replica_no_mail_leaves(run: Run) -> None:
    receipt = await run.producer.send(mail())
    await eventually(lambda: run.redis.lrange(NORMAL.history(receipt.id), 0, -1))
    assert not run.server.mails


async def test_each_setting_of_a_worker_that_waits_for_a_replica_has_its_effect(
    valkey_url: str, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path)
    async with (
        ScriptedSmtp(offers=("PIPELINING", "STARTTLS"), context=certificates.server) as server,
        run_of(
            valkey_url,
            server,
            tmp_path,
            MAIL__HOST="127.0.0.1",
            MAIL__PORT=str(server.port),
            MAIL__CA_FILE=str(certificates.ca_file),
            WORKER__CONFIRM_REPLICAS="1",
        ) as run,
    ):
        for proof in PROOFS["unconfirmed"]:
            await proof(run)


# A worker whose mail server speaks TLS


@proves("encrypted", "MAIL__CA_FILE", "MAIL__EHLO_NAME")
async def a_server_that_an_own_authority_vouches_for_is_greeted_by_the_name(run: Run) -> None:
    await run.sent(mail())
    assert {line for line in run.server.commands if line.startswith("EHLO")} == {"EHLO worker.example.org"}
    assert "STARTTLS" in run.server.commands


@pytest.mark.long  # each of the two has a proof above as well
async def test_each_setting_of_a_worker_whose_server_speaks_tls_has_its_effect(
    valkey_url: str, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path)
    async with (
        ScriptedSmtp(offers=("STARTTLS",), context=certificates.server) as server,
        run_of(
            valkey_url,
            server,
            tmp_path,
            MAIL__CA_FILE=certificates.ca_file,
            MAIL__EHLO_NAME="worker.example.org",
            MAIL__HOST="127.0.0.1",
            MAIL__PORT=str(server.port),
            MAIL__TLS="required",
        ) as run,
    ):
        for proof in PROOFS["encrypted"]:
            await proof(run)


# Everything on one machine


@dataclass
class Up:
    """A running `./run up`."""

    redis: Any
    url: str
    folder: Path
    ports: Mapping[str, int]


UpProof = Callable[[Up], Awaitable[None]]
UP_PROOFS: list[UpProof] = []


def proves_up(*names: str) -> Callable[[UpProof], UpProof]:
    def note(proof: UpProof) -> UpProof:
        UP_PROOFS.append(proof)
        PROVED.update(dict.fromkeys(names, proof.__name__))
        return proof

    return note


@proves_up("POSTGRES_DSN", "TENANT", "TIMEZONE", "REPORTS__PATH", "REPORTS__SHIPPED")
async def the_folder_s_reports_of_the_tenant_are_computed_in_its_zone(up: Up) -> None:
    body: Any = await eventually(lambda: up.redis.hget(snapshot("acme", "zones"), "1"), timeout=30)
    assert orjson.loads(body)["data"]["total"] == {"found": len("Europe/Madrid")}
    declared = await up.redis.hkeys(catalogue("acme"))
    assert sorted(declared) == [b"heavy", b"slow", b"wide", b"zones"]


@proves_up("REPORTS__MOST_NODES", "REPORTS__MOST_MIB")
async def a_report_larger_than_allowed_fails_and_names_the_setting(up: Up) -> None:
    for name, setting in (("wide", b"MOMENTUS_REPORTS__MOST_NODES"), ("heavy", b"MOMENTUS_REPORTS__MOST_MIB")):
        error: Any = await eventually(partial(up.redis.hget, snapshot("acme", name), "_error"), timeout=30)
        assert setting in error


@proves_up("REPORTS__STATEMENT_TIMEOUT")
async def no_query_runs_longer_than_it_may(up: Up) -> None:
    async def timed_out() -> bool:
        entries = [await up.redis.lrange(key, 0, -1) for key in await keys_of(up.redis, REPORTS.history("*"))]
        return b"timeout" in b"".join(entry for one in entries for entry in one)

    await eventually(timed_out, timeout=15)  # by default after 30 s; the query takes 60


@proves_up("READER__HOST", "READER__PORT", "READER__ACCESS", "READER__CORS_ORIGINS", "READER__COPY_MIB")
async def the_reader_answers_other_sites_without_a_log_in_out_of_its_copy(up: Up) -> None:
    answer = await http("127.0.0.2", up.ports["READER__PORT"], "/v1/reports/zones/1")
    assert answer.startswith("HTTP/1.1 200 ")
    assert "access-control-allow-origin: https://app.example\r\n" in answer.lower()

    async def is_tracking() -> bool:
        return any("t" in one["flags"] for one in await up.redis.client_list())

    await eventually(is_tracking)


@proves_up("READER__ALLOWED_HOSTS")
async def the_reader_answers_to_the_names_that_are_listed(up: Up) -> None:
    for name, status in (("reports.example", 200), ("elsewhere.example", 421)):
        answer = await http("127.0.0.2", up.ports["READER__PORT"], "/metrics", name)
        assert answer.startswith(f"HTTP/1.1 {status} ")


@proves_up("REPORTS__CLOCK_BOUND")
async def clocks_that_are_further_apart_than_they_may_leave_nothing_fresh(up: Up) -> None:
    """The database is 10 s ahead, which by default would do."""
    answer = await http("127.0.0.2", up.ports["READER__PORT"], "/v1/reports/zones/1")
    assert "; detail=clocks-apart\r\n" in answer


@proves_up("CONSOLE__HOST", "CONSOLE__PORT", "SINK__SMTP_PORT", "SINK__HTTP_PORT", "DATA_DIR")
async def the_others_are_where_they_were_put(up: Up) -> None:
    for host, name in (("127.0.0.3", "CONSOLE__PORT"), ("127.0.0.1", "SINK__HTTP_PORT")):
        assert (await http(host, up.ports[name], "/")).startswith("HTTP/1.1 200 ")
    reader, writer = await asyncio.open_connection("127.0.0.1", up.ports["SINK__SMTP_PORT"])
    assert (await reader.readline()).startswith(b"220 ")
    writer.close()
    assert (up.folder / "data/running.json").is_file()


async def write_reports(database: str, folder: Path, *, slow: tuple[str, ...]) -> None:
    """Write the tree, a report that is quick, and some that take a minute."""
    connection = await asyncpg.connect(database)
    await connection.execute(SCHEMA)
    await connection.close()
    (folder / "trees").mkdir()
    (folder / "trees/shops.sql").write_text("SELECT id, parent_id, name, kind FROM retail.shops\n")
    numbered = (
        "SELECT n AS id, nullif(1, n) AS parent_id, {} AS name, '' AS kind FROM generate_series(1, {}) AS n;"
    )
    (folder / "trees/wide.sql").write_text(numbered.format("''", 20))
    (folder / "trees/heavy.sql").write_text(numbered.format("repeat('x', 600000)", 2))
    (folder / "zones.sql").write_text(REPORT.format(name="zones", found="length(:zone::text)"))
    for name in ("wide", "heavy"):
        (folder / f"{name}.sql").write_text(REPORT.format(name=name, found="1").replace('"shops"', f'"{name}"'))
    for name in slow:
        found = "(SELECT 1 FROM pg_sleep(60))"
        (folder / f"{name}.sql").write_text(REPORT.format(name=name, found=found))


@pytest.mark.timeout(120)
async def test_each_setting_of_everything_on_one_machine_has_its_effect(
    valkey_url: str, database: str, tmp_path: Path
) -> None:
    await write_reports(database, tmp_path, slow=("slow",))
    async with asyncpg.create_pool(database, max_size=1, min_size=1) as connection:
        await move_database(connection, 10)
    ports = {one: free_port() for one in ("READER__PORT", "CONSOLE__PORT", "SINK__SMTP_PORT", "SINK__HTTP_PORT")}
    everything = process(
        "up",
        "local",
        "up",
        ready=answers("127.0.0.3", ports["CONSOLE__PORT"]),
        REDIS_URL=valkey_url,
        POSTGRES_DSN=database,
        TENANT="acme",
        TIMEZONE="Europe/Madrid",
        DATA_DIR=str(tmp_path / "data"),
        REPORTS__CLOCK_BOUND="2s",
        REPORTS__MOST_MIB="1",
        REPORTS__MOST_NODES="10",
        REPORTS__PATH=str(tmp_path),
        REPORTS__SHIPPED="off",
        REPORTS__STATEMENT_TIMEOUT="1s",
        CONSOLE__HOST="127.0.0.3",
        READER__HOST="127.0.0.2",
        READER__ACCESS="open",
        READER__ALLOWED_HOSTS="reports.example",
        READER__COPY_MIB="1",
        READER__CORS_ORIGINS="https://app.example",
        **{name: str(port) for name, port in ports.items()},
    )
    async with Redis.from_url(valkey_url) as redis, Supervisor([everything]):
        for proof in UP_PROOFS:
            await proof(Up(redis, valkey_url, tmp_path, ports))


@proves("reporting", "WORKER__REPORTS_SLOTS")
async def three_reports_are_computed_at_once(run: Run) -> None:
    await eventually(lambda: has(run.redis.zcard(REPORTS.leases), 3), timeout=30)


@pytest.mark.long
async def test_as_many_reports_are_computed_at_once_as_was_set(
    valkey_url: str, database: str, tmp_path: Path
) -> None:
    await write_reports(database, tmp_path, slow=("a", "b", "c"))
    settings = {"POSTGRES_DSN": database, "REPORTS__PATH": str(tmp_path), "REPORTS__SHIPPED": "off"}
    mailless = {"MAIL__HOST": "127.0.0.1", "MAIL__TLS": "off", "WORKER__GRACE": "0s", "WORKER__REPORTS_SLOTS": "3"}
    async with run_of(valkey_url, ScriptedSmtp(), tmp_path, **settings, **mailless) as run:
        for proof in PROOFS["reporting"]:
            await proof(run)


PROVED["REPORTS__WHOLE_EVERY"] = "test_a_report_is_computed_whole_and_compared_as_often_as_was_set"

BY_NODE = REPORT.replace(
    "-- [freshness]",
    """-- sources = ["retail.shops", "retail.orders"]
--
-- [nodes]
-- "retail.orders" = "shop_id"
--
-- [freshness]""",
).replace(
    "SELECT id AS shop_id, {found} AS found FROM retail.shops WHERE :now::timestamptz IS NOT NULL",
    "SELECT shop_id, max(amount) AS found FROM retail.orders WHERE shop_id = ANY(:nodes) GROUP BY shop_id",
)


async def test_a_report_is_computed_whole_and_compared_as_often_as_was_set(
    valkey_url: str, database: str, tmp_path: Path
) -> None:
    await write_reports(database, tmp_path, slow=())
    for name in ("zones", "wide", "heavy"):
        (tmp_path / f"{name}.sql").unlink()
    (tmp_path / "orders.sql").write_text(BY_NODE.format(name="orders"))
    reports = load_reports(tmp_path, shipped="off")
    async with asyncpg.create_pool(database, min_size=1) as connection:
        await connection.execute("CREATE TABLE retail.orders (shop_id bigint, amount bigint)")
        await connection.execute(install_script("default", boards_of(reports), role="momentus"))
        settings = {"POSTGRES_DSN": database, "REPORTS__PATH": str(tmp_path), "REPORTS__SHIPPED": "off"}
        async with run_of(valkey_url, ScriptedSmtp(), tmp_path, REPORTS__WHOLE_EVERY="1s", **settings) as run:

            async def is_compared() -> bool:
                await connection.execute("INSERT INTO retail.orders VALUES (1, 7)")
                meta = await run.redis.hget(snapshot("default", "orders"), "_meta")
                return meta is not None and orjson.loads(meta)["computed"] == "compared"

            await eventually(is_compared)  # by default an hour later


PROVED["LEDGER__RELAY"] = "test_a_worker_that_is_to_hand_over_no_staged_job_leaves_them_to_others_and_records_ends"


async def test_a_worker_that_is_to_hand_over_no_staged_job_leaves_them_to_others_and_records_ends(
    valkey_url: str, database: str, tmp_path: Path
) -> None:
    staged = LaneKeys("mail").staged
    async with ScriptedSmtp() as server, asyncpg.create_pool(database, min_size=1) as pool:
        async with pool.acquire() as connection:
            await schema.install(connection)
        ids = {name: await _stage(pool, name) for name in ("handed over", "lost")}
        await _hand_over(database, valkey_url)
        ids["staged"] = await _stage(pool, "staged")
        settings = {
            "POSTGRES_DSN": database,
            "WORKER__REPORTS_SLOTS": "0",
            "MAIL__HOST": "127.0.0.1",
            "MAIL__PORT": str(server.port),
            "MAIL__TLS": "off",
        }
        async with Redis.from_url(valkey_url) as redis:
            await redis.zrem("arq:queue:{mail}:mail.normal", ids["lost"])
            await redis.hdel("momentus:{mail}:ledger", ids["lost"])
            await redis.delete(f"arq:job:{ids['lost']}")
        async with run_of(valkey_url, server, tmp_path, LEDGER__RELAY="off", **settings) as run:
            await run.redis.lpush(staged, "1")
            await run.sent(mail())
            await eventually(lambda: has(pool.fetchval("SELECT count(*) FROM momentus_ledger.ends"), 1))
            assert await run.redis.exists(staged)
            pending = await pool.fetchval("SELECT array_agg(id) FROM momentus_ledger.pending")
            assert pending == [ids["staged"]]
            marked = await pool.fetchval("SELECT array_agg(id) FROM momentus_ledger.effects")
            assert marked == [ids["handed over"]]
        async with run_of(valkey_url, server, tmp_path, **settings) as run:
            await eventually(lambda: has(pool.fetchval("SELECT count(*) FROM momentus_ledger.ends"), 3))
            await eventually(lambda: has(run.redis.exists(staged), 0))


async def _stage(pool: "asyncpg.Pool[asyncpg.Record]", subject: str) -> str:
    return str(await pool.fetchval("SELECT momentus_ledger.stage_mail('ana@example.com', $1, 'Hoy')", subject))


async def _hand_over(dsn: str, url: str) -> None:
    tables, links = LedgerTables(dsn), GroupLinks(url)
    await Relay(tables, links).move_batch()
    await links.close()
    await tables.close()


PROVED["READER__SHARE_PORT"] = "test_two_readers_share_a_port_of_the_address_that_they_were_given"


async def test_two_readers_share_a_port_of_the_address_that_they_were_given(valkey_url: str) -> None:
    port = free_port()
    where = {"REDIS_URL": valkey_url, "READER__HOST": "127.0.0.2", "READER__PORT": str(port)}
    readers = [
        process(name, "reader", ready=answers("127.0.0.2", port), READER__SHARE_PORT="on", **where)
        for name in ("one", "two")
    ]
    async with Supervisor(readers) as running:
        for name in ("one", "two"):
            assert running.pid(name), "both run, though they have one port"
        assert (await http("127.0.0.2", port, "/healthz")).startswith("HTTP/1.1 200 ")
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", port)


IN_METRICS = (
    "tests/acceptance/test_metrics.py: test_each_process_has_the_metrics_of_the_table_and_no_others_and_..., "
    "which asks each process where it was put"
)
PROVED["WORKER__TRACING"] = (
    "tests/acceptance/test_tracing_processes.py: test_a_worker_that_traces_sends_what_is_left_before_it_ends, and "
    "test_a_worker_that_does_not_trace_..."
)
PROVED |= dict.fromkeys(("METRICS__WORKER", "METRICS__REPORTS", "METRICS__READER"), IN_METRICS)

OF_CONSOLE = (
    "tests/acceptance/test_console_access.py: the tests of tokens, of a proxy's users, of sessions and of hosts, "
    "with a console that was started with all of these"
)
PROVED |= dict.fromkeys(
    (
        *("CONSOLE__LOCAL", "CONSOLE__TOKENS", "CONSOLE__PROXIES", "CONSOLE__PROXY_HEADER", "CONSOLE__VIEWERS"),
        *("CONSOLE__OPERATORS", "CONSOLE__ADMINS", "CONSOLE__ALLOWED_HOSTS"),
    ),
    OF_CONSOLE,
)
PROVED["CONSOLE__FIELDS"] = "tests/acceptance/test_console_jobs.py: test_a_payload_is_shown_by_right_..."


def test_every_setting_has_a_proof() -> None:
    every = {name.removeprefix("MOMENTUS_") for name, _ in each_field()}
    assert not every - PROVED.keys(), "prove it above, through a process that was started with it"
    assert not PROVED.keys() - every, "there is no such setting any more"
