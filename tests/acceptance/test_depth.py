"""What ops sees of the queue, against a real Valkey, a real producer and a real worker."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs.lanes import LANES
from local.embedded.ports import free_port
from ops.console.exchange import PageRequest
from ops.console.page import ConsolePage
from ops.depth.forecast import Drain
from ops.depth.live_workers import LiveWorker
from ops.depth.read import Depth, LaneDepth, read_depth
from producers import Producer
from producers.keys import LaneKeys, catalogue
from reports.keys import snapshot
from tests.command_line import run_ops
from tests.notes import Note, running
from tests.support import OwnValkey, eventually
from worker.engine import GiveUp, LaneLimit, LaneSlots, Limit, Limits, Rate, TryLater, Worker
from worker.engine.handler import handler
from worker.engine.job_counts import JobCount, JobCounts
from worker.engine.recent_waits import RecentWaits
from worker.engine.store import engine_script

ROOT = Path(__file__).resolve().parents[2]
LANE = "mail.normal"
KEYS = LaneKeys(LANE)
FLOW = f"momentus:{KEYS.tag}:flow:{LANE}"


async def obey(_: dict[str, Any], text: str) -> None:
    match text:
        case "hang":
            await asyncio.Event().wait()
        case "fail":
            raise TryLater("not today", after=timedelta(hours=1))
        case "give up":
            raise GiveUp("no such person")


@asynccontextmanager
async def working(url: str, *, slots: int = 10, **options: Any) -> AsyncIterator[None]:
    worker = Worker(
        [handler(obey, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, slots)],
        handle_signals=False,
        renew_every=timedelta(milliseconds=50),
        grace=timedelta(0),
        **options,
    )
    async with running(worker):
        yield


async def look(redis: Redis) -> Depth:
    return await read_depth(redis, tenant="default")


async def lane_of(redis: Redis) -> LaneDepth:
    lane = (await look(redis)).lane(LANE)
    assert lane is not None
    return lane


async def seen(redis: Redis, condition: Callable[[LaneDepth], object]) -> LaneDepth:
    """The lane, once it is as the condition wants it."""

    async def found() -> LaneDepth | None:
        lane = await lane_of(redis)
        return lane if condition(lane) else None

    lane: LaneDepth | None = await eventually(found)
    assert lane is not None
    return lane


# What is counted


async def test_an_empty_redis_shows_every_lane_empty_and_nobody_at_work(redis: Redis) -> None:
    depth = await look(redis)
    assert tuple(lane.lane for lane in depth.lanes) == LANES
    assert {lane.drain.state for lane in depth.lanes} == {"empty"}
    assert depth.conserved
    assert (depth.workers, depth.reports) == ((), ())


async def test_what_waits_is_counted_by_when_it_may_run(redis: Redis, producer: Producer) -> None:
    await producer.send_many([Note(str(number)) for number in range(7)])
    await producer.send(Note("later"), delay=timedelta(hours=1))
    lane = await lane_of(redis)
    assert (lane.ready, lane.scheduled, lane.leased, lane.accepted) == (7, 1, 0, 8)
    assert 0 < lane.in_per_minute <= 8
    assert lane.conserved


async def test_age_is_that_of_the_job_that_could_have_run_first(redis: Redis, producer: Producer) -> None:
    first = await producer.send(Note("first"))
    await producer.send(Note("second"))
    await redis.zincrby(KEYS.queue, -90_000, first.id)
    oldest_ms = (await lane_of(redis)).oldest_ms
    assert oldest_ms is not None
    assert 90_000 <= oldest_ms < 150_000


async def test_every_fate_of_a_job_is_seen(valkey_url: str, redis: Redis, producer: Producer) -> None:
    await producer.send_many([Note(text) for text in ("fine", "hang", "fail", "give up")])
    async with working(valkey_url):
        lane = await seen(redis, lambda lane: lane.done and lane.leased and lane.retrying and lane.dead)
        assert (lane.done, lane.leased, lane.retrying, lane.dead) == (1, 1, 1, 1)
        assert (lane.ready, lane.scheduled) == (0, 1)  # what failed waits for its next try
        assert lane.out_per_minute > 0
        assert lane.conserved
        await seen(redis, lambda lane: lane.slots.busy == 1 and lane.slots.total == 10)
    lane = await lane_of(redis)
    assert (lane.ready, lane.leased) == (1, 0)
    assert lane.conserved


async def test_a_job_whose_lease_lapsed_is_ready_again(redis: Redis, producer: Producer) -> None:
    receipt = await producer.send(Note("orphan"))
    (now, _) = await redis.time()
    for key in (KEYS.queue, KEYS.leases):
        await redis.zadd(key, {receipt.id: (now - 30) * 1000})
    lane = await lane_of(redis)
    assert (lane.ready, lane.leased, lane.conserved) == (1, 0, True)


# Why it waits


async def test_a_lane_that_nobody_serves_says_so(valkey_url: str, redis: Redis, producer: Producer) -> None:
    await producer.send(Note("lonely"))
    lane = await lane_of(redis)
    assert (lane.why, lane.drain) == ("no_worker", Drain(state="no_worker", constraint="workers"))
    async with working(valkey_url):
        await seen(redis, lambda lane: lane.done == 1)
        other = (await look(redis)).lane("mail.bulk")
        assert other is not None
        assert other.workers == 0  # alive, but serving another lane


async def test_a_lane_whose_slots_are_all_busy_says_so(valkey_url: str, redis: Redis, producer: Producer) -> None:
    async with working(valkey_url, slots=2):
        await producer.send_many([Note("hang") for _ in range(5)])
        lane = await seen(redis, lambda lane: lane.slots.busy == 2)
    assert (lane.why, lane.ready, lane.leased) == ("slots_busy", 3, 2)


async def test_a_heartbeat_that_cannot_be_read_hides_nobody_else(valkey_url: str, redis: Redis) -> None:
    (now, _) = await redis.time()
    for name, facts in (("w1", b"{"), ("w2", b"[]"), ("w3", b'{"host":"h","pid":1,"lanes":{"mail.normal":7}}')):
        await redis.zadd(KEYS.workers, {name: now * 1000})
        await redis.set(KEYS.worker(name), facts)
    async with working(valkey_url):
        lane = await seen(redis, lambda lane: lane.workers)
        assert lane.workers == 1


# The forecast


async def test_one_forecast_is_told_by_table_page_json_and_metrics(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    """One job an hour: of 49 the first runs, and the others take two days."""
    slow = Limit("account:slow", (Rate(1, timedelta(hours=1)),))
    async with working(valkey_url, limits=[slow], lane_limits={LANE: LaneLimit([slow.key])}):
        await producer.send_many([Note(str(number)) for number in range(49)])
        await seen(redis, lambda lane: lane.done == 1 and lane.slots.total)
        _, table, _ = await run_ops("depth", REDIS_URL=valkey_url)
        _, out, _ = await run_ops("depth", "--json", REDIS_URL=valkey_url)
        console = ConsolePage(redis, tenant="default", named="MOMENTUS_REDIS_URL")
        page = await console.respond(page_request("/", accept_language="es"))
        metrics = await console.respond(page_request("/metrics"))
    words = "in 2 d (limit account:slow)"
    (row,) = [line for line in table.splitlines() if line.startswith(f"{LANE} ")]
    assert row.endswith(words)
    depth = json.loads(out)
    lane = {each["lane"]: each for each in depth["lanes"]}[LANE]
    assert (lane["drain"], lane["drains"]) == ("in", words)
    assert (lane["constraint"], lane["constraint_limit"]) == ("limit", slow.key)
    drains = datetime.fromisoformat(lane["drains_at"]) - datetime.fromisoformat(depth["at"])
    assert drains.total_seconds() == pytest.approx(lane["drains_in_s"], abs=1)
    assert "en 2 d (límite account:slow)" in page.body.decode()
    values = dict(line.rsplit(" ", 1) for line in metrics.body.decode().splitlines())
    seconds = float(values[f'momentus_lane_drain_seconds{{lane="{LANE}"}}'])
    assert seconds == pytest.approx(lane["drains_in_s"], abs=60)
    assert float(values[f'momentus_lane_drain_state{{lane="{LANE}",state="in"}}']) == 1


async def test_a_limit_that_jobs_name_is_what_their_lane_waits_for(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    await Limits(redis, KEYS.tag).define(Limit("customer:42", (Rate(1, timedelta(hours=1)),)))
    async with working(valkey_url):
        await producer.send_many([Note(str(number)) for number in range(25)], limit="customer:42")
        lane = await seen(
            redis,
            lambda lane: lane.done == 1 and lane.limits.held_back == 24 and lane.slots.total and lane.facts.notes,
        )
    assert (lane.drain.state, lane.drain.constraint, lane.drain.limit) == ("in", "limit", "customer:42")
    assert lane.drain.seconds == pytest.approx(24 * 3600, rel=0.05)


async def test_workers_note_the_flow_once_in_a_while_however_many(redis: Redis, producer: Producer) -> None:
    await producer.send_many([Note(str(number)) for number in range(3)])
    await producer.send(Note("later"), delay=timedelta(hours=1))
    assert [await note_flow(redis) for _ in range(3)] == [1, 0, 0]
    (at, *numbers) = await latest_note(redis)
    assert numbers == [0, 4, 3]
    await redis.lset(FLOW, 0, f"{at - 2600} 0 4 3")
    await redis.hset(KEYS.counters, f"done:{LANE}", "2")
    assert await note_flow(redis) == 1
    assert (await latest_note(redis))[1:] == [2, 4, 3]
    await redis.lset(FLOW, 0, f"{at + 3_600_000} 9 9 9")
    assert await note_flow(redis) == 1, "the clock was set back"
    await redis.lpush(FLOW, *["0 0 0 0"] * 100)
    await note_flow(redis)
    assert await redis.llen(FLOW) == 60


async def test_a_key_of_another_application_in_place_of_the_flow_stops_nothing(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    await redis.set(FLOW, "theirs")
    await producer.send(Note("x"))
    async with working(valkey_url):
        lane = await seen(redis, lambda lane: lane.done == 1 and lane.workers)
        assert lane.drain.state == "empty"
    await producer.send(Note("y"))
    assert (await lane_of(redis)).drain.state == "no_worker"
    assert await redis.get(FLOW) == b"theirs"


def page_request(path: str, **fields: str) -> PageRequest:
    return PageRequest(method="GET", path=path, host="127.0.0.1", peer="127.0.0.1", **fields)  # type: ignore[arg-type]


async def note_flow(redis: Redis) -> int:
    """Note the flow of the lane as a worker's heartbeat does."""
    script = redis.register_script(engine_script("note_flow"))
    return int(await script(keys=[KEYS.counters, KEYS.queue], args=[KEYS.tag, 2500, 60, LANE]))


