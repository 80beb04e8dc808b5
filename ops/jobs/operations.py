"""Changes by operators: revive, discard and cancel jobs. Each is one atomic script and safe to repeat.

    revive    dead -> ready, as if never tried; the history stays. A mail to a suppressed recipient stays dead
    discard   dead or waiting -> gone, counted as discarded
    cancel    waiting -> gone, counted as cancelled; running -> stopped, then the same

Errors: if the connection to Redis breaks after the change and before the reply, repeat the command; its result
shows the state. A running handler stops at its worker's next renewal; a mail that was already being sent then
counts as uncertain. The key under which a job was sent stays taken: the same key queues nothing new.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from redis.asyncio import Redis

from jobs.mail.seal import KeyRing
from ops.jobs.group import groups_of, run_script, script_keys
from ops.jobs.unsendable import MAIL_TAG, find_unsendable
from producers.entry import take_out
from producers.keys import LaneKeys

ReviveOutcome = Literal["revived", "vanished", "erased", "suppressed", "not dead"]
RemovalOutcome = Literal["gone", "stopping", "told", "running", "foreign", "dead", "unknown"]

_BATCH = 64
"""Jobs revived by one script call: about 20 us each, so that Redis serves other clients again within 2 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviveCounts:
    """Numbers of a lane's dead jobs that were revived, had no payload, or stay dead.

    Attributes:
        erased: stay dead because their content was erased.
        suppressed: stay dead because their recipients are on the suppression list.
    """

    revived: int
    vanished: int
    erased: int
    suppressed: int = 0


async def revive_job(redis: Redis, job_id: str) -> tuple[ReviveOutcome, str]:
    """Revive a dead job; return the outcome and its lane ("" if it was not dead).

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    for group in await groups_of(redis, job_id):
        ((what, lane),) = await _revive(redis, group, [job_id])
        if lane:
            return what, lane
    return "not dead", ""


async def revive_sendable(redis: Redis, job_id: str, *, ring: KeyRing | None = None) -> tuple[ReviveOutcome, str]:
    """Revive a dead job, unless it is a mail to a suppressed recipient.

    Args:
        ring: opens sealed mails, to see whether their recipients are suppressed.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    for group in await groups_of(redis, job_id):
        if group[0].tag == MAIL_TAG and await find_unsendable(redis, [job_id.encode()], ring=ring):
            for keys in group:
                if await redis.zscore(keys.dead, job_id) is not None:
                    return "suppressed", keys.lane
    return await revive_job(redis, job_id)


async def revive_all(redis: Redis, lane: str, *, ring: KeyRing | None = None) -> ReviveCounts:
    """Revive all jobs of a lane that are dead now, in batches that keep Redis busy for about 2 ms each.

    A job that dies again meanwhile stays dead, so this ends.

    Args:
        ring: as for :func:`revive_sendable`.

    Raises:
        RedisError, OSError: Redis did not answer; the batches before are revived.
    """
    counts: dict[ReviveOutcome, int] = {"revived": 0, "vanished": 0, "erased": 0, "suppressed": 0, "not dead": 0}
    keys, until_ms, stay = LaneKeys(lane), await _now_ms(redis), 0
    while job_ids := await _dead_until(redis, keys, until_ms, start=stay):
        unsendable = await find_unsendable(redis, job_ids, ring=ring) if keys.tag == MAIL_TAG else set()
        counts["suppressed"] += len(unsendable)
        sendable = [job_id for job_id in job_ids if job_id not in unsendable]
        for what, _ in await _revive(redis, [keys], sendable) if sendable else ():
            counts[what] += 1
        stay = counts["erased"] + counts["suppressed"]
    del counts["not dead"]
    return ReviveCounts(**counts)


async def discard_job(redis: Redis, job_id: str) -> tuple[RemovalOutcome, str]:
    """Remove a dead or waiting job for good; return the outcome and its lane.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    return await _take_out(redis, job_id, "discarded")


async def cancel_job(redis: Redis, job_id: str) -> tuple[RemovalOutcome, str]:
    """Remove a waiting job for good, or have a running one stopped; return the outcome and its lane.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    return await _take_out(redis, job_id, "cancelled")


async def _revive(
    redis: Redis, group: Sequence[LaneKeys], job_ids: Sequence[str | bytes]
) -> list[tuple[ReviveOutcome, str]]:
    keys = script_keys(group, ["counters", "adopted"], ["dead", "queue", "wake"])
    lanes = [one.lane for one in group]
    reply = await run_script(redis, "revive", keys, [group[0].tag, len(lanes), *lanes, *job_ids])
    return [(what.decode(), lane.decode()) for what, lane in zip(reply[::2], reply[1::2], strict=True)]


async def _now_ms(redis: Redis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _dead_until(redis: Redis, keys: LaneKeys, until_ms: int, *, start: int) -> list[bytes]:
    """Return a batch of the jobs that were dead by then, without the first ones, which stay dead."""
    job_ids = await redis.zrangebyscore(keys.dead, "-inf", until_ms, start=start, num=_BATCH)
    return list(job_ids)


async def _take_out(redis: Redis, job_id: str, event: str) -> tuple[RemovalOutcome, str]:
    for group in await groups_of(redis, job_id):
        taking = take_out(group[0], job_id, event, [one.lane for one in group])
        what, lane = await taking.run(redis.execute_command)
        if lane:
            return cast("RemovalOutcome", what), lane
    return "unknown", ""
