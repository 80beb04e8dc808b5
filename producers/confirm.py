"""Writes that count only when replicas have them.

A primary that dies, or is cut off, takes along what it has acknowledged and not replicated yet. With
confirmation, a script's answer is believed only when so many replicas have what it wrote.

WAIT looks back to the last write of its own connection. A duplicate writes nothing, and its first write may
have gone through another connection; so a small write goes before the WAIT, and whoever has that one has all
that came before.
"""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from .errors import NotEnqueued
from .link import Argument, Link
from .link.slots import SlotLink
from .operation import Call

_MARKER_LIFE_MS = 1000


class NotConfirmed(NotEnqueued):
    """Too few replicas have the job. It may stand or be lost with the primary; send it again with its key."""


def confirmed(link: Link | SlotLink, tag: str, *, replicas: int, within: float) -> Call:
    """Calls a script on the link, and raises when too few replicas have what it wrote.

    Args:
        tag: the hash tag of the script's keys.
        replicas: how many must have it, at least 1.
        within: seconds to wait for them.

    Raises (the call):
        NotConfirmed: they did not say so in time, or the server does not let this user ask.
    """
    behind = confirmation(tag, replicas=replicas, within=within)

    async def call(*command: Argument) -> Any:  # noqa: ANN401  a reply is whatever the script returns
        if command[0] != "EVALSHA":
            return await link.call(*command)
        return believed(await link.call_many([command, *behind]), replicas=replicas, within=within)

    return call


def confirmation(tag: str, *, replicas: int, within: float) -> list[tuple[Argument, ...]]:
    """The commands that go behind a script's call; :func:`believed` reads their replies."""
    marker = ("SET", f"momentus:{tag}:confirmed", "", "PX", _MARKER_LIFE_MS)
    return [marker, ("WAIT", replicas, max(1, round(within * 1000)))]


def believed(replies: Sequence[Any], *, replicas: int, within: float) -> Any:  # noqa: ANN401  as the script returns it
    """The script's answer, if it can be believed.

    Args:
        replies: to the script, to the small write behind it, and to WAIT.

    Raises:
        NotConfirmed: too few have it, or nobody can tell.
        ResponseError: the script refused.
    """
    answer, marker, copies = replies
    if isinstance(answer, ResponseError):
        raise answer
    for refusal in (marker, copies):
        if isinstance(refusal, ResponseError):  # then WAIT speaks of an older write, or of none
            raise NotConfirmed(
                f"The job is on the primary, but the server refuses to say whether replicas have it: {refusal}. "
                "Allow SET on momentus:*:confirmed and WAIT (./run ops acl), then send it again with the same key"
            )
    if not isinstance(copies, int) or copies < replicas:
        raise NotConfirmed(
            f"The job is on the primary, but not on {replicas} replica(s) within {within * 1000:.0f} ms: a "
            "failover may lose it. Send it again with the same key; if this lasts, check the replicas"
        )
    return answer
