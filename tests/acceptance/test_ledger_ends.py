"""Every way by which a job of the ledger leaves Redis is noted, until Postgres has it.

The jobs are pushed as the relay pushes them. In each group, what was pushed is live or has ended, at any time.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from jobs import Policy
from ops.jobs.operations import _revive_in_redis, cancel_job, discard_job
from ops.mail.uncertain import resolve_uncertain
from producers.envelope import write_envelope
from producers.keys import LaneKeys
from tests.notes import LANE, Note, running
from tests.support import eventually
from worker.engine import GiveUp, LaneSlots, Park, Suppress, TryLater, Worker
from worker.engine.handler import handler
from worker.ledger.push import StagedJob, push_jobs

KEYS = LaneKeys(LANE)
DAY = 20786
ENQUEUED_MS = time.time_ns() // 1_000_000  # a mail of long ago is tried no more
POLICY = Policy(tries=2, first_wait=timedelta(milliseconds=1))


def staged(name: str, **fields: Any) -> StagedJob:
    """A job that is due now; its text is its name."""
    content = orjson.loads(write_envelope(Note.kind, {"text": name}, enqueued_ms=ENQUEUED_MS))
    payload = orjson.dumps({**content, **fields.pop("envelope", {}), "l": DAY})
    return StagedJob(f"{{mail}}{name}", DAY, LANE, payload, **fields)


async def push(redis: Redis, *jobs: StagedJob) -> list[tuple[str, str, str]]:
    return [(one.job.id, one.why, one.holder) for one in (await push_jobs(redis.execute_command, jobs)).refusals]


async def ends(redis: Redis) -> dict[str, dict[str, Any]]:
    """What was noted, by the name of the job."""
    found = await redis.hgetall(KEYS.ended)
    return {name.decode().removeprefix("{mail}"): orjson.loads(end) for name, end in found.items()}


async def live(redis: Redis) -> set[str]:
    return {name.decode().removeprefix("{mail}") for name in await redis.hkeys(KEYS.ledger)}


async def count(redis: Redis, event: str) -> int:
    return int(await redis.hget(KEYS.counters, f"{event}:{LANE}") or 0)


@asynccontextmanager
async def working(url: str, take: Callable[..., Any], **options: Any) -> AsyncIterator[Worker]:
    worker = Worker(
        [handler(take, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, 4)],
        policies={Note.kind: POLICY},
        **options,
    )
    async with running(worker):
        yield worker


async def one_end(redis: Redis) -> dict[str, Any]:
    """Wait for the only end; the job is not live any more."""
    found = await eventually(lambda: ends(redis))
    assert len(found) == 1
    assert not await live(redis)
    ((_, end),) = found.items()
    assert end["day"] == DAY
    assert end["at_ms"] > 0
    return end


def raising(error: Exception) -> Callable[..., Any]:
    async def take(_: dict[str, Any], text: str) -> None:
        del text
        raise error

    return take


async def test_a_job_that_is_done_leaves_its_account_and_the_last_words(valkey_url: str, redis: Redis) -> None:
    async def take(_: dict[str, Any], text: str) -> dict[str, str]:
        return {"account": "primary", "reply": f"250 {text}"}

    await push(redis, staged("a"))
    assert await live(redis) == {"a"}
    async with working(valkey_url, take):
        end = await one_end(redis)
    assert (end["state"], end["attempt"], end["account"], end["reply"]) == ("done", 1, "primary", "250 a")
    assert end["uncertain"] is False


@pytest.mark.parametrize("value", [None, True, ["a"], {"a": 1}])
async def test_what_is_no_text_of_a_result_leaves_no_words(valkey_url: str, redis: Redis, value: object) -> None:
    async def take(_: dict[str, Any], text: str) -> dict[str, object]:
        return {"account": value, "reply": value or text}

    await push(redis, staged(""))
    async with working(valkey_url, take):
        end = await one_end(redis)
    assert (end["account"], end["reply"]) == ("", "")


async def test_a_number_of_a_result_is_told_as_it_is(valkey_url: str, redis: Redis) -> None:
    async def take(_: dict[str, Any], text: str) -> dict[str, object]:
        del text
        return {"account": 7, "reply": 250}

    await push(redis, staged("a"))
    async with working(valkey_url, take):
        end = await one_end(redis)
    assert (end["account"], end["reply"]) == ("7", "250")


async def revive_job(redis: Redis, job_id: str) -> tuple[str, str]:
    """What Redis does when a command with the ledger revives a job."""
    ((what, lane),) = await _revive_in_redis(redis, [KEYS], [job_id], has_ledger=True)
    return what, lane


async def test_a_dead_job_stays_as_it_is_while_its_end_cannot_be_noted(valkey_url: str, redis: Redis) -> None:
    await push(redis, staged("a"))
    async with working(valkey_url, raising(GiveUp("no"))):
        await one_end(redis)
    await redis.delete(KEYS.ended)  # a worker has written it to Postgres
    await redis.set(KEYS.ended, "something else")
    for change in (discard_job, revive_job):
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await change(redis, "{mail}a")
        assert await redis.zrange(KEYS.dead, 0, -1) == [b"{mail}a"]
        assert await redis.exists("arq:job:{mail}a")


async def test_an_uncertain_mail_waits_for_its_decision_while_its_end_cannot_be_noted(
    valkey_url: str, redis: Redis
) -> None:
    await push(redis, staged("a"))
    async with working(valkey_url, raising(Park("no reply", why="uncertain", uncertain=True))):
        await eventually(lambda: redis.hlen(KEYS.parked))
    await redis.set(KEYS.ended, "something else")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await resolve_uncertain(redis, "{mail}a", "accepted", by="ana")
    assert await redis.hkeys(KEYS.parked) == [b"{mail}a"]


@pytest.mark.parametrize(
    ("error", "end", "reply"),
    [
        (GiveUp("no such mailbox"), ("dead", 1, False), "no such mailbox"),
        (TryLater("busy"), ("dead", 2, False), "busy"),
        (TryLater("no reply", uncertain=True), ("dead", 2, True), "no reply"),
        (Suppress({"reason": "bounced"}), ("suppressed", 1, False), "bounced"),
    ],
)
async def test_each_outcome_that_ends_a_job_is_noted(
    valkey_url: str, redis: Redis, error: Exception, end: tuple[str, int, bool], reply: str
) -> None:
    await push(redis, staged("a"))
    async with working(valkey_url, raising(error)):
        noted = await one_end(redis)
    assert (noted["state"], noted["attempt"], noted["uncertain"]) == end
    assert reply in noted["reply"]


async def test_a_job_whose_time_is_over_is_noted_as_expired(valkey_url: str, redis: Redis) -> None:
    await push(redis, staged("a", envelope={"x": ENQUEUED_MS + 1}))
    async with working(valkey_url, raising(AssertionError("it must not run"))):
        assert (await one_end(redis))["state"] == "expired"


async def test_a_job_that_waits_to_be_tried_again_is_still_live(valkey_url: str, redis: Redis) -> None:
    await push(redis, staged("a"))
    async with working(valkey_url, raising(TryLater("busy", after=timedelta(hours=1)))):
        await eventually(lambda: redis.scard(KEYS.retrying))
    assert await live(redis) == {"a"}
    assert not await ends(redis)


@pytest.mark.parametrize(("remove", "state"), [(cancel_job, "cancelled"), (discard_job, "discarded")])
async def test_a_waiting_job_that_is_taken_out_is_noted(
    redis: Redis, remove: Callable[..., Any], state: str
) -> None:
    await push(redis, staged("a"))
    assert await remove(redis, "{mail}a") == ("gone", LANE)
    assert (await one_end(redis))["state"] == state


async def test_a_running_job_that_is_cancelled_is_noted(valkey_url: str, redis: Redis) -> None:
    begun = asyncio.Event()

    async def take(_: dict[str, Any], text: str) -> None:
        del text
        begun.set()
        await asyncio.Event().wait()

    await push(redis, staged("a"))
    async with working(valkey_url, take, renew_every=timedelta(milliseconds=50)):
        await begun.wait()
        assert (await cancel_job(redis, "{mail}a"))[0] == "stopping"
        assert (await one_end(redis))["state"] == "cancelled"


async def lose_worker(redis: Redis, job_id: str, *, lapses: int) -> None:
    """Leave the job as a worker that died with it leaves it, after so many lost leases in tenths."""
    await redis.zadd(KEYS.queue, {job_id: 1})
    await redis.zadd(KEYS.leases, {job_id: 1})
    await redis.hset(KEYS.lapses, job_id, str(lapses))
    await redis.hset(KEYS.effects, job_id, "1 primary")


async def test_a_job_that_took_its_workers_down_is_noted_as_dead(valkey_url: str, redis: Redis) -> None:
    await push(redis, staged("a"))
    await lose_worker(redis, "{mail}a", lapses=20)
    async with working(valkey_url, raising(AssertionError("it must not run"))):
        end = await one_end(redis)
    assert (end["state"], end["reply"], end["uncertain"]) == ("dead", "crash_loop", True)


async def test_a_cancelled_job_that_lost_its_worker_is_noted(valkey_url: str, redis: Redis) -> None:
    await push(redis, staged("a"))
    await lose_worker(redis, "{mail}a", lapses=10)
    await redis.sadd(KEYS.cancelled, "{mail}a")
    async with working(valkey_url, raising(AssertionError("it must not run"))):
        end = await one_end(redis)
    assert (end["state"], end["uncertain"]) == ("cancelled", True)


async def test_a_job_that_no_worker_can_run_is_noted_as_dead(valkey_url: str, redis: Redis) -> None:
    await push(redis, staged("a"))
    await redis.set("arq:retry:{mail}a", "many")
    async with working(valkey_url, raising(AssertionError("it must not run"))):
        end = await one_end(redis)
    assert end["state"] == "dead"
    assert "must hold a number of attempts" in end["reply"]


async def test_a_job_whose_payload_is_gone_is_forgotten_and_may_be_pushed_again(
    valkey_url: str, redis: Redis
) -> None:
    done: list[str] = []

    async def take(_: dict[str, Any], text: str) -> None:
        done.append(text)

    job = staged("a", key="k" * 64, fingerprint="f" * 64, window_ms=60_000)
    await push(redis, job)
    await redis.delete("arq:job:{mail}a")
    async with working(valkey_url, take):
        await eventually(lambda: count(redis, "vanished"))
        assert not await live(redis)
        assert not await ends(redis)
        assert await push(redis, job) == []
        assert (await one_end(redis))["state"] == "done"
    assert done == ["a"]


async def test_an_uncertain_mail_that_an_operator_calls_accepted_is_noted(valkey_url: str, redis: Redis) -> None:
    await push(redis, staged("a"))
    async with working(valkey_url, raising(Park("no reply", why="uncertain", uncertain=True))):
        await eventually(lambda: redis.hlen(KEYS.parked))
    assert await live(redis) == {"a"}
    assert await resolve_uncertain(redis, "{mail}a", "accepted", by="ana") == LANE
    end = await one_end(redis)
    assert (end["state"], end["reply"], end["uncertain"]) == ("done", "marked as accepted by ana", True)


async def test_a_revived_job_is_live_and_its_later_end_replaces_the_former(valkey_url: str, redis: Redis) -> None:
    fails = [True]

    async def take(_: dict[str, Any], text: str) -> None:
        if fails:
            raise GiveUp(text)

    await push(redis, staged("a"))
    async with working(valkey_url, take):
        assert (await one_end(redis))["state"] == "dead"
        fails.clear()
        assert await revive_job(redis, "{mail}a") == ("revived", LANE)
        assert (await eventually(lambda: _end_in(redis, "done")))["day"] == DAY
    assert not await live(redis)


async def test_a_revived_job_that_waits_has_no_end(valkey_url: str, redis: Redis) -> None:
    await push(redis, staged("a"))
    async with working(valkey_url, raising(GiveUp("no"))):
        await one_end(redis)
    await revive_job(redis, "{mail}a")
    assert await live(redis) == {"a"}
    assert not await ends(redis)


async def _end_in(redis: Redis, state: str) -> dict[str, Any] | None:
    end = (await ends(redis)).get("a")
    return end if end and end["state"] == state else None


async def test_a_dead_job_that_is_discarded_is_noted_once_more(valkey_url: str, redis: Redis) -> None:
    await push(redis, staged("a"))
    async with working(valkey_url, raising(GiveUp("no"))):
        await one_end(redis)
    await redis.delete(KEYS.ended)  # a worker has written it to Postgres
    await discard_job(redis, "{mail}a")
    assert (await one_end(redis))["state"] == "discarded"


async def test_jobs_that_are_not_of_the_ledger_leave_no_note(valkey_url: str, redis: Redis) -> None:
    async def take(_: dict[str, Any], text: str) -> None:
        del text

    other = staged("other")
    await push(redis, staged("a"), other)
    await redis.hdel(KEYS.ledger, other.id)
    async with working(valkey_url, take):
        await eventually(lambda: _all_done(redis, 2))
    assert set(await ends(redis)) == {"a"}


async def _all_done(redis: Redis, number: int) -> bool:
    return await count(redis, "done") == number


# The push


async def test_an_id_that_is_pushed_twice_is_queued_once(redis: Redis) -> None:
    job = staged("a")
    assert await push(redis, job) == []
    assert await push(redis, job) == []
    assert await redis.zrange(KEYS.queue, 0, -1) == [b"{mail}a"]
    assert await count(redis, "accepted") == 1


async def test_an_id_that_has_ended_is_not_queued_again(redis: Redis) -> None:
    await push(redis, staged("a"))
    await cancel_job(redis, "{mail}a")
    assert await push(redis, staged("a")) == []
    assert not await redis.zcard(KEYS.queue)
    assert (await one_end(redis))["state"] == "cancelled"


async def test_the_second_job_of_a_key_is_a_duplicate_and_other_content_a_conflict(redis: Redis) -> None:
    keyed: dict[str, Any] = {"key": "k" * 64, "window_ms": 60_000}
    jobs = [
        staged(name, fingerprint=print_ * 64, **keyed) for name, print_ in (("a", "f"), ("b", "f"), ("c", "0"))
    ]
    assert await push(redis, *jobs[:2]) == [("{mail}b", "duplicate", "{mail}a")]
    assert await push(redis, *jobs[1:]) == [
        ("{mail}b", "duplicate", "{mail}a"),
        ("{mail}c", "conflict", "{mail}a"),
    ]
    assert await live(redis) == {"a"}


async def test_a_key_that_holds_something_else_is_a_conflict_of_its_own_job_alone(redis: Redis) -> None:
    await redis.hset(f"momentus:{{mail}}:unique:{'0' * 64}", "not", "a key")
    keyed: dict[str, Any] = {"fingerprint": "f" * 64, "window_ms": 60_000}
    jobs = [staged(name, key=key * 64, **keyed) for name, key in (("a", "a"), ("b", "0"), ("c", "c"))]
    assert await push(redis, *jobs) == [("{mail}b", "conflict", "")]
    assert await live(redis) == {"a", "c"}
    assert await redis.zrange(KEYS.queue, 0, -1) == [b"{mail}a", b"{mail}c"]


async def test_a_job_that_its_producer_queued_is_one_of_the_ledger_once_its_row_is_handed_over(
    valkey_url: str, redis: Redis
) -> None:
    await push(redis, staged("a"))
    await redis.delete(KEYS.ledger)
    await redis.set("arq:job:{mail}a", write_envelope(Note.kind, {"text": "a"}, enqueued_ms=ENQUEUED_MS))
    assert await push(redis, staged("a")) == []
    assert await push(redis, staged("a")) == []
    assert orjson.loads(await redis.get("arq:job:{mail}a"))["l"] == DAY
    async with working(valkey_url, raising(GiveUp("no"))):
        await one_end(redis)
    await redis.delete(KEYS.ended)  # a worker has written it to Postgres
    await revive_job(redis, "{mail}a")
    assert await live(redis) == {"a"}


async def test_a_job_that_was_queued_before_it_was_staged_is_known_and_its_end_is_noted(
    valkey_url: str, redis: Redis
) -> None:
    async def take(_: dict[str, Any], text: str) -> dict[str, str]:
        return {"reply": text}

    await push(redis, staged("a"))
    await redis.delete(KEYS.ledger)  # as if a producer had queued it
    assert await push(redis, staged("a")) == []
    assert await live(redis) == {"a"}
    await redis.delete(KEYS.ledger)
    async with working(valkey_url, take):
        await eventually(lambda: redis.exists("arq:result:{mail}a"))
    assert await push(redis, staged("a")) == []
    assert ((await one_end(redis))["state"], await redis.zcard(KEYS.queue)) == ("done", 0)


async def test_a_job_that_died_before_its_row_was_seen_is_live_when_it_is_revived(
    valkey_url: str, redis: Redis
) -> None:
    content = orjson.loads(staged("a").payload)
    del content["l"]
    await push(redis, staged("a"))
    await redis.delete(KEYS.ledger)
    await redis.set("arq:job:{mail}a", orjson.dumps(content))  # as its producer queued it
    async with working(valkey_url, raising(GiveUp("no"))):
        await eventually(lambda: redis.exists("arq:result:{mail}a"))
    assert await push(redis, staged("a")) == []
    assert (await one_end(redis))["state"] == "dead"
    await redis.delete(KEYS.ended)  # a worker has written it to Postgres
    await revive_job(redis, "{mail}a")
    assert await live(redis) == {"a"}


async def test_a_mark_makes_the_next_attempt_uncertain(valkey_url: str, redis: Redis) -> None:
    seen: list[tuple[int, int]] = []

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        seen.append((context["job_try"], context["unknown_effect"]))

    await push(redis, staged("a", mark="3 primary"))
    async with working(valkey_url, take):
        await one_end(redis)
    assert seen == [(4, 3)]
    assert await count(redis, "uncertain") == 1


async def test_what_was_pushed_is_live_or_has_ended(valkey_url: str, redis: Redis) -> None:
    async def take(_: dict[str, Any], text: str) -> None:
        if int(text) % 3 == 0:
            raise GiveUp(text)
        if int(text) % 3 == 1:
            raise TryLater(text, after=timedelta(hours=1))

    jobs: Sequence[StagedJob] = [staged(str(number)) for number in range(60)]
    await push(redis, *jobs)
    async with working(valkey_url, take):
        await eventually(lambda: _settled(redis))
    assert set(await ends(redis)) | await live(redis) == {str(number) for number in range(60)}
    assert not set(await ends(redis)) & await live(redis)
    assert await redis.hlen(KEYS.ledger) + await redis.hlen(KEYS.ended) == await count(redis, "accepted")


async def _settled(redis: Redis) -> bool:
    return await redis.hlen(KEYS.ended) == 40 and await redis.scard(KEYS.retrying) == 20
