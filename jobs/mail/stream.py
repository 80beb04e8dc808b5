"""Streams: kinds of mail with the same policies. A value table, and the decision for an uncertain delivery.

The mail carries the stream's name alone; the worker looks it up here, or among the streams of its accounts file,
which may add some and change these.

SMTP forces the choice of `uncertain` on every client (RFC 1047): `resend` may deliver a mail twice and never
loses one, `hold` never delivers twice and leaves the mail to an operator. A code or a pay slip is held, a notice
is resent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Uncertain = Literal["resend", "hold"]
AutoSubmitted = Literal["auto-generated", "auto-replied", "no"]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


def is_stream_name(name: str) -> bool:
    """Return True for a stream name: a lower-case letter, then up to 31 of these, digits and hyphens."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One kind of mail.

    Attributes:
        uncertain: what to do when the server may or may not have accepted the mail.
        expires: how long a mail is worth sending, from when it may first be sent; ``expires`` of a call takes
            precedence. None leaves it to the mail's horizon.
        unsubscribe: True to refuse a mail without a List-Unsubscribe link (RFC 8058; bulk senders' rules).
        suppression: which refusals of a recipient count: all of them, or only those of addresses that do not
            exist.
        auto_submitted: origin that its mails declare (RFC 3834). ``no`` is for mails by a person, who wants
            absence notices; all others keep machines from answering.
    """

    name: str
    uncertain: Uncertain = "resend"
    expires: timedelta | None = None
    unsubscribe: bool = False
    suppression: Literal["all", "undeliverable"] = "undeliverable"
    auto_submitted: AutoSubmitted = "auto-generated"

    def __post_init__(self) -> None:
        if not is_stream_name(self.name):
            raise ValueError(
                f"name: must be a lower-case letter and up to 31 letters a-z, digits or hyphens, not {self.name!r}"
            )


STREAMS: Mapping[str, Stream] = {
    one.name: one
    for one in (
        Stream(name="transactional"),
        Stream(name="notice", suppression="all"),
        Stream(name="bulk", unsubscribe=True, suppression="all"),
        Stream(name="code", uncertain="hold", expires=timedelta(minutes=15)),
    )
}
"""The built-in streams."""

DEFAULT = STREAMS["transactional"]


def stream_of(name: str | None, known: Mapping[str, Stream] = STREAMS) -> Stream:
    """Return the stream of this name, or the default stream for None or an unknown name.

    >>> stream_of("code").uncertain
    'hold'
    """
    return known.get(name or DEFAULT.name, DEFAULT)
