"""Routing of a mail to an account that may send for its sender's domain.

A provider refuses to send as another sender (Microsoft: 5.2.252), or puts its own address in the sender's place
(Google). So an account may list the domains for which it sends. The claim does not know a mail's sender: it takes
the budget of the first account that has room. If that account may not send the mail, the mail is bound to one that
may, and goes back. While that one is closed, mails that wait for it are given to another that may.

What can go wrong: Redis is down. Then the attempt fails like every attempt without Redis, and waiting mails stay.
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
from producers.limits.limits import Limits, LimitState
from producers.link import Link
from worker.mail.accounts.gate import limit_key, run_script

_KEYS = LaneKeys("mail.normal")
_DRAWN = 1000
"""Mails examined per call of the script."""


def sender_domain(fields: Mapping[str, object], default: LetterSender) -> str:
    """Return the domain of a mail's sender, in lower case.

    >>> default = LetterSender("no-reply@momentus.example")
    >>> sender_domain({"sender": "news@Example.com"}, default), sender_domain({}, default)
    ('example.com', 'momentus.example')
    """
    sender = fields.get("sender")
    address = sender if isinstance(sender, str) else default.address
    return address.rpartition("@")[2].lower()


def choose_limit(states: Sequence[LimitState]) -> str:
    """Choose the limit for which the mail waits, and return its key.

    It is the first open one with room for more mails than wait for it; else the open one with the fewest waiting
    mails; else, if all are closed, the first.

    Args:
        states: limits of the accounts that may send the mail, in the order in which they are tried; at least one.
    """
    opened = [one for one in states if one.held is None]
    free = [one for one in opened if one.room is None or one.room > one.blocked]
    waiting = sorted(opened, key=lambda one: one.blocked)
    return (free or waiting or list(states))[0].key


async def route_mail(link: Link, context: Mapping[str, Any], names: Sequence[str]) -> str:
    """Bind the mail to one of these accounts and return that account's name.

    Args:
        context: context of the mail's job.
        names: accounts that may send it, in the order in which they are tried; at least one.
    """
    job_id, lane = context["job_id"], context["lane"]
    keys = [limit_key(name) for name in names]
    chosen = choose_limit(await Limits(link, _KEYS.tag).states(keys, urgent=lane == MAIL_URGENT))
    await link.call("HSET", _KEYS.limited, job_id, chosen)
    if len(keys) > 1:  # second: a mail that is routed but not limited counts as gone
        await link.call("HSET", MAIL_ROUTED, job_id, " ".join([lane, *keys]))
    return names[keys.index(chosen)]


async def bind_mail(link: Link, job_id: str, name: str) -> None:
    """Bind the mail to this account, so that the claim gives it to no other and it is not rerouted."""
    await link.call("HDEL", MAIL_ROUTED, job_id)
    await link.call("HSET", _KEYS.limited, job_id, limit_key(name))


async def keep_rerouting(link: Link, every: timedelta) -> None:
    """Give mails that wait for a closed account to another that may send them, until cancelled."""
    while True:
        await asyncio.sleep(every.total_seconds())
        with contextlib.suppress(RedisError, OSError, TimeoutError):  # retried after the next interval
            if await link.call("EXISTS", MAIL_ROUTED):
                await run_script(link, "reroute", [MAIL_ROUTED, _KEYS.limited, _KEYS.holds], [_KEYS.tag, _DRAWN])