async def latest_note(redis: Redis) -> list[int]:
    return [int(number) for number in (await redis.lindex(FLOW, 0)).split()]


# Waits and versions, from the workers' heartbeats


async def test_waits_and_the_version_of_workers_are_seen(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    await producer.send_many([Note(str(number)) for number in range(20)])
    for job_id in await redis.zrange(KEYS.queue, 0, -1):
        await redis.zincrby(KEYS.queue, -40_000, job_id)  # each has waited between 30 s and a minute
    async with working(valkey_url, facts={"version": "2026.11"}):
        (worker,) = await eventually(lambda: all_waits_reported(redis))
        lane = await lane_of(redis)
        _, out, _ = await run_ops("depth", "--json", REDIS_URL=valkey_url)
        console = ConsolePage(redis, tenant="default", named="MOMENTUS_REDIS_URL")
        page = await console.respond(page_request(f"/lanes/{LANE}", accept_language="en"))
    assert lane.wait_p50_s is not None
    assert lane.wait_p95_s is not None
    assert 30 < lane.wait_p50_s < lane.wait_p95_s <= 60
    assert worker.version == "2026.11"
    facts = {each["lane"]: each for each in json.loads(out)["lanes"]}
    assert facts[LANE]["wait_p95_s"] == pytest.approx(lane.wait_p95_s, abs=5)
    assert facts["mail.bulk"]["wait_p50_s"] is None
    assert "45 s / 58 s" in page.body.decode()


async def all_waits_reported(redis: Redis) -> tuple[LiveWorker, ...] | None:
    workers = (await look(redis)).workers
    return workers if sum(sum(one.waits.get(LANE, ())) for one in workers) == 20 else None


def test_waits_of_the_last_minute_are_those_that_were_counted_in_it() -> None:
    counts = JobCounts({"note.take"})
    recent = RecentWaits(counts)
    assert recent.read(0.0) == {}
    for kind, lane, bucket in (("note.take", LANE, 1), ("note.take", "reports", 0), ("other", LANE, 3)):
        counts.by_kind.setdefault((kind, lane), JobCount()).wait_counts[bucket] += 1
    assert recent.read(3.0) == {LANE: [0, 1, 0, 1], "reports": [1]}
    assert recent.read(59.0) == {LANE: [0, 1, 0, 1], "reports": [1]}
    counts.by_kind["note.take", LANE].wait_counts[0] += 5
    assert recent.read(62.0) == {LANE: [5, 1, 0, 1], "reports": [1]}
    assert recent.read(64.0) == {LANE: [5]}
    assert recent.read(200.0) == {}


# Reports


async def test_reports_show_how_true_they_still_are(redis: Redis) -> None:
    (now, _) = await redis.time()
    meta = {"as_of_us": (now - 60) * 1_000_000, "verified_us": (now - 60) * 1_000_000, "valid_until_us": None}
    meta |= {"soft_ms": 30_000, "hard_ms": 600_000}
    await redis.hset(catalogue("default"), mapping={"management": "{}", "fresh_one": "{}"})
    await redis.hset(snapshot("default", "management"), "_meta", json.dumps(meta))
    await redis.hset(
        snapshot("default", "management"), "_error", json.dumps({"at_us": now * 1_000_000, "error": "too slow"})
    )
    never, late = (await look(redis)).reports
    assert (never.report, never.state) == ("fresh_one", "never")
    assert (late.report, late.state, late.error) == ("management", "stale", "too slow")
    assert late.as_of == datetime.fromtimestamp(now - 60, UTC)
    assert (await read_depth(redis, tenant="other")).reports == ()


@pytest.mark.parametrize(
    ("bound", "state"), [("2s", "stale"), pytest.param("30s", "fresh", marks=pytest.mark.long)]
)
async def test_clocks_beyond_the_configured_bound_leave_no_report_fresh_for_operators(
    valkey_url: str, redis: Redis, bound: str, state: str
) -> None:
    """The database's clock was 10 s ahead when the report was computed."""
    (now, _) = await redis.time()
    database_us = (now + 10) * 1_000_000
    meta = {"as_of_us": database_us, "verified_us": database_us, "valid_until_us": None}
    meta |= {"soft_ms": 300_000, "hard_ms": 600_000, "clock_offset_us": 10_000_000}
    await redis.hset(catalogue("default"), "sales", "{}")
    await redis.hset(snapshot("default", "sales"), "_meta", json.dumps(meta))
    for configured, expected in (("30s", "fresh"), ("2s", "stale")):
        where = {"REDIS_URL": valkey_url, "REPORTS__CLOCK_BOUND": configured}
        _, out, _ = await run_ops("depth", "--json", **where)
        assert [report["state"] for report in json.loads(out)["reports"]] == [expected], configured
    where["REPORTS__CLOCK_BOUND"] = bound
    port = free_port()
    console = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops", "console"),
        cwd=ROOT,
        env={f"MOMENTUS_{name}": value for name, value in {**where, "CONSOLE__PORT": str(port)}.items()},
        stderr=PIPE,
    )
    try:
        page = json.loads(await eventually(lambda: body_of(port, "/api/depth"), timeout=30))
    finally:
        console.terminate()
        await console.communicate()
    assert [report["state"] for report in page["reports"]] == [state]


