"""Views of what keeps the queue going: workers, schedules, limits and stored reports."""

import re
from dataclasses import dataclass

from jobs.lanes import GROUPS
from ops.command import Tools
from ops.command_parser import quoted_texts
from ops.console.exchange import PageResponse
from ops.console.render import render_page
from ops.console.visit import ConsoleVisit
from ops.depth.read import read_depth
from ops.limits.known import RateUse, read_limits, read_rate_uses
from ops.limits.texts import rate_text, state_text, use_text
from ops.reports.stored import read_stored_reports
from ops.schedules.known import list_schedules, read_now
from ops.schedules.texts import RUNS, schedule_text
from ops.workers.texts import STATES
from producers.keys import LaneKeys
from producers.limits.limit import LimitError
from producers.limits.limits import Limits, LimitState

_KEY_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow:
    """A limit, in the form for its template.

    Attributes:
        uses: for each rate, how much is used, and how many may begin or when the next one may.
        lanes: the lanes whose jobs need it, or one of several limits.
        now: its current state in words.
    """

    group: str
    state: LimitState
    rates: tuple[str, ...]
    uses: tuple[str, ...]
    lanes: tuple[str, ...]
    now: str


async def show_limits(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return all limits of all groups, and the state of one that is looked up."""
    group = visit.query.get("group", GROUPS[0])
    key = visit.query.get("key", "").strip()[:_KEY_LIMIT]
    rows = [row for one in GROUPS for row in await _read_rows(visit, tools, one)]
    found, refused = None, ""
    if key:
        try:
            found = await _find_row(visit, tools, group if group in GROUPS else GROUPS[0], key)
        except LimitError as error:
            refused = quoted_texts(str(error), visit.language)
    return render_page(
        "limits.html",
        visit,
        status=400 if refused else 200,
        rows=rows,
        found=found,
        refused=refused,
        groups=GROUPS,
        group=group,
        key=key,
    )


async def _read_rows(visit: ConsoleVisit, tools: Tools, group: str) -> list[LimitRow]:
    keys = LaneKeys(group)
    states, bindings = await read_limits(tools.redis, keys), await Limits(tools.redis, keys.tag).bindings()
    uses = await read_rate_uses(tools.redis, keys, states)
    needed = {lane: one.keys for lane, one in bindings.items()}
    return [
        _row(visit, group, one, uses[one.key], tuple(lane for lane, some in needed.items() if one.key in some))
        for one in states
    ]


async def _find_row(visit: ConsoleVisit, tools: Tools, group: str, key: str) -> LimitRow:
    """Read the state of one limit, or of a member of a family. Raises LimitError."""
    keys = LaneKeys(group)
    state = await Limits(tools.redis, keys.tag).state(key)
    uses = await read_rate_uses(tools.redis, keys, [state])
    return _row(visit, group, state, uses[key], ())


def _row(
    visit: ConsoleVisit, group: str, state: LimitState, uses: tuple[RateUse, ...], lanes: tuple[str, ...]
) -> LimitRow:
    rates = state.limit.rates if state.limit else ()
    return LimitRow(
        group=group,
        state=state,
        rates=tuple(rate_text(one, visit.language) for one in rates),
        uses=tuple(use_text(one, visit.language) for one in uses),
        lanes=lanes,
        now=state_text(state, visit.language),
    )


async def show_workers(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return the live workers with their state, slots, delays and troubles."""
    depth = await read_depth(tools.redis, tenant=tools.tenant, clock_bound=tools.clock_bound)
    return render_page("workers.html", visit, depth=depth, states=STATES[visit.language])


async def show_schedules(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return the schedules of the live workers, with their last and next runs."""
    found = await list_schedules(tools.redis)
    unserved = RUNS[visit.language]["unserved"]
    texts = [schedule_text(one.cron.schedule, visit.language) if one.cron else unserved for one in found]
    now = await read_now(tools.redis)
    return render_page("schedules.html", visit, schedules=found, texts=texts, now=now)


async def show_reports(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return all declared reports with their age, cost and last error."""
    reports = await read_stored_reports(tools.redis, tenant=tools.tenant, bound=tools.clock_bound)
    return render_page("reports.html", visit, reports=reports)
