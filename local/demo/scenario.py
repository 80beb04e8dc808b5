"""The demo's story: mails, then reports, each step measured while it happens.

Every figure is taken here from what ran: nothing is assumed, and nothing is cached from another run.
"""

import asyncio
import time
from collections.abc import Callable
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
"""As in the objection this answers: one assignment, a hundred people."""
_READS = 500
_PATIENCE = 120.0
_LANE = "mail.normal"


@dataclass(frozen=True, slots=True)
class Stage:
    """What the story plays on.

    Attributes:
        say: takes a line for people.
    """

    producer: Producer
    redis: Redis
    company: Company
    browser: Browser
    say: Callable[[str], None]
    tenant: str


async def send_mails(stage: Stage) -> dict[str, Any]:
    """Hand over a hundred mails, one call each, and watch them being delivered."""
    handles = await stage.company.handles(MAILS)
    mails = [_assignment(number, handles[number % len(handles)]) for number in range(MAILS)]
    before = (await _lane(stage)).done
    took, receipts = [], []
    began = time.perf_counter()
    for number, mail in enumerate(mails):
        sent = time.perf_counter()
        receipts.append(await stage.producer.send(mail, key=f"demo:{began}:{number}"))
        took.append((time.perf_counter() - sent) * 1000)
    enqueue = p50_and_p99(took)
    stage.say(
        f"{MAILS} mails handed over in {sum(took):.0f} ms "
        f"(p50 {enqueue['p50']} ms, p99 {enqueue['p99']} ms); the request could answer now"
    )
    accepted = await _watch(stage, before + MAILS) - before
    total = time.perf_counter() - began
    one_by_one = await _delivery_seconds(stage, receipts)
    stage.say(f"all {accepted} accepted after {total:.1f} s; one after the other: {one_by_one:.0f} s")
    return {
        "enqueued": len({receipt.id for receipt in receipts}),
        "accepted": accepted,
        "enqueue_ms": enqueue,
        "total_s": round(total, 2),
        "one_by_one_s": round(one_by_one, 1),
    }


async def read_reports(stage: Stage) -> dict[str, Any]:
    """Read dashboards, change something, see it, and compare with asking node by node."""
    nodes = await stage.company.nodes()
    await _until(stage.browser.document, nodes[0])
    refresh_ms = await _measured_refresh(stage)
    reads = await stage.browser.time_reads([nodes[n % len(nodes)] for n in range(_READS)])
    figures = p50_and_p99(reads)
    stage.say(f"{_READS} dashboard reads: p50 {figures['p50']} ms, p99 {figures['p99']} ms, no SQL at all")
    seen = await _see_a_checkin(stage)
    stage.say(f"all {len(nodes)} dashboards computed again in {refresh_ms:.0f} ms, in one snapshot")
    walk_ms = await _walk(stage)
    stage.say(f"the same numbers asked node by node on this database: {walk_ms:.0f} ms, for each view")
    return {
        "scopes": len(nodes),
        "walk_ms": round(walk_ms, 1),
        "refresh_ms": round(refresh_ms, 1),
        "read_ms": figures,
        "as_of": seen,
    }


async def depth(stage: Stage) -> Depth:
    """How the queue stands."""
    return await read_depth(stage.redis, tenant=stage.tenant)


def _assignment(number: int, handle: str) -> Mail:
    due = (datetime.now(UTC) + timedelta(days=7)).date().isoformat()
    values = {"task": f"Cierre mensual, parte {number + 1}", "due": due}
    return Mail(to=f"{handle}@example.com", template="task_assigned", values=values)


async def _lane(stage: Stage) -> Any:  # noqa: ANN401  a line of the depth table
    return next(lane for lane in (await depth(stage)).lanes if lane.lane == _LANE)


async def _watch(stage: Stage, target: int) -> int:
    """Tell each second how the lane drains, until so many are done; how many are."""
    began = told = time.perf_counter()
    while (lane := await _lane(stage)).done < target:
        now = time.perf_counter()
        if now - began > _PATIENCE:
            raise TimeoutError(f"only {lane.done} of {target} mails were accepted within {_PATIENCE:.0f} s")
        if now - told >= 1:
            told = now
            stage.say(f"  {now - began:4.0f} s  waiting {lane.ready:3}  being sent {lane.leased:3}")
        await asyncio.sleep(0.05)
    return int(lane.done)


async def _delivery_seconds(stage: Stage, receipts: list[Receipt]) -> float:
    """What the deliveries took together, from their recorded results."""
    results = await stage.redis.mget([f"arq:result:{receipt.id}" for receipt in receipts])
    return float(sum(result["ft"] - result["st"] for result in map(orjson.loads, results))) / 1000


async def _measured_refresh(stage: Stage) -> float:
    """Ask for a refresh and take its time from its result."""
    receipt = await stage.producer.request_refresh("management", scope=None, delay=timedelta(0))
    key = f"arq:result:{receipt.id}"
    await stage.redis.delete(key)
    await stage.producer.request_refresh("management", scope=None, delay=timedelta(0))
    return float(orjson.loads(await _until(stage.redis.get, key))["r"]["total_ms"])


async def _see_a_checkin(stage: Stage) -> str:
    leaf = await stage.company.leaf()
    before = await _until(stage.browser.document, leaf)
    began = time.perf_counter()
    await stage.company.check_in(leaf)
    await stage.producer.refresh("management", scope=leaf)

    async def changed(node: int) -> dict[str, Any] | None:
        document = await stage.browser.document(node)
        return document if document and document["data"] != before["data"] else None

    after = await _until(changed, leaf)
    elapsed = time.perf_counter() - began
    counts = [document["data"]["total"]["checkins_today"] for document in (before, after)]
    stage.say(f"a check-in in node {leaf}: its dashboard went from {counts[0]} to {counts[1]} in {elapsed:.1f} s")
    return str(after["as_of"])


async def _walk(stage: Stage) -> float:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return await stage.company.walk(midnight, midnight + timedelta(days=1)) * 1000


async def _until(question: Callable[[Any], Any], about: object) -> Any:  # noqa: ANN401  whatever was asked for
    """Ask until there is an answer."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            answer = await question(about)
            if answer:
                return answer
            await asyncio.sleep(0.02)
