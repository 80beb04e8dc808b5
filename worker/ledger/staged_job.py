"""A row of the ledger as the job that Redis gets, or the reason why it cannot be one. No I/O.

Any program may write rows, so nothing in one is taken for granted: a row that no worker could run is
quarantined with a reason, and never stops the relay.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from producers.envelope import SIZE_LIMIT, UnreadableEnvelope, read_envelope
from worker.ledger.push import StagedJob

_LANE = re.compile(r"mail\.(urgent|normal|bulk)|jobs(\.[a-z][a-z0-9_]{0,31})?")
_ID = re.compile(r"\{[a-z]{1,32}\}[!-~]{1,255}")
_DIGEST = re.compile(r"[0-9a-f]{1,128}")
_DAY_AT_END = re.compile(rb'"l":([0-9]{1,7})(,"[a-z]{1,2}":[0-9]{1,16}){0,4}\}$')
_MARK = re.compile(r"([0-9]{1,9}) ?(.*)", re.DOTALL)
_TAIL = 96
_LONGEST_LIMIT = 128
_LONGEST_WINDOW_MS = 366 * 24 * 3600 * 1000


class UnusableRow(Exception):
    """A row that cannot become a job; the message says which column and why, without its content."""


def read_staged(job_id: str, day: int, row: Mapping[str, Any]) -> StagedJob:
    """Return the job of a row of ``sql/read_jobs.sql``.

    Raises:
        UnusableRow: no worker could run it.
    """
    if row["lane"] is None:
        raise UnusableRow("id: the job is pending but has no row for this day in momentus_ledger.jobs")
    _check_names(job_id, row)
    due, expires, life = row["due_ms"], row["expires_ms"], row["life_ms"]
    if due == -1:
        raise UnusableRow("due_at: must be from 0001-01-01 to 9999-12-31")
    if expires == -1:
        raise UnusableRow("expires_at: must be from 1970-01-01 to 9999-12-31")
    return StagedJob(
        job_id,
        day,
        row["lane"],
        complete_payload(bytes(row["payload"]), day=day, due_ms=due, expires_ms=expires, life_ms=life),
        due_ms=max(0, due or 0),
        key=row["key"],
        fingerprint=row["fingerprint"],
        window_ms=min(max(0, row["window_ms"]), _LONGEST_WINDOW_MS),
        limit=row["limit_key"],
        mark="" if row["attempt"] is None else mark_text(row["attempt"], row["note"]),
    )


def mark_text(attempt: int, note: str) -> str:
    """Return the mark of an effect in its form in Redis.

    >>> mark_text(2, "primary")
    '2 primary'
    """
    return f"{max(1, attempt)} {note}".strip()


def read_mark(text: str) -> tuple[int, str]:
    """Return the attempt and the note of a mark, as ``claim.lua`` reads them.

    >>> read_mark("2 primary"), read_mark("x")
    ((2, 'primary'), (1, ''))
    """
    found = _MARK.fullmatch(text)
    if found is None:
        return 1, ""
    return max(1, int(found[1])), found[2].replace("\0", " ")


def _check_names(job_id: str, row: Mapping[str, Any]) -> None:
    lane = row["lane"]
    if not _LANE.fullmatch(lane):
        raise UnusableRow("lane: must be mail.urgent, mail.normal, mail.bulk, jobs or jobs.<name>")
    group = lane.partition(".")[0]
    if not _ID.fullmatch(job_id) or not job_id.startswith(f"{{{group}}}"):
        raise UnusableRow(f"id: must be {{{group}}} followed by 1 to 255 ASCII characters without spaces")
    if row["key"] and not (_DIGEST.fullmatch(row["key"]) and _DIGEST.fullmatch(row["fingerprint"])):
        raise UnusableRow("key and fingerprint: must be digests in lower-case hexadecimal")
    if len(row["limit_key"]) > _LONGEST_LIMIT or not row["limit_key"].isprintable():
        raise UnusableRow("limit_key: must have at most 128 printable characters")


def complete_payload(
    payload: bytes, *, day: int, due_ms: int | None, expires_ms: int | None, life_ms: int | None
) -> bytes:
    """Return the envelope with its day near its end, where scripts find it, and with its deadline.

    Raises:
        UnusableRow: it is not an envelope, or too long.

    Example:
        >>> row = b'{"v":1,"f":"note.take","t":null,"a":[],"k":{},"et":0}'
        >>> complete_payload(row, day=20786, due_ms=None, expires_ms=None, life_ms=None)[-10:]
        b',"l":20786}'[-10:]
    """
    if len(payload) > SIZE_LIMIT:
        raise UnusableRow(f"payload: has {len(payload)} bytes; at most {SIZE_LIMIT} are allowed")
    try:
        envelope = read_envelope(payload)
    except UnreadableEnvelope as error:
        raise UnusableRow(f"payload: {error}") from None
    at_end = _DAY_AT_END.search(payload[-_TAIL:])
    has_deadline = envelope.expires_ms is not None or (expires_ms is None and life_ms is None)
    if at_end and int(at_end[1]) == day and has_deadline and payload.startswith(b'{"v":'):
        return payload
    content = orjson.loads(payload)
    if not has_deadline:
        begins = due_ms or envelope.enqueued_ms
        content["x"] = min(one for one in (expires_ms, life_ms and begins + life_ms) if one is not None)
    version = content.pop("v", 1)
    content.pop("l", None)
    return orjson.dumps({"v": version, **content, "l": day})
