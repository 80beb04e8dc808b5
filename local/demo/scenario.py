"""The demo's scenario: mails, then reports, each step measured while it happens.

Every figure is measured during the run; none is assumed or cached from another run.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from redis.asyncio import Redis

from jobs import Mail
from local.demo.browser import Browser
from local.demo.company_postgres import Company
from local.demo.figures import p50_and_p99
from ops.depth.read import Depth, read_depth
from producers import Producer, Receipt

MAILS = 100
"""Mails of one assignment to a hundred employees, for which a request would wait minutes."""
_READS = 500
_PATIENCE = 120.0
_LANE = "mail.normal"


@dataclass(frozen=True, slots=True)
class DemoContext:
    """The connections and the output of the scenario.

    Attributes:
        say: takes a line for the user.
        words: the texts of those lines, `local.texts`.
    """

    producer: Producer
    redis: Redis
    company: Company
    browser: Browser
    say: Callable[[str], None]
    words: Mapping[str, str]
    tenant: str

    def tell_step(self, text: str, **values: object) -> None:
        """Print one of the texts with its values."""
        self.say(self.words[text].format(**values))


async def send_mails(context: DemoContext) -> dict[str, Any]:
    """Send a hundred mails, one call each, and watch their delivery."""
    handles = await context.company.handles(MAILS)
    mails = [_assignment(number, handles[number % len(handles)]) for number in range(MAILS)]
    before = (await _lane(context)).done
    took, receipts = [], []
    began = time.perf_counter()
    for number, mail in enumerate(mails):
        sent = time.perf_counter()
        receipts.append(await context.producer.send(mail, key=f"demo:{began}:{number}"))
        took.append((time.perf_counter() - sent) * 1000)
    enqueue = p50_and_p99(took)
    context.tell_step("queued", mails=MAILS, total=round(sum(took)), **enqueue)
    accepted = await _watch(context, before + MAILS) - before
    total = time.perf_counter() - began
    one_by_one = await _delivery_seconds(context, receipts)
    context.tell_step("accepted", mails=accepted, seconds=total, one_by_one=one_by_one)
    return {
        "enqueued": len({receipt.id for receipt in receipts}),
        "accepted": accepted,
        "enqueue_ms": enqueue,
        "total_s": round(total, 2),
        "one_by_one_s": round(one_by_one, 1),
    }


async def read_reports(context: DemoContext) -> dict[str, Any]:
    """Read dashboards, change a node, read the change, and compare with queries node by node."""
    nodes = await context.company.nodes()
    await _until(context.browser.document, nodes[0])
    refresh_ms = await _measured_refresh(context)
    reads = await context.browser.time_reads([nodes[n % len(nodes)] for n in range(_READS)])
    figures = p50_and_p99(reads)
    context.tell_step("reads", reads=_READS, **figures)
    seen = await _see_a_checkin(context)
    context.tell_step("computed", nodes=len(nodes), milliseconds=refresh_ms)
    walk_ms = await _walk(context)
    context.tell_step("walked", milliseconds=walk_ms)
    return {
        "scopes": len(nodes),
        "walk_ms": round(walk_ms, 1),
        "refresh_ms": round(refresh_ms, 1),
        "read_ms": figures,
        "as_of": seen,
    }


async def read_queue_depth(context: DemoContext) -> Depth:
    """Return the depth of the queue."""
    return await read_depth(context.redis, tenant=context.tenant)


def _assignment(number: int, handle: str) -> Mail:
    due = (datetime.now(UTC) + timedelta(days=7)).date().isoformat()
    values = {"task": f"Cierre mensual, parte {number + 1}", "due": due}
    return Mail(to=f"{handle}@example.com", template="task_assigned", values=values)


async def _lane(context: DemoContext) -> Any:  # noqa: ANN401  a line of the depth table
    return next(lane for lane in (await read_queue_depth(context)).lanes if lane.lane == _LANE)


async def _watch(context: DemoContext, target: int) -> int:
    """Print each second how the lane drains, until `target` mails are done; return the number done."""
    began = printed = time.perf_counter()
    while (lane := await _lane(context)).done < target:
        now = time.perf_counter()
        if now - began > _PATIENCE:
            raise TimeoutError(f"only {lane.done} of {target} mails were accepted within {_PATIENCE:.0f} s")
        if now - printed >= 1:
            printed = now
            context.tell_step("sending", seconds=now - began, ready=lane.ready, leased=lane.leased)
        await asyncio.sleep(0.05)
    return int(lane.done)


async def _delivery_seconds(context: DemoContext, receipts: list[Receipt]) -> float:
    """Return the total time of the deliveries, from their recorded results."""
    results = await context.redis.mget([f"arq:result:{receipt.id}" for receipt in receipts])
    return float(sum(result["ft"] - result["st"] for result in map(orjson.loads, results))) / 1000


async def _measured_refresh(context: DemoContext) -> float:
    """Request a refresh and return its time from its result."""
    receipt = await context.producer.request_refresh("management", scope=None, delay=timedelta(0))
    key = f"arq:result:{receipt.id}"
    await context.redis.delete(key)
    await context.producer.request_refresh("management", scope=None, delay=timedelta(0))
    return float(orjson.loads(await _until(context.redis.get, key))["r"]["total_ms"])


async def _see_a_checkin(context: DemoContext) -> str:
    leaf = await context.company.leaf()
    before = await _until(context.browser.document, leaf)
    began = time.perf_counter()
    await context.company.check_in(leaf)
    await context.producer.refresh("management", scope=leaf)

    async def changed(node: int) -> dict[str, Any] | None:
        document = await context.browser.document(node)
        return document if document and document["data"] != before["data"] else None

    after = await _until(changed, leaf)
    elapsed = time.perf_counter() - began
    counts = [document["data"]["total"]["checkins_today"] for document in (before, after)]
    context.tell_step("checkin", node=leaf, before=counts[0], after=counts[1], seconds=elapsed)
    return str(after["as_of"])


async def _walk(context: DemoContext) -> float:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return await context.company.query_totals(midnight, midnight + timedelta(days=1)) * 1000


async def _until(question: Callable[[Any], Any], about: object) -> Any:  # noqa: ANN401  any result
    """Call the function until it returns a result."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            answer = await question(about)
            if answer:
                return answer
            await asyncio.sleep(0.02)
