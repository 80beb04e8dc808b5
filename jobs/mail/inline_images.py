"""Images inside a mail's HTML: files with a ``cid``, which the HTML shows as ``<img src="cid:...">`` (RFC 2392).

A reference to an image that is not attached is refused, since every recipient would see a broken picture. A
file that the HTML never shows is sent, with a warning.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any
from urllib.parse import unquote

from .errors import InvalidAttachment, InvalidPart, UnusedImage

_CID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+$=-]{0,99}(?:@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,149}))?\Z")
_REFERENCE = re.compile(r"""[=(][ \t\r\n]{0,9}["']?cid:([^"'\s<>)]{1,300})""", re.IGNORECASE)


def checked_cid(cid: object, *, field: str) -> str:
    """Return a content id, without angle brackets.

    Raises:
        InvalidAttachment: the id is malformed.
    """
    if not isinstance(cid, str) or not _CID.match(cid):
        raise InvalidAttachment(
            field, "must be a name of letters, digits and ._+$=-, such as logo or logo@example.com, without <>"
        )
    return cid


def referenced_ids(html: str) -> set[str]:
    """Return the content ids that the HTML refers to.

    >>> referenced_ids('<img src="cid:logo"><td style="background:url(cid:a@x)">') == {"logo", "a@x"}
    True
    """
    if "cid:" not in html and "CID:" not in html:
        return set()
    return {unquote(unescape(found)) for found in _REFERENCE.findall(html)}


def check_inline(html: str, attachments: Sequence[Mapping[str, Any]]) -> None:
    """Check that the HTML's images and the attached ones match.

    Raises:
        InvalidPart: the HTML shows an image that is not attached.
        InvalidAttachment: two files have one cid, or there is no HTML to show them.
    """
    shown = referenced_ids(html)
    given: set[str] = set()
    for place, file in enumerate(attachments):
        if (cid := file.get("cid")) is None:
            continue
        if cid in given:
            raise InvalidAttachment(
                f"attachments[{place}].cid", "is already used by another attachment; give each its own"
            )
        if not html.strip():
            raise InvalidAttachment(f"attachments[{place}].cid", "needs an html part that shows it; leave it out")
        if cid not in shown:
            warnings.warn(f"attachments[{place}].cid: html does not show it", UnusedImage, stacklevel=5)
        given.add(cid)
    if missing := sorted(shown - given):
        name = missing[0].partition("@")[0]
        raise InvalidPart("html", f"shows cid:{name[:40]}, which no attachment has; attach it with that cid")
