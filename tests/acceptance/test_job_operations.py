"""What people do with single jobs and with held lanes: real producer, real worker, real Valkey, real command."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

import orjson
import pytest
from redis.asyncio import Redis

from jobs import Mail
from ops.console.exchange import PageRequest
from ops.console.page import ConsolePage
from ops.depth.read import LaneDepth, read_depth
from ops.jobs.edit import CannotEdit, edit_job
from ops.jobs.explain import explain_job
from ops.jobs.operations import cancel_job, discard_job, revive_all, revive_job
from ops.jobs.texts import explained_text
from ops.lanes.hold import hold_lane, release_lane
from producers import Producer
from producers.envelope import write_envelope
from producers.keys import LaneKeys
from tests.command_line import run_ops
from tests.counts import count_of
from tests.notes import looked_at, running
from tests.support import OwnValkey, eventually
from tests.topologies import client_of
from worker.engine import GiveUp, LaneSlots, Limit, Limits, Rate, TryLater, Worker
from worker.engine.handler import handler

pytestmark = pytest.mark.on_cluster_too

LANE = "mail.normal"
KEYS = LaneKeys(LANE)
PRIVATE = "ana.secreta@example.com"


@dataclass(frozen=True)
class Note:
    """A job whose text says what its handler is to do."""

    kind: ClassVar[str] = "note.take"
    lane: ClassVar[str] = LANE

    text: str

    def fingerprint(self) -> str:
        return self.text

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        del job_id, now
        return {"text": self.text, "times": 1}


@dataclass(slots=True)
class Handler:
    """What the worker runs; ``mended`` makes it do what it refused before."""

    seen: list[tuple[str, int]] = field(default_factory=list)
    mended: bool = False

    async def obey(self, context: dict[str, Any], text: str, times: int = 1) -> None:
        del times
        self.seen.append((text, context["job_try"]))
        match text:
            case "hang":
                await asyncio.Event().wait()
            case "hang in the effect":
                assert await context["begin_effect"]()
                await asyncio.Event().wait()
            case "fail":
                raise TryLater("not today", after=timedelta(hours=1))
            case "elsewhere":
                raise TryLater("another worker will take it", after=timedelta(hours=1), charged=False)
            case "give up" if not self.mended:
                raise GiveUp("no such person")

    async def mail(self, context: dict[str, Any], **frozen: Any) -> None:
        self.seen.append((str(frozen["to"]), context["job_try"]))
        if not self.mended:
            raise GiveUp("no such person")


@asynccontextmanager
async def working(url: str, does: Handler, *, slots: int = 10) -> AsyncIterator[Worker]:
    worker = Worker(
        [handler(does.obey, kind=Note.kind), handler(does.mail, kind=Mail.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, slots)],
        handle_signals=False,
        renew_every=timedelta(milliseconds=50),
        grace=timedelta(0),
    )
    async with running(worker):
        yield worker


async def lane_of(redis: Redis) -> LaneDepth:
    """The lane as `depth` has it; every job of it must be accounted for at any instant."""
    lane = (await read_depth(redis, tenant="default")).lane(LANE)
    assert lane is not None
    assert lane.conserved
    return lane


def reached(redis: Redis, **counts: int) -> Callable[[], Awaitable[bool]]:
    """Whether the lane has these counts, like ``dead=1``."""

    async def condition() -> bool:
        lane = await lane_of(redis)
        return all(getattr(lane, name) == count for name, count in counts.items())

    return condition


async def made_dead(url: str, redis: Redis, producer: Producer, number: int = 1) -> list[str]:
    """The ids of jobs that were given up."""
    receipts = await producer.send_many([Note("give up") for _ in range(number)])
    async with working(url, Handler()):
        await eventually(reached(redis, dead=number))
    return [receipt.id for receipt in receipts]


async def bury(redis: Redis, number: int, *, content_bytes: int, limits: Sequence[str] = ()) -> None:
    """Store dead jobs as the engine leaves them, each with one of the limits in turn."""
    payload = write_envelope(Note.kind, {"text": "x" * content_bytes}, enqueued_ms=0)
    for first in range(0, number, 1000):
        job_ids = [f"{KEYS.tag}{place:026d}" for place in range(first, min(first + 1000, number))]
        async with redis.pipeline(transaction=False) as pipe:
            pipe.mset({f"arq:job:{job_id}": payload for job_id in job_ids})
            pipe.zadd(KEYS.dead, dict.fromkeys(job_ids, 1))
            for place, job_id in enumerate(job_ids if limits else ()):
                pipe.hset(KEYS.limited, job_id, limits[place % len(limits)])
            for event in ("accepted", "dead"):
                pipe.hincrby(KEYS.counters, f"{event}:{LANE}", len(job_ids))
            await pipe.execute()


async def a_foreign_job(redis: Redis, job_id: str, text: str) -> str:
    """As a stock arq producer queues it: nobody counts it until it is claimed."""
    content: dict[str, Any] = {"t": None, "f": Note.kind, "a": [], "k": {"text": text}, "et": 1}
    await redis.set(f"arq:job:{job_id}", orjson.dumps(content))
    await redis.zadd(KEYS.queue, {job_id: 1})
    return job_id


async def leaves_nothing(redis: Redis, job_id: str) -> bool:
    keys = [f"arq:{what}:{job_id}" for what in ("job", "retry", "result", "in-progress")]
    return not await redis.exists(*keys, KEYS.history(job_id), KEYS.effects, KEYS.lapses, KEYS.cancelled)


async def ops(url: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of the command."""
    return await run_ops(*arguments, REDIS_URL=url)


