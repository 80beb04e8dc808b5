"""Views of the whole queue: overview, one lane, the audit log. Each is one query and one template."""

import re

from ops.audit.log import AuditEntry, find_entry, list_entries
from ops.command import Tools
from ops.console.chart import draw_charts
from ops.console.exchange import PageResponse
from ops.console.render import json_response, render_page
from ops.console.samples import SampleLog
from ops.console.verdict import judge_queue
from ops.console.visit import ConsoleVisit, address, own_path
from ops.depth.read import Depth, read_depth
from ops.metrics.page import FleetPage
from ops.undo.restore import find_undoable

_ENTRIES_SHOWN = 200


async def show_overview(visit: ConsoleVisit, tools: Tools, samples: SampleLog) -> PageResponse:
    """Return the verdict, charts, all lanes, reports and workers."""
    depth = await read_queue(tools)
    return render_page(
        "overview.html",
        visit,
        reloads=True,
        depth=depth,
        verdict=judge_queue(depth, visit.language),
        charts=draw_charts(samples.samples),
        since=samples.since,
    )


async def show_lane(visit: ConsoleVisit, tools: Tools, match: re.Match[str]) -> PageResponse:
    """Return one lane."""
    depth = await read_queue(tools)
    lane = depth.lane(match[1])
    if lane is None:
        return show_nothing(visit)
    workers = [worker for worker in depth.workers if lane.lane in worker.lanes]
    return render_page(
        "lane.html", visit, reloads=not visit.may("operate"), depth=depth, lane=lane, workers=workers
    )


async def depth_json(_visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return the depth as JSON."""
    return json_response((await read_queue(tools)).to_json())


async def show_metrics(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return the fleet's metrics; if Redis does not answer, those that say so."""
    page = FleetPage(tools.redis, tenant=tools.tenant, clock_bound=tools.clock_bound)
    kind, body = await page.respond(visit.request.headers.get("accept", ""))
    return PageResponse(body=body, kind=kind)


async def show_audit(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return the latest changes."""
    entries = await list_entries(tools.redis, limit=_ENTRIES_SHOWN)
    undoable = await find_undoable(tools.redis, entries)
    return render_page("audit.html", visit, entries=entries, undoable=undoable)


async def show_entry(visit: ConsoleVisit, tools: Tools, match: re.Match[str]) -> PageResponse:
    """Return one change, with the way back to where it was made."""
    entry = await find_entry(tools.redis, match[1])
    if entry is None:
        return show_nothing(visit)
    back = own_path(visit.query.get("back", "/"))
    return render_page(
        "entry.html", visit, entry=entry, back=back, undoable=await find_undoable(tools.redis, [entry])
    )


def show_nothing(visit: ConsoleVisit) -> PageResponse:
    """Return the 404 page."""
    return render_page("nothing.html", visit, status=404)


def entry_path(entry: AuditEntry, back: str) -> str:
    """Return the address of a change, with the way back."""
    return address(f"/audit/{entry.number}", back=own_path(back))


async def read_queue(tools: Tools) -> Depth:
    """Read the whole queue. Raises RedisError, OSError."""
    return await read_depth(tools.redis, tenant=tools.tenant, clock_bound=tools.clock_bound)
