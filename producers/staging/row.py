"""Rows of ``momentus_ledger.jobs``, made from entries. No I/O."""

from datetime import UTC, date, datetime, timedelta

from ..entry import JobEntry
from ..envelope import check_size
from ..send_options import SendTimes
from .facts import recipients_of, template_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_DAY_MS = 86_400_000
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999, the last instant of Python and of an envelope."""

Value = date | datetime | str | bytes | int | None
"""Value of a column."""

COLUMNS = {
    "day": "date",
    "id": "text",
    "lane": "text",
    "kind": "text",
    "payload": "bytea",
    "due_at": "timestamptz",
    "expires_at": "timestamptz",
    "key": "text",
    "fingerprint": "text",
    "window_ms": "bigint",
    "limit_key": "text",
    "recipients": "text",
    "template": "text",
}
"""Columns with the types of their values. Recipients are one text with commas: Postgres has no lists of lists."""


class Payload(bytes):
    """Bytes that do not show in logs of statements and in errors of libraries that quote their parameters."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the number of bytes."""
        return f"<payload of {len(self)} bytes>"


class HexPayload(str):
    """The digits of a payload, which do not show either."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the number of digits."""
        return f"<payload of {len(self)} digits>"


def as_text(value: Value) -> str | None:
    """Return the value of a column as Postgres reads it from text; bytes in hexadecimal."""
    match value:
        case str() | None:
            return value
        case bytes():
            return HexPayload(value.hex())
        case date():
            return value.isoformat()
    return str(value)


def row_of(entry: JobEntry) -> dict[str, Value]:
    """Return the values of an entry's row by column. All times are instants by this machine's clock.

    Args:
        entry: that of a message.

    Raises:
        PayloadTooLarge: with the day in it, the payload is over 256 KiB.
    """
    assert entry.origin is not None  # noqa: S101  a recompute has no level
    message, content, times = entry.origin
    day, expires_ms = times.asked_ms // _DAY_MS, _expiry_ms(entry, times)
    return {
        "day": date.fromordinal(_EPOCH_DAY + day),
        "id": entry.id,
        "lane": message.lane,
        "kind": message.kind,
        "payload": _payload(entry, message.kind, day, expires_ms),
        "due_at": _instant(times.asked_ms + times.wait_ms) if times.wait_ms else None,
        "expires_at": None if expires_ms is None else _instant(expires_ms),
        "key": entry.key,
        "fingerprint": entry.fingerprint,
        "window_ms": entry.window_ms,
        "limit_key": entry.limit,
        "recipients": recipients_of(message.kind, content),
        "template": template_of(message),
    }


def _expiry_ms(entry: JobEntry, times: SendTimes) -> int | None:
    if entry.expires_in_ms is not None:
        return min(times.asked_ms + entry.expires_in_ms, _LAST_MS)
    if entry.life_ms is not None:
        return min(times.asked_ms + times.wait_ms + entry.life_ms, _LAST_MS)
    return times.expires_ms


def _payload(entry: JobEntry, kind: str, day: int, expires_ms: int | None) -> Payload:
    """Return the envelope with the day of its row, and with an expiry that Redis would count from its arrival."""
    is_span = entry.expires_in_ms is not None or entry.life_ms is not None
    counted = f',"x":{expires_ms}' if is_span else ""
    payload = Payload(entry.payload[:-1] + f',"l":{day}{counted}}}'.encode())
    check_size(kind, payload)
    return payload


def _instant(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
