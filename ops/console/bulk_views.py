"""Views of changes of many jobs: the count to confirm, the run and its progress, and failures as clusters.

    GET /bulk/new?ACTION&FILTER   how many jobs match, with a form      POST /bulk          begins it
    GET /bulk, /bulk/N            runs, one of this console             POST /bulk/N/stop   stops it
    GET /failures                 clusters of dead jobs                 POST /canary        replays one by canary

A form has the confirmed number: if more jobs match by then, it is refused, and shows the new number.
"""

import argparse
import re
from collections.abc import Mapping
from functools import partial
from typing import cast, get_args

from ops.audit.log import AuditEntry, begin_entry, list_entries, note_entry
from ops.command import CommandRefused, Tools
from ops.console.actions import reason_of
from ops.console.change import end_entry
from ops.console.exchange import PageResponse
from ops.console.job_views import bulk_actions
from ops.console.payload import masked_addresses
from ops.console.render import redirect, render_page
from ops.console.runs import BulkRun, BulkRuns
from ops.console.visit import ConsoleVisit
from ops.jobs.bulk import BulkAction, change_jobs, replay_jobs
from ops.jobs.clusters import FailureCluster, jobs_of_cluster, key_of_token, list_clusters
from ops.jobs.filter import FIELDS, FilterRefused, JobFilter, read_filter
from ops.jobs.listing import find_ids
from ops.lanes.known import lane_argument
from ops.table import printable

_CLUSTERS_SHOWN = 200
_ENTRIES_READ = 1000
_OTHERS_SHOWN = 50
RUN_ACTIONS = frozenset({"canary", *(f"bulk-{action}" for action in get_args(BulkAction))})
"""Actions of the audit log that are changes of many jobs."""
_TARGET_LIMIT = 300


async def show_failures(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return the clusters of dead jobs, the largest first."""
    found = await list_clusters(tools.redis)
    shown = found.clusters[:_CLUSTERS_SHOWN]
    return render_page(
        "failures.html", visit, found=found, clusters=shown, shown_error=partial(_shown_error, visit)
    )


def _shown_error(visit: ConsoleVisit, cluster: FailureCluster) -> str:
    return cluster.error.strip() if visit.may("admin") else masked_addresses(cluster.error.strip())


async def show_confirmation(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return the page that asks for confirmation, with the number of jobs that a bulk change would affect."""
    return await _confirmation(visit, tools, visit.query)


async def _confirmation(
    visit: ConsoleVisit, tools: Tools, fields: Mapping[str, str], *, more: bool = False
) -> PageResponse:
    action, wanted = read_bulk(fields)
    jobs = await find_ids(tools.redis, wanted)
    given = {name: fields.get(name, "") for name in FIELDS} | {"state": wanted.state, "action": action}
    status = 409 if more else 200
    return render_page(
        "confirm.html", visit, status=status, action=action, count=len(jobs), fields=given, more=more
    )


def read_bulk(fields: Mapping[str, str]) -> tuple[BulkAction, JobFilter]:
    """Return the action and the filter of a form.

    Raises:
        CommandRefused: the action does not apply to jobs of that state, or the filter is invalid.
    """
    try:
        wanted = read_filter(fields)
    except FilterRefused as refusal:
        raise CommandRefused(str(refusal)) from None
    action = fields.get("action", "")
    if action not in bulk_actions(wanted.state) or action not in get_args(BulkAction):
        allowed = ", ".join(bulk_actions(wanted.state)) or "none"
        raise CommandRefused(f"action: {action[:32]!r} does not apply to {wanted.state} jobs; allowed: {allowed}")
    return cast("BulkAction", action), wanted


async def begin_bulk(visit: ConsoleVisit, tools: Tools, fields: Mapping[str, str], runs: BulkRuns) -> PageResponse:
    """Begin a bulk change unless more jobs match than were confirmed.

    Raises CommandRefused, RedisError, OSError.
    """
    action, wanted = read_bulk(fields)
    jobs = await find_ids(tools.redis, wanted)
    confirmed = fields.get("count", "")
    if not confirmed.isdecimal() or len(jobs) > int(confirmed):
        return await _confirmation(visit, tools, fields, more=True)
    target = " ".join(f"{name}={fields[name]}" for name in FIELDS if fields.get(name))
    entry = _entry(visit, f"bulk-{action}", f"{len(jobs)} jobs: {target}", fields)
    work = partial(change_jobs, action=action, jobs=jobs)
    run = await runs.begin(tools, entry, f"{action} {wanted}", len(jobs), work)
    return redirect(f"/bulk/{run.entry.number}")


async def begin_canary(
    visit: ConsoleVisit, tools: Tools, fields: Mapping[str, str], runs: BulkRuns
) -> PageResponse:
    """Begin the replay of a cluster. Raises CommandRefused, RedisError, OSError."""
    lane, key = _lane(fields.get("lane", "")), key_of_token(fields.get("cluster", ""))
    jobs = [(lane, job_id) async for job_id in jobs_of_cluster(tools.redis, lane, key)] if key else []
    if not jobs:
        raise CommandRefused("cluster: no dead job belongs to it any longer; load the failures again")
    target = key.decode("utf-8", "replace")
    entry = _entry(visit, "canary", f"{len(jobs)} jobs of {lane}: {target}", fields)
    work = partial(replay_jobs, jobs=jobs)
    run = await runs.begin(tools, entry, f"canary {lane} {key!r}", len(jobs), work)
    return redirect(f"/bulk/{run.entry.number}")


def _lane(text: str) -> str:
    try:
        return lane_argument(text)
    except argparse.ArgumentTypeError as error:
        raise CommandRefused(str(error)) from None


def _entry(visit: ConsoleVisit, action: str, target: str, fields: Mapping[str, str]) -> AuditEntry:
    return begin_entry(
        who=visit.operator.name,
        way=visit.operator.way,
        role=visit.operator.role or "",
        action=action,
        target=printable(target)[:_TARGET_LIMIT],
        why=reason_of(fields),
    )


async def stop_run(visit: ConsoleVisit, tools: Tools, run: BulkRun) -> PageResponse:
    """Stop a run after its current batch, and note who did."""
    entry = _entry(visit, "stop", run.entry.target, {})
    await note_entry(tools.redis, entry)
    run.progress.stopped = True
    await end_entry(tools, entry, "done", "")
    return redirect(f"/bulk/{run.entry.number}")


async def show_runs(visit: ConsoleVisit, tools: Tools, runs: BulkRuns) -> PageResponse:
    """Return the runs of this console and, from the audit log, earlier ones and those of other consoles."""
    here = runs.list()
    known = {one.entry.number for one in here}
    entries = await list_entries(tools.redis, limit=_ENTRIES_READ)
    others = [one for one in entries if one.action in RUN_ACTIONS and one.number not in known]
    return render_page("runs.html", visit, runs=here, others=others[:_OTHERS_SHOWN])


def show_run(visit: ConsoleVisit, run: BulkRun) -> PageResponse:
    """Return a run with its progress."""
    return render_page("run.html", visit, run=run, reloads=run.state == "runs")