async def body_of(port: int, path: str) -> str | None:
    """The body of a page, or None while nothing listens."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    return text.partition("\r\n\r\n")[2]


# Its cost


async def test_looking_takes_as_many_commands_at_a_long_queue_and_only_reads(
    redis: Redis, producer: Producer
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    await producer.send_many([Note("few") for _ in range(10)])
    await producer.send_many([Note("later")], at=later)
    await look(redis)  # loads the script
    few = await commands_of(redis)
    await producer.send_many([Note("many") for _ in range(5000)])
    await producer.send_many([Note("later") for _ in range(5000)], at=later)
    many = await commands_of(redis)
    assert few == many
    cheap = {"evalsha", "time", "hmget", "hlen", "get", "zcount", "zcard", "scard", "zrange", "zrevrange", "hkeys"}
    cheap |= {"hgetall", "lrange"}  # of the limits, which are few, and of the notes of the flow, sixty at most
    assert few.keys() <= cheap


async def test_a_look_asks_redis_three_times_whatever_there_is_to_count(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    limits = Limits(redis, KEYS.tag)
    await limits.define(*(Limit(f"account:{one}", (Rate(30, timedelta(minutes=1)),)) for one in ("a", "b")))
    await limits.bind(LANE, LaneLimit(["account:a", "account:b"]))
    await redis.hset("momentus:{reports}:catalogue:default", "sales", "{}")
    async with working(valkey_url):
        await producer.send(Note("hang"))
        await seen(redis, lambda lane: lane.leased and lane.slots.busy)
    async with Redis.from_url(valkey_url) as other:
        await look(other)  # connects, and loads the scripts
        before = await _reads(other)
        depth = await look(other)
        assert await _reads(other) - before <= 1 + 3, "one is that of the count itself"
    assert (len(depth.accounts), len(depth.reports)) == (2, 1)


async def _reads(redis: Redis) -> int:
    """How often the server has read from a connection."""
    return int((await redis.info("stats"))["total_reads_processed"])


async def commands_of(redis: Redis) -> dict[str, int]:
    """The commands that one look ran, those inside scripts included."""
    before = await _calls(redis)
    await look(redis)
    after = await _calls(redis)
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}


async def _calls(redis: Redis) -> dict[str, int]:
    stats = await redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): it["calls"] for name, it in stats.items() if name != "cmdstat_info"}


# The command; that its process ends as it says is seen where Redis is away, and of --watch


@asynccontextmanager
async def ops(*arguments: str, **variables: str) -> AsyncIterator[Process]:
    environment = {f"MOMENTUS_{name}": value for name, value in variables.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", *arguments, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def answer(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of a process."""
    async with ops(*arguments, **variables) as process:
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()


