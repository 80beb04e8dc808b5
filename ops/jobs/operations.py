"""Changes by operators: revive, discard and cancel jobs. Each is one atomic script and safe to repeat.

    revive    dead -> ready, as if never tried; the history stays. A mail to a suppressed recipient stays dead
    discard   dead or waiting -> gone, counted as discarded; under a number it is kept aside (`ops.jobs.undo`)
    cancel    waiting -> gone, counted as cancelled; running -> stopped, then the same

With a ledger, revive and cancel change its rows too (`ledger_jobs`). Without it a job that has a row stays dead:
live in Redis and dead in Postgres, Redis could lose it for good, and its attempts would meet earlier marks.

Errors: if the connection to Redis breaks after the change and before the reply, repeat the command; its result
shows the state. A running handler stops at its worker's next renewal; a mail that was already being sent then
counts as uncertain. The key under which a job was sent stays taken: the same key queues nothing new.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from redis.asyncio import Redis

from jobs.mail.seal import KeyRing
from ops.jobs.group import groups_of, run_script, script_keys
from ops.jobs.undo import discard_some
from ops.jobs.unsendable import MAIL_TAG, find_unsendable
from producers.entry import take_out
from producers.keys import LaneKeys

if TYPE_CHECKING:
    from reports.connection_postgres import Connection

ReviveOutcome = Literal["revived", "staged", "vanished", "erased", "suppressed", "needs_ledger", "not dead"]
RemovalOutcome = Literal["gone", "stopping", "told", "running", "foreign", "dead", "unknown"]

_AT_ONCE = 8
"""Calls that wait for Redis at the same time, each on a connection of its own."""
BATCH = 64
"""Jobs revived by one script call: about 20 us each, so that Redis serves other clients again within 2 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviveCounts:
    """Numbers of a lane's dead jobs that were revived, had no payload, or stay dead.

    Attributes:
        erased: stay dead because their content was erased.
        suppressed: stay dead because their recipients are on the suppression list.
        needs_ledger: stay dead because their rows in the ledger could not be changed.
        staged: had no payload, and are handed over again from the ledger.
    """

    revived: int
    vanished: int
    erased: int
    suppressed: int = 0
    needs_ledger: int = 0
    staged: int = 0


async def revive_job(
    redis: Redis, job_id: str, *, ledger: "Connection | None" = None
) -> tuple[ReviveOutcome, str]:
    """Revive a dead job; return the outcome and its lane ("" if it was not dead).

    Args:
        ledger: may have a dead job that Redis has lost. Without it a job of the ledger stays dead.

    Raises:
        RedisError, OSError, DATABASE_FAULTS: a store did not answer.
    """
    for group in await groups_of(redis, job_id):
        ((what, lane),) = await _revive(redis, group, [job_id], ledger)
        if lane:
            return what, lane
    if ledger is None:
        return "not dead", ""
    from ops.jobs.ledger_jobs import revive_lost  # noqa: PLC0415  loads the driver of Postgres

    return await revive_lost(ledger, redis, job_id)


async def revive_sendable(
    redis: Redis, job_id: str, *, ring: KeyRing | None = None, ledger: "Connection | None" = None
) -> tuple[ReviveOutcome, str]:
    """Revive a dead job, unless it is a mail to a suppressed recipient, or of a ledger that is not given.

    Args:
        ring: opens sealed mails, to see whether their recipients are suppressed.
        ledger: as for :func:`revive_job`.

    Raises:
        RedisError, OSError, DATABASE_FAULTS: a store did not answer.
    """
    for group in await groups_of(redis, job_id):
        if group[0].tag == MAIL_TAG and await find_unsendable(redis, [job_id.encode()], ring=ring):
            for keys in group:
                if await redis.zscore(keys.dead, job_id) is not None:
                    return "suppressed", keys.lane
    return await revive_job(redis, job_id, ledger=ledger)


async def revive_all(
    redis: Redis, lane: str, *, ring: KeyRing | None = None, ledger: "Connection | None" = None
) -> ReviveCounts:
    """Revive all jobs of a lane that are dead now, in batches that keep Redis busy for about 2 ms each.

    A job that dies again meanwhile stays dead, so this ends.

    Args:
        ring: as for :func:`revive_sendable`.
        ledger: has jobs whose payload Redis has lost; jobs that Redis does not list are not searched for.
            Without it, jobs of the ledger stay dead.

    Raises:
        RedisError, OSError, DATABASE_FAULTS: a store did not answer; the batches before are revived.
    """
    counts: dict[ReviveOutcome, int] = dict.fromkeys(get_args(ReviveOutcome), 0)
    keys, until_ms, stay = LaneKeys(lane), await _now_ms(redis), 0
    while job_ids := await _dead_until(redis, keys, until_ms, start=stay):
        for what in await revive_some(redis, keys, job_ids, ring=ring, ledger=ledger):
            counts[what] += 1
        stay = counts["erased"] + counts["suppressed"] + counts["needs_ledger"]
    del counts["not dead"]
    return ReviveCounts(**counts)


async def revive_some(
    redis: Redis,
    keys: LaneKeys,
    job_ids: Sequence[bytes],
    *,
    ring: KeyRing | None = None,
    ledger: "Connection | None" = None,
) -> list[ReviveOutcome]:
    """Revive dead jobs of one lane, at most `BATCH`; return the outcome of each, in their order.

    Raises:
        RedisError, OSError, DATABASE_FAULTS: a store did not answer; the call may be repeated.
    """
    unsendable = await find_unsendable(redis, job_ids, ring=ring) if keys.tag == MAIL_TAG else set()
    sendable = [job_id for job_id in job_ids if job_id not in unsendable]
    told = await _revive(redis, [keys], sendable, ledger) if sendable else []
    outcomes = dict(zip(sendable, (what for what, _ in told), strict=True))
    return [outcomes.get(job_id, "suppressed") for job_id in job_ids]


