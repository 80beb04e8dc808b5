"""`ops mail forget ADDRESS`: erase a person's mails and their traces (GDPR, article 17).

    waiting mails to the address          cancelled, with its other recipients
    running ones                          stopped, unless they were sent by then
    dead ones                             discarded
    what `ops undo` could bring back      removed: copies of discarded mails, entries of the suppression list
    results and journals of sent ones     removed, for the time that notes of sent mails are kept
    counts of failures, suppression       removed; with --suppress: suppressed for ever, as a digest
    records of the ledger, if any         emptied of content, digest and replies, once their mails have ended

The command reads the lanes in batches (ZSCAN), never with KEYS, and can be repeated: a second run finds mails that
arrived meanwhile. Sealed mails are opened with MOMENTUS_MAIL__SEAL_KEYS; mails that cannot be opened are counted
and give exit code 1. Not erased: mail already delivered, backups of Redis, logs (which hold no addresses), and the
application's own data.
"""

import argparse
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from redis.asyncio import Redis

from jobs import JobError, Mail
from jobs.lanes import MAIL_LANES
from jobs.mail.address import PRIVATE_DOMAINS, normal_address
from jobs.mail.recipients import envelope_of
from jobs.mail.seal import KeyRing, SealError, is_sealed
from ledger.records import forget_recipient
from ledger.schema import read_state
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.database_postgres import open_database
from ops.jobs.operations import cancel_job, discard_job
from ops.ledger.records import demand_ledger
from ops.mail.key_ring import ring_of
from ops.mail.sent_note import names_digest, read_note
from ops.mail.suppression import add_operator
from ops.mail.words import FORGET, FORGOTTEN
from producers.envelope import UnreadableEnvelope, read_envelope
from producers.keys import LaneKeys, mail_failures
from producers.suppression import digest_of, suppress, unsuppress

_BATCH = 500
_RARE = ("unopened", "recorded", "live")
"""Counts that are shown only if there are any."""
_LEFT = ("unopened", "stopping", "live")
"""Counts of mails for which the command must run again."""
_SENT, _GATHERED = "momentus:{mail}:sent:*", "momentus:{mail}:digest:*"
_ASIDE, _UNSUPPRESSED = "momentus:{mail}:undo:*:job:*", "momentus:{mail}:undo:*:suppression"
_REFUSALS = ("momentus:{mail}:refused:*", "momentus:{mail}:believed:*")


async def forget_address(redis: Redis, address: str, *, ring: KeyRing | None) -> Counter[str]:
    """Erase all stored traces of mails to this address; return the number of erased items by action.

    Args:
        address: in the form that ``normal_address`` returns.

    Raises:
        RedisError, OSError: Redis did not answer; run it again.
    """
    counts: Counter[str] = Counter()
    digest, gone = digest_of(address), set[str]()
    for lane in MAIL_LANES:
        keys = LaneKeys(lane)
        async for job_id in _addressed(redis, keys.queue, digest, ring, counts):
            gone.add(job_id)
            what, _ = await cancel_job(redis, job_id)
            counts[{"gone": "cancelled", "stopping": "stopping", "told": "stopping"}.get(what, "passed")] += 1
        async for job_id in _addressed(redis, keys.dead, digest, ring, counts):
            what, _ = await discard_job(redis, job_id)
            counts["discarded" if what == "gone" else "passed"] += 1
    counts["removed"] += await _forget_sent(redis, digest) + await _forget_aside(redis, digest, ring, counts)
    await _forget_gathered(redis, gone)
    await redis.delete(mail_failures(digest))
    await _forget_refusals(redis, digest)
    return counts


async def _addressed(
    redis: Redis, key: str, digest: str, ring: KeyRing | None, counts: Counter[str]
) -> AsyncIterator[str]:
    """Yield the ids of one sorted set whose mails go to the address."""
    cursor = 0
    while True:
        cursor, found = await redis.zscan(key, cursor, count=_BATCH)
        job_ids = list(dict.fromkeys(job_id.decode(errors="surrogateescape") for job_id, _ in found))
        payloads = await redis.mget([f"arq:job:{job_id}" for job_id in job_ids]) if job_ids else []
        for job_id, payload in zip(job_ids, payloads, strict=True):
            recipients = _recipients(payload, job_id, ring)
            counts["unopened"] += recipients is None
            if digest in map(digest_of, recipients or ()):
                yield job_id
        if not cursor:
            return