async def test_the_table_shows_the_lanes_and_why_they_wait(valkey_url: str, producer: Producer) -> None:
    await producer.send_many([Note("x") for _ in range(12_345)])
    code, out, err = await run_ops("depth", REDIS_URL=valkey_url)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    (head,) = [line for line in lines if line.startswith("LANE")]
    (row,) = [line for line in lines if line.startswith(f"{LANE} ")]
    assert row.split()[:3] == [LANE, "12345", "0"]
    assert row.index("12345") == head.index("READY")
    assert f"{LANE}: no live worker serves this lane" in lines


async def test_the_json_is_one_object_with_everything(valkey_url: str, producer: Producer) -> None:
    await producer.send(Note("x"))
    code, out, _ = await run_ops("depth", "--json", REDIS_URL=valkey_url)
    assert code == 0
    assert out.count("\n") == 1
    depth = json.loads(out)
    assert depth.keys() == {
        *("at", "conserved", "lanes", "workers", "reports", "losses", "doubts", "ledger", "promises", "wrong")
    }
    lane = {each["lane"]: each for each in depth["lanes"]}[LANE]
    numbers = {
        "ready",
        "leased",
        "scheduled",
        "retrying",
        "dead",
        "uncertain",
        "accepted",
        "done",
        "discarded",
        "suppressed",
    }
    numbers |= {"vanished", "oldest_ms", "in_per_minute", "out_per_minute", "workers", "unaccounted"}
    assert lane.keys() >= numbers
    assert all(isinstance(lane[name], int | float) for name in numbers)
    assert lane["slots"] == {"busy": 0, "total": 0, "left_behind": 0}
    assert (lane["drains"], lane["drains_at"], lane["why_code"]) == ("no worker", None, "no_worker")
    assert datetime.fromisoformat(depth["at"]).tzinfo is not None