async def remove_some(
    redis: Redis,
    keys: LaneKeys,
    job_ids: Sequence[bytes],
    event: Literal["discarded", "cancelled"],
    *,
    number: str = "",
) -> list[RemovalOutcome]:
    """Discard or cancel jobs of one lane; return the outcome of each, in their order.

    Args:
        number: identifies the change under which discarded jobs are kept aside; "" to keep none.

    Raises:
        RedisError, OSError: Redis did not answer; the call may be repeated.
    """
    if event == "discarded" and number:
        told = await discard_some(redis, keys, job_ids, [keys.lane], number=number)
        return [cast("RemovalOutcome", what) for what, _ in told]
    takings = [take_out(keys, job_id.decode(), event, [keys.lane]) for job_id in job_ids]
    outcomes = list[RemovalOutcome]()
    for first in range(0, len(takings), _AT_ONCE):
        some = (one.run(redis.execute_command) for one in takings[first : first + _AT_ONCE])
        outcomes += [cast("RemovalOutcome", what) for what, _ in await asyncio.gather(*some)]
    return outcomes


async def discard_job(redis: Redis, job_id: str, *, number: str = "") -> tuple[RemovalOutcome, str]:
    """Remove a dead or waiting job; return the outcome and its lane.

    Args:
        number: identifies the change under which the job is kept aside; "" to keep nothing.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    if number:
        for group in await groups_of(redis, job_id):
            lanes = [one.lane for one in group]
            ((what, lane),) = await discard_some(redis, group[0], [job_id], lanes, number=number)
            if lane:
                return cast("RemovalOutcome", what), lane
        return "unknown", ""
    return await _take_out(redis, job_id, "discarded")


async def cancel_job(redis: Redis, job_id: str) -> tuple[RemovalOutcome, str]:
    """Remove a waiting job for good, or have a running one stopped; return the outcome and its lane.

    A job that is staged in a ledger is unknown here: :func:`cancel_unknown`.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    return await _take_out(redis, job_id, "cancelled")


async def cancel_unknown(ledger: "Connection", redis: Redis, job_id: str) -> tuple[RemovalOutcome, str]:
    """Cancel a job that Redis did not know and the ledger may have; return the outcome and its lane.

    While its row is locked no relay can hand it over. One that just did has made it known to Redis, which is
    therefore queried once more.

    Raises:
        RedisError, OSError, DATABASE_FAULTS: a store did not answer, or a relay had the row for more than a
            second; Postgres is unchanged.
    """
    from ledger.corrections import cancel_staged, lock_staged  # noqa: PLC0415  loads the driver of Postgres
    from ops.jobs.ledger_jobs import known_to_redis  # noqa: PLC0415  see above

    async with ledger.transaction():
        staged = await lock_staged(ledger, job_id)
        what, lane = await cancel_job(redis, job_id)
        if what != "unknown" or staged is None or await known_to_redis(redis, job_id):
            return what, lane
        day, lane = staged
        await cancel_staged(ledger, job_id, day)
        return "gone", lane


async def _revive(
    redis: Redis,
    group: Sequence[LaneKeys],
    job_ids: Sequence[str | bytes],
    ledger: "Connection | None",
) -> list[tuple[ReviveOutcome, str]]:
    if ledger is None:
        return await _revive_in_redis(redis, group, job_ids, has_ledger=False)
    texts = [one if isinstance(one, str) else one.decode(errors="replace") for one in job_ids]
    from ops.jobs.ledger_jobs import (  # noqa: PLC0415  loads the driver of Postgres
        forget_effects,
        note_revived,
        without_recorders,
    )

    await forget_effects(ledger, redis, group, texts)
    async with without_recorders(ledger):
        told = await _revive_in_redis(redis, group, job_ids, has_ledger=True)
        outcomes = {job_id: what for job_id, (what, _) in zip(texts, told, strict=True)}
        staged = await note_revived(ledger, redis, group[0], outcomes)
    return [
        ("staged" if job_id in staged else what, lane) for job_id, (what, lane) in zip(texts, told, strict=True)
    ]


async def _revive_in_redis(
    redis: Redis, group: Sequence[LaneKeys], job_ids: Sequence[str | bytes], *, has_ledger: bool
) -> list[tuple[ReviveOutcome, str]]:
    keys = script_keys(group, ["counters", "adopted"], ["dead", "queue", "wake"])
    lanes = [one.lane for one in group]
    reply = await run_script(redis, "revive", keys, [group[0].tag, int(has_ledger), len(lanes), *lanes, *job_ids])
    return [(what.decode(), lane.decode()) for what, lane in zip(reply[::2], reply[1::2], strict=True)]


async def _now_ms(redis: Redis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _dead_until(redis: Redis, keys: LaneKeys, until_ms: int, *, start: int) -> list[bytes]:
    """Return a batch of the jobs that were dead by then, without the first ones, which stay dead."""
    job_ids = await redis.zrangebyscore(keys.dead, "-inf", until_ms, start=start, num=BATCH)
    return list(job_ids)


async def _take_out(redis: Redis, job_id: str, event: str) -> tuple[RemovalOutcome, str]:
    for group in await groups_of(redis, job_id):
        taking = take_out(group[0], job_id, event, [one.lane for one in group])
        what, lane = await taking.run(redis.execute_command)
        if lane:
            return cast("RemovalOutcome", what), lane
    return "unknown", ""
