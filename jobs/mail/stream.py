"""Streams: kinds of mail that are treated alike. A value table, and what an unknown outcome means for each.

A stream says what becomes of a mail whose fate nobody knows, how long it is worth sending, whether its receiver
must be able to leave, and which suppression applies. The mail carries the stream's name alone; the worker
looks it up here, or among the streams of its accounts file, which may add some and change these.

`uncertain` is the choice that SMTP forces on everybody (RFC 1047): `resend` may deliver a mail twice and never
loses one, `hold` never delivers twice and leaves it to people. A code or a pay slip is held, a notice is resent.
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
    """Whether it can name a stream: up to 32 lower-case letters, digits and hyphens, a letter first."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One kind of mail.

    Attributes:
        uncertain: what to do when nobody knows whether the server took the mail.
        expires: how long it is worth sending from when it may first go; ``expires`` of a call comes before it.
            None leaves it to the mail's horizon.
        unsubscribe: whether a mail without a List-Unsubscribe link is refused (RFC 8058; bulk senders' rules).
        suppression: which refusals of a receiver count: all of them, or only the addresses that do not exist.
        auto_submitted: what its mails say of their origin (RFC 3834). ``no`` is for mails that a person wrote, to
            whom an absence notice is of use; all others keep machines from answering.
    """

    name: str
    uncertain: Uncertain = "resend"
    expires: timedelta | None = None
    unsubscribe: bool = False
    suppression: Literal["all", "undeliverable"] = "undeliverable"
    auto_submitted: AutoSubmitted = "auto-generated"

    def __post_init__(self) -> None:
        if not is_stream_name(self.name):
            raise ValueError(f"{self.name!r} is not the name of a stream: lower-case letters, digits, hyphens")


STREAMS: Mapping[str, Stream] = {
    one.name: one
    for one in (
        Stream(name="transactional"),
        Stream(name="notice", suppression="all"),
        Stream(name="bulk", unsubscribe=True, suppression="all"),
        Stream(name="code", uncertain="hold", expires=timedelta(minutes=15)),
    )
}
"""The streams that are there without being asked for."""

DEFAULT = STREAMS["transactional"]


def stream_of(name: str | None, known: Mapping[str, Stream] = STREAMS) -> Stream:
    """The stream of this name; the default for none, and for one that nobody described.

    >>> stream_of("code").uncertain
    'hold'
    """
    return known.get(name or DEFAULT.name, DEFAULT)