def _recipients(payload: bytes | None, job_id: str, ring: KeyRing | None) -> list[str] | None:
    """Return the recipients of a job's mail; none for another job or a tombstone, None if it cannot be opened."""
    try:
        envelope = read_envelope(payload or b"")
    except UnreadableEnvelope:
        return []
    fields: Mapping[str, object] = envelope.payload
    if envelope.kind != Mail.kind:
        return []
    if is_sealed(fields):
        if ring is None:
            return None
        try:
            fields = ring.open(fields, kind=Mail.kind, job_id=job_id)
        except SealError:
            return None
    try:
        return list(envelope_of(fields))
    except (KeyError, TypeError):  # a tombstone, or a mail that no worker can send
        return []


async def _forget_sent(redis: Redis, digest: str) -> int:
    """Remove results, journals and notes of mails that were sent to the address."""
    removed = 0
    async for key in redis.scan_iter(match=_SENT, count=_BATCH):
        async for message_id, known in redis.hscan_iter(key, count=_BATCH):
            if not names_digest(read_note(known), digest):
                continue
            job_id = f"{{mail}}{message_id.decode().removeprefix('mail')}"
            removed += await redis.delete(f"arq:result:{job_id}", LaneKeys(MAIL_LANES[0]).history(job_id))
            await redis.hdel(key, message_id)  # type: ignore[misc]  # typed for both clients
    return removed


async def _forget_aside(redis: Redis, digest: str, ring: KeyRing | None, counts: Counter[str]) -> int:
    """Remove what is kept for ten minutes of discarded mails to the address, and of its suppression."""
    removed = 0
    async for key in redis.scan_iter(match=_ASIDE, count=_BATCH):
        name, _, job_id = key.decode(errors="surrogateescape").partition(":job:")
        recipients = _recipients(await redis.get(key), job_id, ring)
        counts["unopened"] += recipients is None
        if digest in map(digest_of, recipients or ()):
            removed += await redis.delete(key, *(f"{name}:{what}:{job_id}" for what in ("history", "result"))) > 0
    async for key in redis.scan_iter(match=_UNSUPPRESSED, count=_BATCH):
        await redis.hdel(key, digest)  # type: ignore[misc]  # typed for both clients
    return removed


async def _forget_refusals(redis: Redis, digest: str) -> None:
    """Remove the address's digest from the last day's refusals."""
    for pattern in _REFUSALS:
        async for key in redis.scan_iter(match=pattern, count=_BATCH):
            await redis.zrem(key, digest)


async def _forget_gathered(redis: Redis, job_ids: set[str]) -> None:
    """Remove the items of digests that waited in these jobs."""
    async for key in redis.scan_iter(match=_GATHERED, count=_BATCH):
        held = await redis.hget(key, "id")  # type: ignore[misc]  # typed for both clients
        if held is not None and held.decode() in job_ids:
            await redis.delete(key)


# The command


async def _forget(tools: Tools, args: argparse.Namespace) -> CommandResult:
    try:
        address = normal_address(args.address, field="ADDRESS", private_domains=PRIVATE_DOMAINS)
        ring = ring_of(tools.mail)
    except JobError as refusal:
        raise CommandRefused(str(refusal)) from None
    counts = await forget_address(tools.redis, address, ring=ring)
    if tools.postgres_dsn:
        await _forget_recorded(tools, digest_of(address), counts)
    call, by = tools.redis.execute_command, args.by
    if args.suppress:
        await suppress(call, address, "manual", by=by, lasting=None, evidence="forget")
    else:
        await unsuppress(call, digest_of(address), by=by)
    labels = FORGOTTEN[tools.language]
    lines = [f"{counts[name]:>6}  {label}" for name, label in labels.items() if counts[name] or name not in _RARE]
    lines.append(FORGET[tools.language]["suppressed" if args.suppress else "unsuppressed"])
    facts: dict[str, Any] = {name: counts[name] for name in labels} | {"suppressed": args.suppress}
    return CommandResult("\n".join(lines), facts, done=not any(counts[name] for name in _LEFT))


async def _forget_recorded(tools: Tools, digest: str, counts: Counter[str]) -> None:
    """Erase the records of a ledger, if the database has one. Raises CommandRefused."""
    async with open_database(tools) as connection:
        if (await read_state(connection)).number is not None:
            await demand_ledger(connection)
            counts["recorded"], counts["live"] = await forget_recipient(connection, digest)


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="name@domain")
    parser.add_argument("--suppress", action="store_true", help="keep a digest, so that no mail goes to it again")
    add_operator(parser)


COMMANDS = (
    Command(
        "forget",
        "erase all stored traces of mails to an address",
        "mail forget ana@example.com --suppress",
        _add_address,
        _forget,
    ),
)