@pytest.mark.parametrize(("change", "words"), [(1, "1 missing"), (-1, "1 too many")])
async def test_a_job_that_is_unaccounted_for_is_a_finding(
    valkey_url: str, redis: Redis, producer: Producer, change: int, words: str
) -> None:
    await producer.send(Note("x"))
    await redis.hincrby(KEYS.counters, f"accepted:{LANE}", change)
    code, out, _ = await run_ops("depth", REDIS_URL=valkey_url)
    assert code == 1
    assert "NOT CONSERVED" in out
    assert words in out


async def test_a_superseded_dead_job_is_accounted_for(valkey_url: str, redis: Redis, producer: Producer) -> None:
    del valkey_url
    receipt = await producer.request_refresh("management", scope=None, delay=timedelta(0))
    keys = LaneKeys("reports")
    await redis.zrem(keys.queue, receipt.id)
    await redis.zadd(keys.dead, {receipt.id: 1})
    await redis.hincrby(keys.counters, "dead:reports", 1)
    assert (await look(redis)).conserved
    await producer.request_refresh("management", scope=None, delay=timedelta(0))
    lane = (await look(redis)).lane("reports")
    assert lane is not None
    assert (lane.conserved, lane.dead, lane.discarded, lane.ready) == (True, 0, 1, 1)