async def facts(url: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and what ``--json`` says on its one line."""
    code, out, err = await ops(url, *arguments, "--json")
    assert err == ""
    assert out.count("\n") == 1
    return code, json.loads(out)


# Revive


async def test_a_revived_job_runs_as_if_never_tried_and_its_history_stays(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    (job_id,) = await made_dead(valkey_url, redis, producer)
    assert await revive_job(redis, job_id) == ("revived", LANE)
    lane = await lane_of(redis)
    assert (lane.dead, lane.ready, await count_of(redis, LANE, "revived")) == (0, 1, 1)
    outcomes = [event.outcome for event in (await explain_job(redis, job_id)).job.history]
    assert outcomes == ["dead", "revived"]
    does = Handler(mended=True)
    async with working(valkey_url, does):
        await eventually(reached(redis, done=1))
    assert does.seen == [("give up", 1)]


async def test_reviving_twice_makes_one_job(valkey_url: str, redis: Redis, producer: Producer) -> None:
    (job_id,) = await made_dead(valkey_url, redis, producer)
    assert await revive_job(redis, job_id) == ("revived", LANE)
    assert await revive_job(redis, job_id) == ("not dead", "")
    assert (await lane_of(redis)).ready == 1


async def test_a_worker_that_waits_hears_of_a_revival(valkey_url: str, redis: Redis, producer: Producer) -> None:
    (job_id,) = await made_dead(valkey_url, redis, producer)
    await redis.delete(KEYS.wake)
    await revive_job(redis, job_id)
    assert await redis.llen(KEYS.wake) == 1


async def test_all_dead_jobs_of_a_lane_are_revived_while_they_die_again(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    await made_dead(valkey_url, redis, producer, 1200)
    async with working(valkey_url, Handler()):
        counts = await revive_all(redis, LANE)
        await eventually(reached(redis, dead=1200, ready=0, leased=0))
    assert (counts.revived, counts.vanished) == (1200, 0)
    assert await count_of(redis, LANE, "dead") == 2400


async def test_a_bulk_revival_lets_redis_serve_others_after_64_jobs_at_most(redis: Redis) -> None:
    await bury(redis, 200, content_bytes=10)
    await redis.config_resetstat()
    assert (await revive_all(redis, LANE)).revived == 200
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] >= 200 / 64


@pytest.mark.parametrize("content_bytes", [10, 5000])
async def test_a_payload_of_any_length_is_revived(redis: Redis, content_bytes: int) -> None:
    await bury(redis, 3, content_bytes=content_bytes)
    assert (await revive_all(redis, LANE)).revived == 3


@pytest.mark.one_server("it measures")
@pytest.mark.long
async def test_no_send_fails_while_100000_jobs_of_200_limits_are_revived(valkey_url: str, redis: Redis) -> None:
    keys = [f"tenant:{number}" for number in range(200)]
    every_10_s = (Rate.within(1, timedelta(seconds=10)),)
    await Limits(redis, KEYS.tag).define(*[Limit(key, every_10_s) for key in keys])
    await bury(redis, 100_000, content_bytes=500, limits=keys)
    async with Producer.connect(valkey_url) as producer, working(valkey_url, Handler()):
        reviving = asyncio.create_task(revive_all(redis, LANE))
        sent = 0
        while not reviving.done():
            await producer.send(Note(f"beside {sent}"))
            sent += 1
        assert (await reviving).revived == 100_000
    assert sent > 100
    assert (await lane_of(redis)).conserved


async def test_what_dies_after_all_were_to_be_revived_stays_dead(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    _, later = await made_dead(valkey_url, redis, producer, 2)
    await redis.zincrby(KEYS.dead, timedelta(hours=1) / timedelta(milliseconds=1), later)
    assert (await revive_all(redis, LANE)).revived == 1
    assert await redis.zrange(KEYS.dead, 0, -1) == [later.encode()]


async def test_a_dead_job_whose_payload_is_gone_is_counted_as_vanished(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    (job_id,) = await made_dead(valkey_url, redis, producer)
    await redis.delete(f"arq:job:{job_id}")
    assert await revive_job(redis, job_id) == ("vanished", LANE)
    lane = await lane_of(redis)
    assert (lane.vanished, lane.dead, lane.ready) == (1, 0, 0)


@pytest.mark.one_server("stock arq knows no cluster")
@pytest.mark.parametrize("job_id", ["{mail}foreign", "untagged"])
async def test_a_revived_job_of_a_stock_arq_producer_is_counted_once(
    valkey_url: str, redis: Redis, job_id: str
) -> None:
    await a_foreign_job(redis, job_id, "give up")
    async with working(valkey_url, Handler()):
        await eventually(lambda: redis.zscore(KEYS.dead, job_id))
    assert await revive_job(redis, job_id) == ("revived", LANE)
    async with working(valkey_url, Handler(mended=True)):
        await eventually(reached(redis, done=1))
    assert await count_of(redis, LANE, "accepted") == 1


# Discard and cancel


async def test_a_discarded_dead_job_leaves_nothing_and_is_counted(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    (job_id,) = await made_dead(valkey_url, redis, producer)
    assert await discard_job(redis, job_id) == ("gone", LANE)
    assert await discard_job(redis, job_id) == ("unknown", "")
    lane = await lane_of(redis)
    assert (lane.dead, lane.discarded) == (0, 1)
    assert await leaves_nothing(redis, job_id)


@pytest.mark.parametrize(("change", "event"), [(discard_job, "discarded"), (cancel_job, "cancelled")])
@pytest.mark.parametrize("delay", [timedelta(0), timedelta(hours=1)])
async def test_a_waiting_job_is_taken_out_at_once(
    valkey_url: str, redis: Redis, producer: Producer, change: Any, event: str, delay: timedelta
) -> None:
    receipt = await producer.send(Note("unwanted"), delay=delay)
    assert await change(redis, receipt.id) == ("gone", LANE)
    assert await change(redis, receipt.id) == ("unknown", "")
    lane = await lane_of(redis)
    assert (lane.ready, lane.scheduled, getattr(lane, event)) == (0, 0, 1)
    assert await leaves_nothing(redis, receipt.id)
    does = Handler()
    async with working(valkey_url, does):
        await producer.send(Note("wanted"))
        await eventually(reached(redis, done=1))
    assert does.seen == [("wanted", 1)]


async def test_a_job_that_waits_for_its_next_try_can_be_cancelled(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("fail"))
    async with working(valkey_url, Handler()):
        await eventually(reached(redis, retrying=1))
    assert await cancel_job(redis, receipt.id) == ("gone", LANE)
    lane = await lane_of(redis)
    assert (lane.retrying, lane.cancelled) == (0, 1)
    assert await leaves_nothing(redis, receipt.id)


@pytest.mark.parametrize(("text", "uncertain"), [("hang", 0), ("hang in the effect", 1)])
async def test_a_running_job_that_is_cancelled_stops_and_is_counted(
    valkey_url: str, redis: Redis, producer: Producer, text: str, uncertain: int
) -> None:
    does = Handler()
    async with working(valkey_url, does) as worker:
        receipt = await producer.send(Note(text))
        await eventually(lambda: does.seen)
        if uncertain:
            await eventually(lambda: redis.hlen(KEYS.effects))
        assert await cancel_job(redis, receipt.id) == ("stopping", LANE)
        await eventually(reached(redis, cancelled=1, leased=0, uncertain=uncertain))
        assert not worker.runner.tasks
    if uncertain:  # what it may have done is told for as long as a result is kept
        assert await redis.ttl(KEYS.history(receipt.id)) > 0
        await redis.delete(KEYS.history(receipt.id))
    assert await leaves_nothing(redis, receipt.id)
    assert (await explain_job(redis, receipt.id)).job.state == "unknown"


async def test_a_running_job_is_told_once_to_stop_and_is_never_discarded(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    does = Handler()
    worker = Worker(
        [handler(does.obey, kind=Note.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 1)],
        handle_signals=False,
    )  # never started: what it claims runs for as long as its lease, and nobody renews
    receipt = await producer.send(Note("hang"))
    await worker.shards[0].store.run_cycle([], [(worker.lanes[0], 1)])
    assert await discard_job(redis, receipt.id) == ("running", LANE)
    assert await cancel_job(redis, receipt.id) == ("stopping", LANE)
    assert await cancel_job(redis, receipt.id) == ("told", LANE)
    job = (await explain_job(redis, receipt.id)).job
    assert (job.state, job.stopping, job.worker, job.attempt) == ("leased", True, worker.worker_id, 1)
    assert (await lane_of(redis)).leased == 1
    await worker.close()


async def test_a_job_whose_worker_died_in_its_effect_is_cancelled_at_once_and_counted_as_uncertain(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    worker = Worker(
        [handler(Handler().obey, kind=Note.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 1)],
        handle_signals=False,
        lease=timedelta(milliseconds=500),
    )
    receipt = await producer.send(Note("orphan"))
    (claim,) = (await worker.shards[0].store.run_cycle([], [(worker.lanes[0], 1)])).claims
    assert await worker.shards[0].store.marks.make_mark(claim, KEYS.effects)

    async def lapsed() -> bool:
        return (await explain_job(redis, receipt.id)).job.state == "ready"

    await eventually(lapsed)
    assert await cancel_job(redis, receipt.id) == ("gone", LANE)
    lane = await lane_of(redis)
    assert (lane.cancelled, lane.uncertain, lane.ready) == (1, 1, 0)
    assert await leaves_nothing(redis, receipt.id)
    assert await redis.zcard(KEYS.leases) == 0
    await worker.close()


async def test_a_job_that_a_stock_arq_worker_runs_is_left_alone(redis: Redis, producer: Producer) -> None:
    receipt = await producer.send(Note("elsewhere"))
    await redis.set(f"arq:in-progress:{receipt.id}", b"1", px=310_000)
    assert await cancel_job(redis, receipt.id) == ("foreign", LANE)
    assert await discard_job(redis, receipt.id) == ("running", LANE)
    assert not await redis.exists(KEYS.cancelled)
    assert await redis.zcard(KEYS.queue) == 1


async def test_a_dead_job_is_not_cancelled(valkey_url: str, redis: Redis, producer: Producer) -> None:
    (job_id,) = await made_dead(valkey_url, redis, producer)
    assert await cancel_job(redis, job_id) == ("dead", LANE)
    assert (await lane_of(redis)).dead == 1


@pytest.mark.one_server("stock arq knows no cluster")
@pytest.mark.parametrize("job_id", ["{mail}foreign", "untagged"])
async def test_a_waiting_job_of_a_stock_arq_producer_that_is_cancelled_is_accounted_for(
    redis: Redis, job_id: str
) -> None:
    await a_foreign_job(redis, job_id, "unwanted")
    assert await cancel_job(redis, job_id) == ("gone", LANE)
    lane = await lane_of(redis)
    assert (lane.accepted, lane.cancelled) == (1, 1)


async def test_a_recompute_asked_for_while_a_cancelled_one_ran_is_queued(redis: Redis, producer: Producer) -> None:
    keys = LaneKeys("reports")
    first = await producer.request_refresh("management", scope=None, delay=timedelta(0))
    await redis.hset(keys.next, first.id, '1 {"v":1,"f":"report.refresh","t":null,"a":[],"k":{},"et":1}')
    assert await cancel_job(redis, first.id) == ("gone", "reports")
    lane = (await read_depth(redis, tenant="default")).lane("reports")
    assert lane is not None
    assert (lane.conserved, lane.ready, lane.cancelled, lane.accepted) == (True, 1, 1, 2)


async def test_jobs_can_be_taken_out_and_lanes_held_at_the_memory_limit(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    async with Redis.from_url(valkey.url) as redis, Producer.connect(valkey.url, budget=5) as producer:
        (job_id,) = await made_dead(valkey.url, redis, producer)
        unwanted, another = await producer.send_many([Note("unwanted"), Note("unwanted too")])
        await redis.config_set("maxmemory", "1mb")
        assert await revive_job(redis, job_id) == ("revived", LANE)
        assert await discard_job(redis, unwanted.id) == ("gone", LANE)
        assert await cancel_job(redis, another.id) == ("gone", LANE)
        assert await hold_lane(redis, LANE, lasting=None, reason="")
        assert await release_lane(redis, LANE)
        await lane_of(redis)


# Edit


async def test_a_dead_mail_with_its_address_mended_arrives_when_revived(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Mail(to="wrong@example.com", subject="Hola", text="Buenos días"))
    async with working(valkey_url, Handler()):
        await eventually(reached(redis, dead=1))
    before = orjson.loads(await redis.get(f"arq:job:{receipt.id}"))
    assert (await edit_job(redis, receipt.id, {"to": "Right@EXAMPLE.com"}))[0] == "edited"
    after = orjson.loads(await redis.get(f"arq:job:{receipt.id}"))
    assert after == before | {"k": before["k"] | {"to": "Right@example.com"}}
    assert (await lane_of(redis)).dead == 1
    await revive_job(redis, receipt.id)
    does = Handler(mended=True)
    async with working(valkey_url, does):
        await eventually(reached(redis, done=1))
    assert does.seen == [("Right@example.com", 1)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"to": "nobody"}, "^to: is not a mail address"),
        ({"subject": "a\nBcc: b@example.com"}, "^subject: "),
        ({"colour": "red"}, "^colour: is not a field of mail.send; it has message_id"),
        ({"message_id": "another"}, "^message_id: cannot be edited"),
    ],
)
async def test_a_mail_is_checked_when_edited_as_when_handed_over(
    valkey_url: str, redis: Redis, producer: Producer, changes: dict[str, str], words: str
) -> None:
    receipt = await producer.send(Mail(to="wrong@example.com", subject="Hola", text="Buenos días"))
    async with working(valkey_url, Handler()):
        await eventually(reached(redis, dead=1))
    before = await redis.get(f"arq:job:{receipt.id}")
    with pytest.raises(CannotEdit, match=words):
        await edit_job(redis, receipt.id, changes)
    assert await redis.get(f"arq:job:{receipt.id}") == before


async def test_a_number_stays_a_number(valkey_url: str, redis: Redis, producer: Producer) -> None:
    (job_id,) = await made_dead(valkey_url, redis, producer)
    assert (await edit_job(redis, job_id, {"times": "3", "text": "3"}))[0] == "edited"
    assert orjson.loads(await redis.get(f"arq:job:{job_id}"))["k"] == {"text": "3", "times": 3}
    for wrong in ("three", "3.5", "true"):
        with pytest.raises(CannotEdit, match=r"^times: has type int"):
            await edit_job(redis, job_id, {"times": wrong})


async def test_only_a_dead_job_is_edited(redis: Redis, producer: Producer) -> None:
    receipt = await producer.send(Note("x"))
    assert (await edit_job(redis, receipt.id, {"text": "y"}))[0] == "not dead"
    assert orjson.loads(await redis.get(f"arq:job:{receipt.id}"))["k"]["text"] == "x"


# Why


async def test_why_tells_each_state_and_what_it_waits_for(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    later = await producer.send(Note("later"), delay=timedelta(hours=1))
    texts = ("give up", "fail", "hang", "hang", "fine")
    dead, failed, *_, last = await producer.send_many([Note(text) for text in texts])

    async def told(job_id: str) -> tuple[str, tuple[str, ...], int]:
        found = await explain_job(redis, job_id)
        return found.job.state, found.waits_for, found.job.attempt

    assert await told(last.id) == ("ready", ("worker",), 1)
    assert (await explain_job(redis, last.id)).job.place == 4
    async with working(valkey_url, Handler(), slots=2):
        await eventually(reached(redis, dead=1, retrying=1, leased=2, ready=1))

        async def seen_busy() -> bool:
            return (await told(last.id))[1] == ("slot",)

        await eventually(seen_busy)
        assert await told(dead.id) == ("dead", ("people",), 1)
        assert await told(failed.id) == ("retrying", ("time",), 2)
        assert await told(later.id) == ("scheduled", ("time",), 1)
        await hold_lane(redis, LANE, lasting=None, reason="maintenance")
        assert await told(last.id) == ("ready", ("held", "slot"), 1)
        assert await told(later.id) == ("scheduled", ("held", "time"), 1)
        assert (await explain_job(redis, last.id)).job.place == 0
    assert await told("{mail}never") == ("unknown", (), 0)


async def test_why_tells_that_a_worker_left_the_job_to_another(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("elsewhere"))
    async with working(valkey_url, Handler()):
        await eventually(reached(redis, scheduled=1))
        text = explained_text(await explain_job(redis, receipt.id))
    assert re.search(r"waits for  its time, in .+ \(deferred: another worker will take it\)", text), text


async def test_why_tells_of_a_job_that_is_done(valkey_url: str, redis: Redis, producer: Producer) -> None:
    receipt = await producer.send(Note("fine"))
    async with working(valkey_url, Handler()):
        await eventually(reached(redis, done=1))
    job = (await explain_job(redis, receipt.id)).job
    assert (job.state, job.lane, job.kind, job.attempt) == ("done", LANE, Note.kind, 1)


@pytest.mark.parametrize("form", [[], ["--json"]])
async def test_why_and_dead_never_print_what_is_in_a_mail(
    valkey_url: str, redis: Redis, producer: Producer, form: list[str]
) -> None:
    receipt = await producer.send(Mail(to=PRIVATE, subject="Confidencial", text="Cuerpo privado"))
    async with working(valkey_url, Handler()):
        await eventually(reached(redis, dead=1))
    for command in (["why", receipt.id], ["dead"], ["edit", receipt.id, "--set", "subject=Confidencial 2"]):
        code, out, err = await ops(valkey_url, *command, *form)
        assert (code, err) == (0, "")
        assert not [word for word in (PRIVATE, "Confidencial", "Cuerpo") if word in out]
        assert command[0] == "edit" or ("mail.send" in out and "no such person" in out)
    assert "message_id, date, sender" in (await ops(valkey_url, "why", receipt.id))[1]


async def test_nothing_of_a_job_can_move_the_cursor(redis: Redis, producer: Producer, valkey_url: str) -> None:
    receipt = await producer.send(Note("x"))
    entry = {"at_ms": 1, "attempt": 1, "outcome": "retry", "reason": "\x1b[2Jgone"}
    await redis.rpush(KEYS.history(receipt.id), orjson.dumps(entry))
    await redis.rpush(KEYS.history(receipt.id), b"\x80 no history")
    code, out, _ = await ops(valkey_url, "why", receipt.id)
    assert code == 0
    assert "\x1b" not in out
    assert "?[2Jgone" in out


# Holds


async def test_a_paused_lane_waits_until_it_is_resumed_and_says_why(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    does = Handler()
    code, told = await facts(valkey_url, "pause", LANE, "--reason", "wrong figures")
    assert (code, told["what"], told["held"]) == (0, "held", {"until": None, "reason": "wrong figures"})
    async with working(valkey_url, does) as worker:
        receipt = await producer.send(Note("patient"))
        await looked_at(worker, redis)
        lane = await lane_of(redis)
        assert (lane.ready, lane.why, lane.drain.state, does.seen) == (1, "held", "held", [])
        code, out, _ = await ops(valkey_url, "depth")
        assert f"{LANE}: held until it is released: wrong figures" in out.splitlines()
        assert "held until it is released: wrong figures" in (await ops(valkey_url, "why", receipt.id))[1]
        assert (await facts(valkey_url, "resume", LANE))[1]["what"] == "released"
        await eventually(lambda: does.seen)
    assert (await lane_of(redis)).held is None


async def test_a_hold_for_a_time_ends_by_itself(valkey_url: str, redis: Redis, producer: Producer) -> None:
    await producer.send(Note("patient"))
    held = await hold_lane(redis, LANE, lasting=timedelta(milliseconds=600), reason="the provider said so")
    assert held is not None
    assert (await lane_of(redis)).held == held
    does = Handler()
    async with working(valkey_url, does):
        await eventually(lambda: does.seen)
    seconds, microseconds = await redis.time()
    assert held.until is not None
    assert held.until.timestamp() <= seconds + microseconds / 1_000_000
    assert (await lane_of(redis)).held is None


async def test_a_worker_that_waits_hears_of_a_release(redis: Redis) -> None:
    await hold_lane(redis, LANE, lasting=None, reason="")
    assert await release_lane(redis, LANE)
    assert await redis.lrange(KEYS.wake, 0, -1) == [b"1"]
    assert not await release_lane(redis, LANE)


async def test_what_runs_when_its_lane_is_held_goes_on(valkey_url: str, redis: Redis, producer: Producer) -> None:
    does = Handler()
    async with working(valkey_url, does):
        await producer.send(Note("hang"))
        await eventually(lambda: does.seen)
        await hold_lane(redis, LANE, lasting=None, reason="")
        assert (await lane_of(redis)).leased == 1


async def test_the_last_hold_counts_and_the_same_pause_twice_is_nothing_to_do(
    valkey_url: str, redis: Redis
) -> None:
    assert (await facts(valkey_url, "pause", LANE))[0] == 0
    assert (await facts(valkey_url, "pause", LANE))[0] == 1
    code, told = await facts(valkey_url, "hold", LANE, "--for", "10m", "--reason", "a pause with an end")
    lane = await lane_of(redis)
    assert lane.held is not None
    assert lane.held.until is not None
    assert (code, lane.held.reason) == (0, "a pause with an end")
    assert datetime.fromisoformat(told["held"]["until"]) == lane.held.until
    assert (await facts(valkey_url, "release", LANE))[0] == 0
    assert (await facts(valkey_url, "release", LANE))[0] == 1


@pytest.mark.parametrize(
    ("language", "words"), [("es", "retenido hasta que se libere"), ("en", "held until it is released")]
)
async def test_the_console_tells_of_a_hold_in_both_languages(
    valkey_url: str, redis: Redis, language: str, words: str
) -> None:
    await hold_lane(redis, LANE, lasting=None, reason="<b>wrong figures</b>")
    async with client_of(valkey_url) as client:
        console = ConsolePage(client, tenant="default", named="MOMENTUS_REDIS_URL")
        for path in ("/", f"/lanes/{LANE}"):
            request = PageRequest(
                method="GET", path=path, host="127.0.0.1", accept_language=language, peer="127.0.0.1"
            )
            page = (await console.respond(request)).body.decode()
            assert f"{words}: &lt;b&gt;wrong figures&lt;/b&gt;" in page
        request = PageRequest(method="GET", path="/api/depth", host="127.0.0.1", peer="127.0.0.1")
        (lane,) = [
            one for one in json.loads((await console.respond(request)).body)["lanes"] if one["lane"] == LANE
        ]
        assert lane["held"] == {"until": None, "reason": "<b>wrong figures</b>"}


async def test_a_hold_that_is_over_is_not_shown_even_if_no_worker_has_looked(redis: Redis) -> None:
    await hold_lane(redis, LANE, lasting=timedelta(milliseconds=20), reason="short")

    async def over() -> bool:
        return (await lane_of(redis)).held is None

    await eventually(over)
    assert await redis.hexists(KEYS.holds, f"lane:{LANE}")


async def test_a_hold_that_cannot_be_read_is_shown_and_can_be_released(redis: Redis) -> None:
    for octets in ("{", "[]", '{"until_ms":"soon"}', '{"until_ms":1e300}'):
        await redis.hset(KEYS.holds, f"lane:{LANE}", octets)
        lane = await lane_of(redis)
        assert lane.held is not None
        assert lane.held.until is None
        assert await release_lane(redis, LANE)


# The command


async def test_the_command_brings_back_lists_and_takes_out(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    first, second = await made_dead(valkey_url, redis, producer, 2)
    code, listed = await facts(valkey_url, "dead", LANE)
    assert (code, {job["id"] for job in listed["dead"]}) == (0, {first, second})
    assert listed["dead"][0].keys() == {"id", "lane", "at", "kind", "attempt", "reason"}
    assert {(job["kind"], job["attempt"], job["reason"]) for job in listed["dead"]} == {
        (Note.kind, 1, "no such person")
    }
    assert len((await facts(valkey_url, "dead", "--limit", "1"))[1]["dead"]) == 1
    assert await facts(valkey_url, "revive", first) == (0, {"id": first, "lane": LANE, "what": "revived"})
    assert (await facts(valkey_url, "revive", first))[0] == 1
    assert await facts(valkey_url, "revive", "--all", LANE) == (
        0,
        {"lane": LANE, "revived": 1, "vanished": 0, "erased": 0, "suppressed": 0, "needs_ledger": 0, "staged": 0},
    )
    assert (await facts(valkey_url, "revive", "--all", LANE))[0] == 1
    assert (await facts(valkey_url, "cancel", first))[0] == 0
    assert (await facts(valkey_url, "discard", second))[0] == 0
    assert (await facts(valkey_url, "discard", second))[0] == 1
    assert (await facts(valkey_url, "why", second))[0] == 1
    lane = await lane_of(redis)
    assert (lane.ready, lane.dead, lane.cancelled, lane.discarded) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["why"],
        ["why", ""],
        ["dead", "no.lane"],
        ["dead", "--limit", "0"],
        ["revive"],
        ["revive", "{mail}x", "--all", LANE],
        ["edit", "{mail}x"],
        ["edit", "{mail}x", "--set", "to"],
        ["hold", LANE],
        ["hold", LANE, "--for", "0s"],
        ["hold", LANE, "--for", "ten minutes"],
        ["hold", LANE, "--for", "999999999d"],
        ["pause", LANE, "--reason", "two\nlines"],
        ["pause"],
    ],
)
async def test_a_wrong_word_ends_with_the_code_for_it(valkey_url: str, arguments: list[str]) -> None:
    code, out, err = await ops(valkey_url, *arguments)
    assert (code, out) == (2, "")
    assert "usage:" in err
    assert "Traceback" not in err


async def test_redis_away_is_one_line_and_its_code(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> None:
    valkey = await own_valkey()
    await valkey.stop()
    for arguments in (["why", "{mail}x"], ["revive", "--all", LANE], ["pause", LANE]):
        code, out, err = await ops(valkey.url, *arguments)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert "MOMENTUS_REDIS_URL" in err


@pytest.mark.parametrize(
    "word", ["why", "dead", "revive", "discard", "edit", "cancel", "pause", "resume", "hold", "release"]
)
async def test_every_command_explains_itself(valkey_url: str, word: str) -> None:
    code, out, err = await ops(valkey_url, word, "--help")
    assert (code, err) == (0, "")
    assert f"example:\n  ./run ops {word} " in out
    assert "--json" in out
