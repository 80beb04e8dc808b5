"""Further forms of a mail's body, such as Markdown or AMP, beside plain text and HTML (RFC 2046, 5.1.4).

Only texts are carried: a body of another type is a file, which belongs to the attachments. They go between
plain text and HTML, because some mail programs show the last form whatever it is, and programs that know AMP
look for it before the HTML.
"""

import re
from collections.abc import Mapping

from .errors import InvalidPart

MOST = 5
"""Largest number of further forms of one mail."""
_TYPE = re.compile(r"text/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}\Z")
_ELSEWHERE = {"text/plain": "text=", "text/html": "html=", "text/calendar": "calendar="}


def freeze_alternatives(alternatives: object) -> list[dict[str, str]]:
    """Return the alternatives for the payload.

    Raises:
        InvalidPart: not a mapping of text types to strings.
    """
    if not isinstance(alternatives, Mapping) or len(alternatives) > MOST:
        raise InvalidPart("alternatives", f"must be a mapping of at most {MOST} types to strings")
    return [{"type": _type(kind), "content": _content(kind, text)} for kind, text in alternatives.items()]


def _type(kind: object) -> str:
    if not isinstance(kind, str) or not _TYPE.match(kind):
        raise InvalidPart("alternatives", "have a type that is not text/... in lower case and without parameters")
    if hint := _ELSEWHERE.get(kind):
        raise InvalidPart(f"alternatives.{kind}", f"cannot be given here: use {hint}")
    return kind


def _content(kind: str, text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise InvalidPart(f"alternatives.{kind}", "must be a non-empty string")
    return text
