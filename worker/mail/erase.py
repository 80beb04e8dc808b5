"""Content of dead mails is erased some days after they were given up; what ended, when and why is kept.

A mail that was sent leaves nothing but its result and a digest. A dead one is kept with all its content, so that
people can mend it; when nobody has by ``MOMENTUS_MAIL__ERASE_AFTER``, its payload is replaced by a tombstone with
its ids and dates, and addresses in its history are masked. It can still be seen and discarded, no longer revived.

A cron asks for it every hour (one job however many workers), so that a fleet that was down makes up for it at
once. What can go wrong: Redis away, then the job is tried again; a mail that is revived meanwhile is left alone
(one script a mail compares first).
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
"""Payloads read by one command: with the longest allowed, 4 MiB, which Redis copies in about 2 ms."""
_KEPT = ("message_id", "date", "stream", "account")
_SCRIPT = Script(read_script(Path(__file__).parent / "scripts", "erase"))


@dataclass(frozen=True, slots=True)
class Eraser:
    """What erasing needs; handlers find it as ``eraser``."""

    link: Link
    after: timedelta


def erase_cron() -> Cron:
    """Once an hour, in the lane of what can wait."""
    return Cron(name="mail.erase", schedule=Schedule(minute=17), kind=KIND, lane=MAIL_BULK, payload={})


async def erase_mails(context: dict[str, Any]) -> dict[str, object]:
    """The handler: erase all that is due.

    Raises:
        RedisError, OSError: Redis did not answer; what was erased stays so.
    """
    eraser: Eraser = context["eraser"]
    erased = 0
    for lane in MAIL_LANES:
        erased += await _erase_lane(eraser, LaneKeys(lane))
    if erased:
        emit(_MAIL_ERASED, mails=erased)
    return {"erased": erased}


def tombstone(payload: bytes) -> bytes | None:
    """What stays of a payload; None for one that is a tombstone already.

    One that cannot be read leaves nothing but the word, since nobody knows what is in it.
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
    async for job_ids in _dead_until(eraser.link, keys, until_ms):
        payloads = await eraser.link.call("MGET", *(f"arq:job:{job_id}" for job_id in job_ids))
        for job_id, payload in zip(job_ids, payloads, strict=True):
            if payload is not None and (left := tombstone(payload)) is not None:
                names = [keys.dead, f"arq:job:{job_id}", keys.history(job_id), f"arq:result:{job_id}"]
                read = hashlib.sha1(payload, usedforsecurity=False).hexdigest()
                erased += await _SCRIPT.run(eraser.link.call, names, [job_id, read, left, until_ms])
    return erased


async def _dead_until(link: Link, keys: LaneKeys, until_ms: int) -> AsyncIterator[list[str]]:
    """Ids that were dead by then, oldest first. Who leaves meanwhile may hide others: the next hour finds them."""
    start = 0
    while job_ids := await link.call("ZRANGE", keys.dead, "-inf", until_ms, "BYSCORE", "LIMIT", start, _BATCH):
        yield [job_id.decode(errors="surrogateescape") for job_id in job_ids]
        start += _BATCH
