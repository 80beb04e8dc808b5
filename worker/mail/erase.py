"""Erasure of the content of dead mails some days after they were given up; their ids, dates and reasons are kept.

A mail that was sent leaves only its result and a digest. A dead mail is kept with all its content, so that an
operator can fix and revive it. After ``MOMENTUS_MAIL__ERASE_AFTER`` its payload is replaced by a tombstone with
its ids and dates, and the addresses in its history are masked. It can then be seen and discarded, but not revived.

A cron runs it every hour as one job for all workers, so that a fleet that was down catches up at once. What can go
wrong: Redis is down; then the job is retried. A mail that is revived meanwhile is left alone, because the script
compares its payload first.
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

from jobs.lanes import MAIL_BULK, MAIL_LANES
from producers.envelope import ERASED, UnreadableEnvelope, read_envelope, write_envelope
from producers.keys import LaneKeys
from producers.link import Link
from producers.link.script import Script, read_script
from worker.engine import Cron, Schedule
from worker.events import emit, event

_MAIL_ERASED = event("mail.erased")

KIND = "mail.erase"
_BATCH = 16
"""Payloads per MGET: at most 4 MiB with the longest payload allowed, which Redis copies in about 2 ms."""
_KEPT = ("message_id", "date", "stream", "account", "template")
_SCRIPT = Script(read_script(Path(__file__).parent / "scripts", "erase"))


@dataclass(frozen=True, slots=True)
class Eraser:
    """Dependencies of the erasure; handlers find them in the context as ``eraser``."""

    link: Link
    after: timedelta


def erase_cron() -> Cron:
    """Return the cron that erases once an hour, in the bulk lane because it is not urgent."""
    return Cron(name="mail.erase", schedule=Schedule(minute=17), kind=KIND, lane=MAIL_BULK, payload={})


async def erase_mails(context: dict[str, Any]) -> dict[str, object]:
    """Erase the content of all dead mails that are due; the handler of the kind ``mail.erase``.

    Raises:
        RedisError, OSError: Redis did not answer; the mails erased before that stay erased.
    """
    eraser: Eraser = context["eraser"]
    erased = 0
    for lane in MAIL_LANES:
        erased += await _erase_lane(eraser, LaneKeys(lane))
    if erased:
        emit(_MAIL_ERASED, mails=erased)
    return {"erased": erased}


def write_tombstone(payload: bytes) -> bytes | None:
    """Return the tombstone of a payload, or None if the payload is a tombstone already.

    The tombstone of an unreadable payload keeps no field, because its content is unknown.
    """
    try:
        envelope = read_envelope(payload)
    except UnreadableEnvelope:
        return write_envelope("unreadable", {ERASED: True}, enqueued_ms=0)
    if ERASED in envelope.payload:
        return None
    kept = {name: envelope.payload[name] for name in _KEPT if name in envelope.payload}
    return orjson.dumps({**orjson.loads(payload), "a": [], "k": {**kept, ERASED: True}})


async def _erase_lane(eraser: Eraser, keys: LaneKeys) -> int:
    seconds, microseconds = await eraser.link.call("TIME")
    until_ms = int(seconds) * 1000 + int(microseconds) // 1000 - round(eraser.after / timedelta(milliseconds=1))
    erased = 0
    async for job_ids in _read_dead_ids(eraser.link, keys, until_ms):
        payloads = await eraser.link.call("MGET", *(f"arq:job:{job_id}" for job_id in job_ids))
        for job_id, payload in zip(job_ids, payloads, strict=True):
            if payload is not None and (left := write_tombstone(payload)) is not None:
                names = [keys.dead, f"arq:job:{job_id}", keys.history(job_id), f"arq:result:{job_id}"]
                read = hashlib.sha1(payload, usedforsecurity=False).hexdigest()
                erased += await _SCRIPT.run(eraser.link.call, names, [job_id, read, left, until_ms])
    return erased


async def _read_dead_ids(link: Link, keys: LaneKeys, until_ms: int) -> AsyncIterator[list[str]]:
    """Yield the ids of jobs that died by ``until_ms``, oldest first, in batches.

    A job that leaves meanwhile may shift others out of a batch; the next hour's run finds them.
    """
    start = 0
    while job_ids := await link.call("ZRANGE", keys.dead, "-inf", until_ms, "BYSCORE", "LIMIT", start, _BATCH):
        yield [job_id.decode(errors="surrogateescape") for job_id in job_ids]
        start += _BATCH
