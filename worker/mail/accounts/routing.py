"""Which account a mail goes by when not all of them may send for the domain that it is from.

A provider refuses to send as somebody else (Microsoft: 5.2.252), or puts its own address in the sender's place
(Google). So an account may name the domains that it sends for. The claim does not know who a mail is from: it
takes the budget of the first account that has room. A mail that this one may not send is bound here to one that
may, and goes back. While that one is closed, the mails that wait for it are given to another one that may.

What can go wrong: Redis away. The attempt then fails as any whose Redis is away, and what waits stays where it is.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError

from jobs.lanes import MAIL_URGENT
from jobs.mail.letter import LetterSender
from producers.keys import MAIL_ROUTED, LaneKeys
from producers.limits import Limits, LimitState
from producers.link import Link
from worker.mail.accounts.gate import limit_key, run_script

_KEYS = LaneKeys("mail.normal")
_DRAWN = 1000
"""Mails looked at in one go."""


def sender_domain(fields: Mapping[str, object], default: LetterSender) -> str:
    """The domain that a mail is from, in lower case.

    >>> default = LetterSender("no-reply@momentus.example")
    >>> sender_domain({"sender": "news@Example.com"}, default), sender_domain({}, default)
    ('example.com', 'momentus.example')
    """
    sender = fields.get("sender")
    address = sender if isinstance(sender, str) else default.address
    return address.rpartition("@")[2].lower()


def choose(states: Sequence[LimitState]) -> str:
    """The key of the limit to wait for: the first with room for more than wait there already.

    Else, of those that are open, the one for which fewest wait; the first when all are closed.

    Args:
        states: of the accounts that may send the mail, in the order in which they are tried; at least one.
    """
    opened = [one for one in states if one.held is None]
    free = [one for one in opened if one.room is None or one.room > one.blocked]
    waiting = sorted(opened, key=lambda one: one.blocked)
    return (free or waiting or list(states))[0].key


async def route(link: Link, context: Mapping[str, Any], names: Sequence[str]) -> str:
    """Bind a mail to one of these accounts; the name of it.

    Args:
        context: of the mail's job.
        names: of the accounts that may send it, in the order in which they are tried; at least one.
    """
    job_id, lane = context["job_id"], context["lane"]
    keys = [limit_key(name) for name in names]
    chosen = choose(await Limits(link, _KEYS.tag).states(keys, urgent=lane == MAIL_URGENT))
    await link.call("HSET", _KEYS.limited, job_id, chosen)
    if len(keys) > 1:  # after that: what is routed and not limited counts as gone
        await link.call("HSET", MAIL_ROUTED, job_id, " ".join([lane, *keys]))
    return names[keys.index(chosen)]


async def bind(link: Link, job_id: str, name: str) -> None:
    """From now on the claim gives the mail to this account alone, and no other takes its place."""
    await link.call("HDEL", MAIL_ROUTED, job_id)
    await link.call("HSET", _KEYS.limited, job_id, limit_key(name))


async def keep_rerouting(link: Link, every: timedelta) -> None:
    """Give what waits for a closed account to another one that may send it, until cancelled."""
    while True:
        await asyncio.sleep(every.total_seconds())
        with contextlib.suppress(RedisError, OSError, TimeoutError):  # tried again at the next pace
            if await link.call("EXISTS", MAIL_ROUTED):
                await run_script(link, "reroute", [MAIL_ROUTED, _KEYS.limited, _KEYS.holds], [_KEYS.tag, _DRAWN])