@pytest.mark.parametrize("what", ["revive", "discard"])
async def test_dead_jobs_are_dealt_with_as_the_manual_says(
    valkey_url: str, redis: Redis, producer: Producer, what: str
) -> None:
    receipt = await producer.send(Note("give up"))
    async with working(valkey_url):
        await seen(redis, lambda lane: lane.dead)
        attempts = await redis.llen(KEYS.history(receipt.id))
        for command in manual_commands(what, receipt.id):
            await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        if what == "revive":
            await eventually(lambda: heard_again(redis, receipt.id, attempts))
    lane = await lane_of(redis)
    assert (lane.dead, lane.discarded) == ((1, 0) if what == "revive" else (0, 1))
    assert lane.conserved
    assert bool(await redis.exists(f"arq:job:{receipt.id}")) == (what == "revive")


async def heard_again(redis: Redis, job_id: str, attempts: int) -> bool:
    return bool(await redis.llen(KEYS.history(job_id)) > attempts)


def manual_commands(what: str, job_id: str) -> list[list[str]]:
    """The commands between MULTI and EXEC in the manual's section on dead jobs."""
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    block = manual.split(f"**{what}**")[1].split("MULTI\n")[1].split("    EXEC")[0]
    filled = block.replace("<id>", job_id).replace("$(date +%s)000", "1000")
    return [line.split() for line in filled.splitlines()]


