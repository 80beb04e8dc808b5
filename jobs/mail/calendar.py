"""Calendar invitations: the ``text/calendar`` part that mail programs show with buttons (RFC 5546, 6047).

An invitation is one iCalendar object with one METHOD. The part's type repeats the method (RFC 6047, 2.4), else
programs show a plain file; so a text whose method is missing, unknown or given twice is refused. Lines over 75
bytes are refused too: they must be folded (RFC 5545, 3.1), and calendars cut them at different places. What the
components say is not checked.
"""

import re

from .errors import InvalidPart

METHODS = frozenset({"PUBLISH", "REQUEST", "REPLY", "ADD", "CANCEL", "REFRESH", "COUNTER", "DECLINECOUNTER"})
"""Methods of invitations (RFC 5546, 1.4)."""
_LINE_BYTES = 75
_METHOD = re.compile(r"^METHOD:[ \t]*([A-Za-z-]{1,20})[ \t]*$", re.MULTILINE | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FIELD = "calendar"


def checked_calendar(calendar: object) -> str:
    r"""Return an invitation with LF line ends.

    Raises:
        InvalidPart: not one VCALENDAR with one known METHOD, a control character, or a line that is too long.

    Example:
        >>> checked_calendar("BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n")
        'BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n'
    """
    if not isinstance(calendar, str):
        raise InvalidPart(_FIELD, f"must be a string in iCalendar form, not {type(calendar).__name__}")
    text = calendar.replace("\r\n", "\n").strip("\n") + "\n"
    if _CONTROL.search(text) or "\r" in text:
        raise InvalidPart(_FIELD, "contains a control character; remove it")
    lines = text.upper().splitlines()
    begun, ended = lines.count("BEGIN:VCALENDAR"), lines.count("END:VCALENDAR")
    if (begun, ended, lines[0], lines[-1]) != (1, 1, "BEGIN:VCALENDAR", "END:VCALENDAR"):
        raise InvalidPart(_FIELD, "must be one VCALENDAR, from BEGIN:VCALENDAR to END:VCALENDAR")
    if len(found := _METHOD.findall(text)) != 1 or found[0].upper() not in METHODS:
        raise InvalidPart(_FIELD, f"must have exactly one METHOD, one of {', '.join(sorted(METHODS))}")
    for number, line in enumerate(text.split("\n"), 1):
        if len(line.encode("utf-8", "surrogatepass")) > _LINE_BYTES:
            raise InvalidPart(
                _FIELD,
                f"line {number} is over {_LINE_BYTES} bytes; fold it with a line break and space (RFC 5545)",
            )
    return text


def method_of(calendar: str) -> str:
    """Return the method of a checked invitation."""
    found = _METHOD.search(calendar)
    return found[1].upper() if found else "PUBLISH"
