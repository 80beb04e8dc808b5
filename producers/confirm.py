"""Confirmation of writes by replicas.

A primary that fails or is partitioned loses what it has not replicated yet. With confirmation, a script's reply is
accepted only when the given number of replicas have its writes.

WAIT covers the last write of its own connection. A duplicate writes nothing, and its first write may have gone
through another connection; so a small write precedes the WAIT, and a replica that has it has all earlier writes.
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
    """Too few replicas have the job, so a failover may lose it; send it again with the same key."""


def confirmed_call(link: Link | SlotLink, tag: str, *, replicas: int, within: float) -> Call:
    """Return a call that runs a script on the link and waits until replicas have its writes.

    Args:
        tag: hash tag of the script's keys.
        replicas: number of replicas that must have the writes, at least 1.
        within: seconds to wait for them.

    Raises (the call):
        NotConfirmed: too few replicas confirmed in time, or the user lacks the rights for the query.
    """
    behind = confirmation_commands(tag, replicas=replicas, within=within)

    async def call(*command: Argument) -> Any:  # noqa: ANN401  a reply is what the script returns
        if command[0] != "EVALSHA":
            return await link.call(*command)
        return confirmed_reply(await link.call_many([command, *behind]), replicas=replicas, within=within)

    return call


def confirmation_commands(tag: str, *, replicas: int, within: float) -> list[tuple[Argument, ...]]:
    """Return the commands that follow a script's call; :func:`confirmed_reply` reads their replies."""
    marker = ("SET", f"momentus:{tag}:confirmed", "", "PX", _MARKER_LIFE_MS)
    return [marker, ("WAIT", replicas, max(1, round(within * 1000)))]


def confirmed_reply(replies: Sequence[Any], *, replicas: int, within: float) -> Any:  # noqa: ANN401  as the script returns it
    """Return the script's reply if enough replicas have its writes.

    Args:
        replies: replies to the script, to the small write after it, and to WAIT.

    Raises:
        NotConfirmed: too few replicas have the writes, or the server does not say.
        ResponseError: the script failed.
    """
    answer, marker, copies = replies
    if isinstance(answer, ResponseError):
        raise answer
    for refusal in (marker, copies):
        if isinstance(refusal, ResponseError):  # then WAIT refers to an older write, or to none
            raise NotConfirmed(
                f"confirm_replicas: the job is on the primary, but the server rejects the query for replicas "
                f"({refusal}); allow SET on momentus:*:confirmed and WAIT (./run ops acl), then send the job "
                "again with the same key"
            )
    if not isinstance(copies, int) or copies < replicas:
        raise NotConfirmed(
            f"confirm_replicas: the job is on the primary, but not on {replicas} replica(s) within "
            f"{within * 1000:.0f} ms, so a failover may lose it; send it again with the same key; if this "
            "persists, check the replicas"
        )
    return answer
