"""Jobs in every state that a console lists, made as in life: sent by a producer, and tried by a worker."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from jobs import Mail
from ops.depth.read import read_depth
from producers import Producer
from tests.notes import running
from tests.support import eventually
from worker.engine import GiveUp, LaneSlots, Park, TryLater, Worker
from worker.engine.handler import handler

LANE = "mail.normal"
HOSTILE = "<script>alert(1)</script>\x1b[2J"


@dataclass(frozen=True, slots=True)
class MailOrder:
    """A mail to send, and what becomes of it: `dead`, `uncertain`, `retrying` or `done`; the reply that it
    gets."""

    to: str
    fate: str
    reply: str = "550 5.1.1 no such person"


async def _obey(context: dict[str, Any], **frozen: Any) -> None:
    del context
    fate, _, reply = frozen["text"].partition(" ")
    if fate == "dead":
        raise GiveUp(reply.strip())
    if fate == "uncertain":
        raise Park("the reply was lost", why="uncertain", uncertain=True)
    if fate == "retrying":
        raise TryLater(reply.strip(), after=timedelta(hours=1))


def obedient_worker(url: str, *, slots: int = 5) -> Worker:
    """A worker that does to each mail what its text says."""
    return Worker(
        [handler(_obey, kind=Mail.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, slots)],
        handle_signals=False,
        renew_every=timedelta(milliseconds=50),
    )


async def send_orders(producer: Producer, orders: list[MailOrder]) -> list[str]:
    """Send them; the ids in their order."""
    return [
        (await producer.send(Mail(to=one.to, subject="Hoy", text=f"{one.fate} {one.reply}"))).id for one in orders
    ]


async def make_jobs(url: str, redis: Redis, producer: Producer, *orders: MailOrder) -> list[str]:
    """Send mails and let a worker try each once; the ids in their order."""
    ids = await send_orders(producer, list(orders))

    async def tried() -> bool:
        lane = (await read_depth(redis, tenant="default")).lane(LANE)
        return lane is not None and lane.ready == lane.leased == 0

    async with running(obedient_worker(url)):
        await eventually(tried)
    return ids
