"""Mend the payload of a dead job: a wrong address, a subject that a server refuses.

Only fields that are there already, only of a dead job, and of the type they have: a text stays a text, a
number a number. A mail is checked as strictly as when it was handed over; its id and its date stay, so that
it is the same mail. The job stays dead: revive it by hand.

What can go wrong: two people edit at once; the second is told and nothing is lost.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from jobs import JobError, Mail
from jobs.mail.seal import is_sealed
from ops.jobs.group import run_script
from ops.jobs.job import Job, read_job
from producers.envelope import ERASED, SIZE_LIMIT, UnreadableEnvelope, read_envelope
from producers.keys import LaneKeys

EditOutcome = Literal["edited", "not dead", "changed"]

_MAIL_FIELDS = ("to", "sender", "sender_name", "reply_to", "subject", "text", "html")


class CannotEdit(ValueError):
    """The change is refused, nothing was written; the message names the field."""


async def edit_job(redis: Redis, job_id: str, changes: Mapping[str, str]) -> tuple[EditOutcome, Job]:
    """Change fields of a dead job's payload.

    Args:
        changes: field to its new value, as typed.

    Raises:
        CannotEdit: a field that is not there, or a value that does not fit.
        RedisError, OSError: Redis did not answer.

    Example:
        await edit(redis, job_id, {"to": "ana@example.com"})
    """
    job = await read_job(redis, job_id)
    if job.state != "dead":
        return "not dead", job
    payload = await redis.get(f"arq:job:{job_id}") or b""
    keys = LaneKeys(job.lane)
    names = [keys.dead, f"arq:job:{job_id}", keys.history(job_id)]
    what = await run_script(
        redis, "edit", names, [job_id, payload, changed_payload(payload, changes), ", ".join(changes)]
    )
    return what.decode(), job


def changed_payload(payload: bytes, changes: Mapping[str, str]) -> bytes:
    """The payload with its fields changed; everything else as it was, in the same order.

    Raises:
        CannotEdit: see :func:`edit_job`.
    """
    try:
        envelope = read_envelope(payload)
    except UnreadableEnvelope as error:
        raise CannotEdit(f"its payload cannot be read: {error}") from None
    fields = dict(envelope.payload)
    if ERASED in fields:
        raise CannotEdit("its content was erased, because it is dead for long; nothing is left to be edited")
    if is_sealed(fields):
        raise CannotEdit("it is sealed, and stays as it is; discard it, and send it anew as it should be")
    for name, text in changes.items():
        if name not in fields:
            raise CannotEdit(f"{name}: {envelope.kind} has no such field; it has {', '.join(fields)}")
        fields[name] = _typed(name, text, fields[name])
    if envelope.kind == Mail.kind:
        fields |= _checked_mail(fields, changes)
    octets = orjson.dumps({**orjson.loads(payload), "k": fields})
    if len(octets) > SIZE_LIMIT:
        raise CannotEdit(f"the payload would have {len(octets)} octets, at most {SIZE_LIMIT} are allowed")
    return octets


def _typed(name: str, text: str, before: object) -> Any:  # noqa: ANN401  what JSON has
    """The text as a value of the type that the field has; a text, where it has none yet."""
    if before is None or isinstance(before, str):
        return text
    try:
        value = orjson.loads(text)
    except ValueError:
        value = text
    if type(value) is not type(before):
        raise CannotEdit(f"{name}: must stay of type {type(before).__name__}, in JSON")
    return value


def _checked_mail(fields: Mapping[str, Any], changes: Mapping[str, str]) -> Mapping[str, object]:
    """The mail's fields as composing would have them."""
    for name in changes:
        if name not in _MAIL_FIELDS:
            raise CannotEdit(f"{name}: stays as it is, or it would be another mail")
    try:
        parts: dict[str, Any] = {name: fields.get(name) for name in _MAIL_FIELDS}
        composed = Mail(**parts).compose(job_id="", now=datetime.now(UTC))
    except JobError as refusal:
        raise CannotEdit(str(refusal)) from None
    return {name: composed[name] for name in _MAIL_FIELDS}
