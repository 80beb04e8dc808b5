"""Views of jobs: lists by state and filter, and one job with its history, why it waits and its payload."""

import re
from dataclasses import dataclass, replace

from jobs import Mail, Policy
from jobs.refresh import RefreshReport
from ops.command import Tools
from ops.command_parser import quoted_texts
from ops.console.exchange import PageResponse
from ops.console.payload import masked_addresses, shown_payload
from ops.console.render import render_page
from ops.console.visit import ConsoleVisit, address
from ops.jobs.explain import Explanation, explain_job
from ops.jobs.filter import AGED, FIELDS, STATES, FilterRefused, read_filter
from ops.jobs.listing import JobList, ListedJob, list_jobs
from ops.jobs.texts import ID_LIMIT, wait_texts
from ops.lanes.known import known_lanes

PAGE = 50
_POLICIES: dict[str, Policy] = {Mail.kind: Mail.policy, RefreshReport.kind: RefreshReport.policy}
BULK_ACTIONS: dict[str, tuple[str, ...]] = {"dead": ("revive", "discard"), "uncertain": ()}
"""Actions for all jobs of a list; of the other states they may be cancelled or discarded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """A list, in the form for its template."""

    fields: dict[str, str]
    jobs: tuple[ListedJob, ...]
    found: JobList | None
    refused: str = ""


async def show_jobs(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return the jobs that the query's filter matches."""
    query = visit.query
    fields = {name: query.get(name, "") for name in FIELDS} | {"state": query.get("state") or "dead"}
    lanes = await known_lanes(tools.redis)
    try:
        wanted = read_filter(fields)
    except FilterRefused as refusal:
        page = ListPage(fields=fields, jobs=(), found=None, refused=quoted_texts(str(refusal), visit.language))
        return _list_page(visit, page, lanes, status=400)
    found = await list_jobs(tools.redis, wanted, limit=PAGE, cursor=query.get("cursor", ""))
    jobs = tuple(shown_job(visit, one) for one in found.jobs)
    return _list_page(visit, ListPage(fields=fields, jobs=jobs, found=found), lanes)


def _list_page(visit: ConsoleVisit, page: ListPage, lanes: tuple[str, ...], *, status: int = 200) -> PageResponse:
    after = address("/jobs", **page.fields, cursor=page.found.cursor) if page.found and page.found.cursor else ""
    return render_page(
        "jobs.html",
        visit,
        status=status,
        page=page,
        lanes=lanes,
        states=STATES,
        live=not any(page.fields[name] for name in ("kind", "domain", "error")),
        aged=page.fields["state"] in AGED,
        bulk=bulk_actions(page.fields["state"]),
        after=after,
    )


def bulk_actions(state: str) -> tuple[str, ...]:
    """Return the actions for all jobs of a list in this state."""
    return BULK_ACTIONS.get(state, ("cancel", "discard"))


def shown_job(visit: ConsoleVisit, job: ListedJob) -> ListedJob:
    """Return a job as this operator may see it."""
    return replace(job, reason=shown_reason(visit, job.reason))


def shown_reason(visit: ConsoleVisit, reason: str) -> str:
    """Return a reason without traceback, with addresses only for those who may see them."""
    text = reason.partition("Traceback (most recent call last):")[0].strip()
    return text if visit.may("admin") else masked_addresses(text)


async def show_job(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return one job; 404 if no trace of it is left."""
    job_id = visit.query.get("id", "")
    if not job_id or len(job_id) > ID_LIMIT or not job_id.isprintable():
        return _unknown(visit, job_id[:ID_LIMIT])
    found = await explain_job(tools.redis, job_id)
    if found.job.state == "unknown" and not found.job.history:
        return _unknown(visit, job_id)
    stored = await tools.redis.get(f"arq:job:{job_id}") or b""
    payload = shown_payload(stored, sees_all=visit.may("admin"), shown=visit.shown_fields)
    return render_page(
        "job.html",
        visit,
        job=found.job,
        lane=found.lane,
        limit=found.limit,
        waits=[_shown(visit, line) for line in wait_texts(found, visit.language)],
        history=[replace(one, reason=shown_reason(visit, one.reason)) for one in found.job.history],
        policy=_POLICIES.get(found.job.kind),
        payload=payload,
        size=len(stored),
        actions=job_actions(found),
    )


def _shown(visit: ConsoleVisit, text: str) -> str:
    return text if visit.may("admin") else masked_addresses(text)


def job_actions(found: Explanation) -> tuple[str, ...]:
    """Return what operators may do with a job in its current state.

    The action itself reports a job that has ended meanwhile.
    """
    match found.job.state:
        case "dead":
            return ("revive", "discard")
        case "leased":
            return ("cancel",)
        case "parked":
            asks = found.job.parking is not None and found.job.parking.why == "uncertain"
            return ("resolve", "cancel", "discard") if asks else ("unpark", "cancel", "discard")
        case "ready" | "scheduled" | "retrying":
            return ("cancel", "discard")
    return ()


def _unknown(visit: ConsoleVisit, job_id: str) -> PageResponse:
    return render_page("unknown.html", visit, status=404, job_id=job_id)
