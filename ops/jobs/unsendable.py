"""Dead mails to suppressed recipients: if revived, they would end without being sent.

Only mails are checked, and only while any address is suppressed. A sealed mail is opened if its key is given;
without the key it counts as sendable.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

from redis.asyncio import Redis

from jobs import Mail
from jobs.mail.seal import KeyRing, SealError, is_sealed
from jobs.mail.stream import stream_of
from producers.envelope import UnreadableEnvelope, read_envelope
from producers.keys import MAIL_SUPPRESSION
from producers.suppression import blocking_reason, digest_of, read_reasons

MAIL_TAG = "{mail}"
_FEW = 20
"""Payloads per command; a long one has 256 KiB."""


async def find_unsendable(redis: Redis, job_ids: Sequence[bytes], *, ring: KeyRing | None) -> set[bytes]:
    """Return those of these jobs that are mails to suppressed recipients.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    if not await redis.exists(MAIL_SUPPRESSION):
        return set()
    found: set[bytes] = set()
    for first in range(0, len(job_ids), _FEW):
        found |= {job_id async for job_id in _unsendable(redis, job_ids[first : first + _FEW], ring)}
    return found


async def _unsendable(redis: Redis, job_ids: Sequence[bytes], ring: KeyRing | None) -> AsyncIterator[bytes]:
    payloads = await redis.mget([b"arq:job:" + job_id for job_id in job_ids])
    mails = {
        job_id: fields
        for job_id, payload in zip(job_ids, payloads, strict=True)
        if (fields := mail_of(payload, job_id.decode(errors="replace"), ring))
    }
    if not mails:
        return
    digests = [digest_of(str(fields["to"])) for fields in mails.values()]
    entries = await redis.hmget(MAIL_SUPPRESSION, digests)  # type: ignore[misc]  # typed for both clients
    now = datetime.now(UTC)
    for (job_id, fields), entry in zip(mails.items(), entries, strict=True):
        name = fields.get("stream")
        stream = stream_of(name if isinstance(name, str) else None)
        essential = stream.suppression == "undeliverable"
        if blocking_reason(read_reasons(entry, now=now), stream=stream.name, essential=essential):
            yield job_id


def mail_of(payload: bytes | None, job_id: str, ring: KeyRing | None) -> Mapping[str, object]:
    """Return the fields of a job's mail; empty for another kind of job, or if it cannot be opened."""
    try:
        envelope = read_envelope(payload or b"")
        fields: Mapping[str, object] = envelope.payload
        if is_sealed(fields):
            fields = ring.open(fields, kind=Mail.kind, job_id=job_id) if ring else {}
    except (UnreadableEnvelope, SealError):
        return {}
    return fields if envelope.kind == Mail.kind and isinstance(fields.get("to"), str) else {}