async def test_redis_away_is_one_line_that_names_the_setting(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    await valkey.stop()
    secret = valkey.url.replace("redis://", "redis://:hidden@")
    code, out, err = await answer("depth", REDIS_URL=secret)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "MOMENTUS_REDIS_URL" in err
    assert "hidden" not in err


async def test_a_redis_that_is_frozen_is_not_waited_for(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> None:
    valkey = await own_valkey()
    valkey.pause()
    try:
        code, _, err = await run_ops("depth", REDIS_URL=valkey.url)
    finally:
        valkey.resume()
    assert (code, err.count("\n")) == (3, 1)


@pytest.mark.parametrize(
    ("url", "words"),
    [("redis://:hid/den@127.0.0.1:6379", "MOMENTUS_REDIS_URL"), ("http://127.0.0.1", "MOMENTUS_REDIS_URL")],
)
async def test_an_address_that_is_none_is_a_configuration_fault(url: str, words: str) -> None:
    code, _, err = await run_ops("depth", REDIS_URL=url)
    assert code == 2
    assert words in err
    assert "hid" not in err
    assert "Traceback" not in err


async def test_without_a_setting_the_running_installation_is_asked(
    valkey_url: str, producer: Producer, tmp_path: Path
) -> None:
    await producer.send(Note("x"))
    (tmp_path / "running.json").write_text(json.dumps({"redis_url": valkey_url}))
    code, out, _ = await run_ops("depth", "--json", DATA_DIR=str(tmp_path))
    assert code == 0
    assert json.loads(out)["lanes"][1]["ready"] == 1


async def test_without_a_setting_the_database_beside_the_redis_that_is_asked_is_asked_too(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    content = json.dumps({"redis_url": valkey_url, "postgres_dsn": database})
    (tmp_path / "running.json").write_text(content)
    unasked = "MOMENTUS_POSTGRES_DSN: is not set"
    assert unasked not in (await run_ops("reports", "check", DATA_DIR=str(tmp_path)))[1]
    assert unasked not in (await run_ops("reports", "check", DATA_DIR=str(tmp_path), REDIS_URL=valkey_url))[1]
    other = await run_ops("reports", "check", DATA_DIR=str(tmp_path), REDIS_URL="redis://127.0.0.1:1/0")
    assert unasked in other[1], "the database of another installation"
    (tmp_path / "running.json").write_text("{")
    assert unasked in (await run_ops("reports", "check", DATA_DIR=str(tmp_path)))[1]


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
async def test_with_nothing_to_ask_the_remedy_is_told(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "running.json").write_text(content)
    code, _, err = await run_ops("depth", DATA_DIR=str(tmp_path))
    assert (code, err.count("\n")) == (2, 1)
    assert "running.json" in err
    assert "./run up" in err


async def test_watching_goes_on_through_an_outage_and_ends_well(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    async with ops("depth", "--watch", "--json", "--every", "0.1", REDIS_URL=valkey.url) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(await process.stdout.readline())["conserved"]
        await valkey.kill()
        assert b"MOMENTUS_REDIS_URL" in await process.stderr.readline()
        await valkey.start()
        back = datetime.now(UTC)
        while datetime.fromisoformat(json.loads(await process.stdout.readline())["at"]) < back:
            pass  # told before the outage
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


async def test_a_spanish_terminal_gets_the_table_in_spanish_and_scripts_get_the_same_as_ever(
    valkey_url: str, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await producer.send(Note("x"))
    _, english, _ = await run_ops("depth", "--json", REDIS_URL=valkey_url)
    monkeypatch.setenv("LC_ALL", "es_MX.UTF-8")
    code, table, err = await run_ops("depth", REDIS_URL=valkey_url)
    assert (code, err) == (0, "")
    assert "CARRIL" in table
    assert f"{LANE}: ningún worker vivo atiende este carril" in table
    assert "No hay ningún worker vivo. Inicie uno: ./run worker" in table
    _, spanish, _ = await run_ops("depth", "--json", REDIS_URL=valkey_url)
    assert json.loads(spanish).keys() == json.loads(english).keys()
    assert json.loads(spanish)["lanes"][1]["why"] == json.loads(english)["lanes"][1]["why"]


async def test_a_spanish_terminal_is_told_in_spanish_that_redis_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LC_ALL", "es_MX.UTF-8")
    code, out, err = await run_ops("depth", REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    assert (code, out) == (3, "")
    assert err.startswith("ops: Redis no responde en la dirección de MOMENTUS_REDIS_URL: ")


@pytest.mark.parametrize("arguments", [["--help"], ["depth", "--help"], ["console", "--help"]])
async def test_every_command_explains_itself(arguments: list[str]) -> None:
    code, out, err = await run_ops(*arguments)
    assert (code, err) == (0, "")
    assert "example:" in out or arguments == ["--help"]


async def test_the_settings_are_listed_and_secrets_are_not_shown() -> None:
    code, out, _ = await run_ops("settings", REDIS_URL="redis://:hidden@127.0.0.1")
    assert code == 0
    assert "MOMENTUS_CONSOLE__PORT" in out
    assert "hidden" not in out


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["depth", "--every", "0"], ["demo"]])
async def test_a_wrong_word_ends_with_the_code_for_it(arguments: list[str]) -> None:
    code, out, err = await run_ops(*arguments)
    assert (code, out) == (2, "")
    assert "usage:" in err
