"""Editing the payload of a dead job: a wrong address, a subject that a server refuses.

Only existing fields of a dead job can change, and they keep their type: a text stays a text, a number a number. A
mail is checked as strictly as when a backend sent it; its id and its date stay, so that it is the same mail. The
job stays dead until an operator revives it.

If two operators edit at the same time, the second edit is refused and nothing is lost.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from jobs import JobError, Mail
from jobs.mail.seal import is_sealed
from ops.jobs.group import run_script
from ops.jobs.job import JobState, read_job
from producers.envelope import ERASED, SIZE_LIMIT, UnreadableEnvelope, read_envelope
from producers.keys import LaneKeys

EditOutcome = Literal["edited", "not dead", "changed"]

_MAIL_FIELDS = ("to", "sender", "sender_name", "reply_to", "subject", "text", "html")


class CannotEdit(ValueError):
    """A change that is refused; nothing was written. The message names the field."""


async def edit_job(redis: Redis, job_id: str, changes: Mapping[str, str]) -> tuple[EditOutcome, JobState]:
    """Change fields of a dead job's payload.

    Args:
        changes: the new value of each field, as typed.

    Raises:
        CannotEdit: a field does not exist, or a value has the wrong type.
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
    """Return the payload with its fields changed; everything else keeps its value and order.

    Raises:
        CannotEdit: see :func:`edit_job`.
    """
    try:
        envelope = read_envelope(payload)
    except UnreadableEnvelope as error:
        raise CannotEdit(f"payload: cannot be read: {error}") from None
    fields = dict(envelope.payload)
    if ERASED in fields:
        raise CannotEdit(
            "payload: its content was erased (MOMENTUS_MAIL__ERASE_AFTER); discard the job and send it again"
        )
    if is_sealed(fields):
        raise CannotEdit("payload: is sealed and cannot be edited; discard the job and send it again")
    for name, text in changes.items():
        if name not in fields:
            raise CannotEdit(f"{name}: is not a field of {envelope.kind}; it has {', '.join(fields)}")
        fields[name] = _typed(name, text, fields[name])
    if envelope.kind == Mail.kind:
        fields |= _checked_mail(fields, changes)
    edited = orjson.dumps({**orjson.loads(payload), "k": fields})
    if len(edited) > SIZE_LIMIT:
        raise CannotEdit(f"payload: would have {len(edited)} bytes; at most {SIZE_LIMIT} are allowed")
    return edited


def _typed(name: str, text: str, before: object) -> Any:  # noqa: ANN401  what JSON has
    """Convert the text to the type of the field's current value; a text if it has none yet."""
    if before is None or isinstance(before, str):
        return text
    try:
        value = orjson.loads(text)
    except ValueError:
        value = text
    if type(value) is not type(before):
        raise CannotEdit(f"{name}: has type {type(before).__name__} and must keep it; give the value in JSON")
    return value


def _checked_mail(fields: Mapping[str, Any], changes: Mapping[str, str]) -> Mapping[str, object]:
    """Check the mail's fields and return them as composing writes them."""
    for name in changes:
        if name not in _MAIL_FIELDS:
            raise CannotEdit(f"{name}: cannot be edited; a mail with another {name} is a different mail")
    try:
        parts: dict[str, Any] = {name: fields.get(name) for name in _MAIL_FIELDS}
        composed = Mail(**parts).compose(job_id="", now=datetime.now(UTC))
    except JobError as refusal:
        raise CannotEdit(str(refusal)) from None
    return {name: composed[name] for name in _MAIL_FIELDS}
