"""What is retrying, by lane, kind and class of error: counted, with the attempts and the next attempt."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Mail, Policy
from producers import Producer
from producers.keys import LaneKeys
from tests.acceptance.test_mail_replies import Refusing, delivering
from tests.command_line import run_ops
from tests.doctoring import cause, findings
from tests.notes import LANE, Note, running
from tests.support import eventually
from worker.engine import LaneSlots, TryLater, Worker
from worker.engine.handler import handler

HOUR = timedelta(hours=1)
KEYS = LaneKeys(LANE)


async def fail(_: dict[str, Any], text: str) -> None:
    if text == "key":
        raise KeyError(text)
    raise TryLater(f"order {text} is locked until 9:30", after=HOUR)


@asynccontextmanager
async def failing(url: str) -> AsyncIterator[None]:
    worker = Worker(
        [handler(fail, kind=Note.kind)], redis_url=url, lanes=[LaneSlots(LANE, 5)], handle_signals=False
    )
    async with running(worker):
        yield


async def retrying(redis: Redis) -> int:
    return int(await redis.scard(KEYS.retrying))


async def groups(url: str, *words: str) -> list[dict[str, Any]]:
    code, out, err = await run_ops("jobs", "--state", "retrying", "--by-error", "--json", *words, REDIS_URL=url)
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)["groups"]
    return found


async def test_jobs_that_fail_in_one_way_are_one_line_with_their_number_attempts_and_next_attempt(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    await producer.send_many([Note(text) for text in ("17", "4711", "key")])
    async with failing(valkey_url):
        await eventually(lambda: _is(redis, 3))
    locked, other = await groups(valkey_url)
    assert (locked["error"], locked["count"], locked["attempts"]) == ("order # is locked until #:#", 2, 1)
    assert (other["error"], other["count"], other["kind"]) == ("KeyError", 1, "note.take")
    left = datetime.fromisoformat(locked["next"]) - datetime.now(UTC)
    assert timedelta(minutes=50) < left <= HOUR
    _, out, _ = await run_ops("jobs", "--state", "retrying", "--by-error", REDIS_URL=valkey_url)
    assert out.splitlines()[0].split() == ["LANE", "KIND", "ERROR", "JOBS", "ATTEMPTS", "NEXT", "(UTC)", "FIRST"]
    assert await groups(valkey_url, "--error", "locked") == [locked]
    assert await groups(valkey_url, "--lane", "mail.bulk") == []


async def _is(redis: Redis, count: int) -> bool:
    return await retrying(redis) == count


async def test_mails_are_grouped_by_the_side_at_fault_the_stage_and_the_code(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async with Refusing(always={"rcpt": "452 4.2.2 mailbox of user 17 full"}) as server:
        await producer.send_many([Mail(to=f"u{n}@example.com", subject="Hola", text="Hola") for n in range(3)])
        async with delivering(valkey_url, server, policy=Policy(first_wait=HOUR, longest_wait=HOUR)):
            await eventually(lambda: _is(redis, 3))
    for job_id in await redis.smembers(KEYS.retrying):
        await redis.zincrby(KEYS.queue, HOUR / timedelta(milliseconds=1), job_id)
    (group,) = await groups(valkey_url)
    assert (group["error"], group["count"], group["kind"]) == ("recipient rcpt 452", 3, "mail.send")


@pytest.mark.parametrize("words", [(), ("--json",)])
async def test_without_such_jobs_the_command_says_so(valkey_url: str, words: tuple[str, ...]) -> None:
    code, out, _ = await run_ops("jobs", "--state", "retrying", "--by-error", *words, REDIS_URL=valkey_url)
    assert code == 0
    assert out.strip() == ('{"groups":[],"jobs":0,"more":false}' if words else "No jobs match.")


async def test_the_doctor_tells_of_jobs_that_retry_until_they_do_not(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("17"))
    async with failing(valkey_url):
        await eventually(lambda: _is(redis, 1))
        assert (await findings(REDIS_URL=valkey_url))["lane.retrying"] == "warning"
        assert "jobs --state retrying --by-error" in await cause("lane.retrying", REDIS_URL=valkey_url)
        await run_ops("cancel", receipt.id, REDIS_URL=valkey_url)
        assert "lane.retrying" not in await findings(REDIS_URL=valkey_url)
