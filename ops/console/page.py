"""Responses of the operators' console, complete without JavaScript.

    GET /                   lanes, workers, reports        GET /api/depth       the same as JSON
    GET /lanes/NAME         one lane                       GET /healthz, /livez 200 while it serves, Redis or not
    GET /readyz             200 while Redis answers
    GET /jobs?state=...     a list of jobs                 GET /job?id=...      one job
    GET /failures           dead jobs in clusters          POST /canary         replays one
    (`ops.console.bulk_views`) GET /bulk/new?...       jobs that match, to confirm    POST /bulk           begins
    a change of many GET /bulk, /bulk/N      such changes, and progress     POST /bulk/N/stop    stops one
    GET /mail               accounts, uncertain mails, suppressed addresses
    GET /limits?key=...     limits, one limit              GET /reports         age and cost of reports
    GET /workers            workers, to quiet and stop     GET /schedules       last and next runs
    GET /sessions?user=...  a user's sessions
    GET /audit, /audit/N    changes, one change            GET /metrics         the fleet, for Prometheus
    GET /language/LANG      es or en
    GET, POST /login        a service token                POST /logout
    POST /actions/WORD      a change (`ops.console.actions`); then 303 to its entry in the audit log

If Redis does not answer, the page and the JSON say so with 503, and the page keeps reloading. `ops.console.access`
has the roles: a stranger gets 401 with the log-in form, an operator without the role 403.

Refused: another method (405), another path (404), a form of another site (403), and a Host that is neither this
machine nor in the settings (421), since a page on the web may point its own name at 127.0.0.1 (DNS rebinding).
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from redis.asyncio import Redis
from redis.exceptions import RedisError

from clocks import BOUND
from hosts import AllowedHosts
from ops.command import CommandRefused, Tools
from ops.console import bulk_views, fleet_views, job_views, mail_views, views
from ops.console.access import AccessRules, Operator, Role
from ops.console.actions import ACTIONS
from ops.console.change import make_change, refusal_text
from ops.console.exchange import PageRequest, PageResponse, refusal
from ops.console.forms import is_own_form, read_form
from ops.console.identify import identify_operator
from ops.console.log_in import choose_language, log_in, log_out, show_form
from ops.console.render import REFRESH_SECONDS, json_response, read_asset, redirect, render_page
from ops.console.runs import BulkRuns
from ops.console.samples import SampleLog
from ops.console.visit import ConsoleVisit, language_of
from producers.rights import missing_right
from sessions import Sessions, SessionsUnavailable

_POSTED = re.compile(r"/(login|logout|bulk|canary|bulk/[0-9a-f]{16}/stop|actions/[a-z-]{1,32})")
_RUN = re.compile(r"/bulk/([0-9a-f]{16})(/stop)?")
_BOTH = frozenset({"/login", "/bulk"})
_SESSIONS_DEADLINE = timedelta(seconds=1)
View = Callable[[ConsoleVisit, Tools, re.Match[str]], Awaitable[PageResponse]]


class ConsolePage:
    """The console, as a function from requests to responses.

    Args:
        redis: a redis-py asyncio client with ``decode_responses=False``.
        tenant: the owner of the reports.
        named: the setting or file that names Redis's address, for operators.
        clock_bound: how far clocks may be apart; beyond it no report is fresh.
        tools: what commands need; left out, those of this Redis alone.
        rules: who may do what; left out, operators at this machine may only look.
        allowed_hosts: other names under which a proxy serves the console.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        tenant: str,
        named: str,
        clock_bound: timedelta = BOUND,
        tools: Tools | None = None,
        rules: AccessRules | None = None,
        allowed_hosts: Sequence[str] = (),
    ) -> None:
        self._redis = redis
        self._named = named
        self._tools = tools or Tools(redis=redis, redis_url="", tenant=tenant, clock_bound=clock_bound)
        self._rules = rules or AccessRules(local="view")
        self._hosts = AllowedHosts(allowed_hosts)
        self._runs = BulkRuns()
        self._samples = SampleLog(redis)
        self._sessions = Sessions(redis, deadline=_SESSIONS_DEADLINE)

    async def keep_sampling(self) -> None:
        """Take samples for the charts until cancelled."""
        await self._samples.keep_sampling(partial(views.read_queue, self._tools))

    async def close(self) -> None:
        """Stop the runs, and close the connections."""
        await self._runs.stop_all()
        await self._redis.aclose()

    async def respond(self, request: PageRequest) -> PageResponse:
        """Return the response to a request; 503 if Redis does not answer."""
        if refused := refusal(request, hosts=self._hosts, methods=_methods(request.path)):
            return refused
        if request.path == "/readyz":
            return await self._probe()
        return _FIXED.get(request.path) or await self._answered(request)

    async def _probe(self) -> PageResponse:
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            return PageResponse(status=503, body=f"Redis does not answer: {type(error).__name__}\n".encode())
        return PageResponse(body=b"ready\n")

    async def _answered(self, request: PageRequest) -> PageResponse:
        language = language_of(request)
        visit = ConsoleVisit(request, Operator("", None, "none"), language)
        try:
            operator = await identify_operator(request, self._rules, self._sessions)
            visit = ConsoleVisit(request, operator, language, self._rules.shown_fields)
            tools = replace(self._tools, language=language)
            return await (self._posted(visit, tools) if request.method == "POST" else self._shown(visit, tools))
        except (RedisError, OSError, SessionsUnavailable) as error:
            return self._away(visit, error)
        except CommandRefused as refused:
            return render_page("refused.html", visit, status=400, reason=refusal_text(refused, visit.language))

    async def _shown(self, visit: ConsoleVisit, tools: Tools) -> PageResponse:
        path = visit.request.path
        if path == "/login":
            return show_form(visit)
        if path.startswith("/language/"):
            return choose_language(visit)
        if path == "/bulk" or _RUN.fullmatch(path):
            return _denial(visit, "view") or await self._shown_run(visit, tools)
        if path == "/":
            return _denial(visit, "view") or await views.show_overview(visit, tools, self._samples)
        for pattern, (role, view) in _VIEWS.items():
            if match := re.fullmatch(pattern, path, re.ASCII):
                return _denial(visit, role) or await view(visit, tools, match)
        return _denial(visit, "view") or views.show_nothing(visit)

    async def _posted(self, visit: ConsoleVisit, tools: Tools) -> PageResponse:
        if visit.request.path == "/login":
            return log_in(visit, self._rules)
        fields = read_form(visit.request)
        if not is_own_form(visit.request, fields, visit.operator):
            return render_page("refused.html", visit, status=403, reason=visit.words["foreign_form"])
        if visit.request.path == "/logout":
            return log_out(visit)
        if visit.request.path.startswith("/actions/"):
            return await _changed(visit, tools, fields)
        return _denial(visit, "operate") or await self._changed_many(visit, tools, fields)

    async def _shown_run(self, visit: ConsoleVisit, tools: Tools) -> PageResponse:
        match = _RUN.fullmatch(visit.request.path)
        if match is None:
            return await bulk_views.show_runs(visit, tools, self._runs)
        if run := self._runs.find(match[1]):
            return bulk_views.show_run(visit, run)
        return await views.show_entry(visit, tools, match)  # of an earlier console, or of another one

    async def _changed_many(self, visit: ConsoleVisit, tools: Tools, fields: Mapping[str, str]) -> PageResponse:
        if visit.request.path == "/bulk":
            return await bulk_views.begin_bulk(visit, tools, fields, self._runs)
        if visit.request.path == "/canary":
            return await bulk_views.begin_canary(visit, tools, fields, self._runs)
        match = _RUN.fullmatch(visit.request.path)
        run = None if match is None else self._runs.find(match[1])
        return views.show_nothing(visit) if run is None else await bulk_views.stop_run(visit, tools, run)

    def _away(self, visit: ConsoleVisit, error: Exception) -> PageResponse:
        again = {"retry-after": str(REFRESH_SECONDS)}
        told = str(error) or type(error).__name__
        right = missing_right(error)
        if visit.request.path.startswith("/api/"):
            reason = f"Redis does not answer at the address in {self._named}: {told}"
            return json_response({"error": reason}, status=503, headers=again)
        return render_page(
            "away.html", visit, status=503, headers=again, reloads=True, named=self._named, error=told, right=right
        )


async def _changed(visit: ConsoleVisit, tools: Tools, fields: Mapping[str, str]) -> PageResponse:
    name = visit.request.path.removeprefix("/actions/")
    if name not in ACTIONS:
        return _denial(visit, "view") or views.show_nothing(visit)
    if denied := _denial(visit, ACTIONS[name].role):
        return denied
    entry = await make_change(tools, name, fields, visit.operator)
    return redirect(views.entry_path(entry, fields.get("back", "/")))


def _denial(visit: ConsoleVisit, role: Role) -> PageResponse | None:
    """Return the refusal of an operator without this role, or None."""
    if visit.may(role):
        return None
    status = 401 if visit.operator.role is None else 403
    if visit.request.path.startswith("/api/"):
        return json_response({"error": f"needs the role {role}"}, status=status)
    if visit.operator.role is None:
        return show_form(visit, status=401)
    return render_page("refused.html", visit, status=403, reason=visit.words["needs_role"].format(role=role))


def _methods(path: str) -> Sequence[str]:
    reading = ("GET", "HEAD")
    if not _POSTED.fullmatch(path):
        return reading
    return (*reading, "POST") if path in _BOTH else ("POST",)


_VIEWS: dict[str, tuple[Role, View]] = {
    r"/api/depth": ("view", views.depth_json),
    r"/metrics": ("view", views.show_metrics),
    r"/lanes/([a-z0-9_.]{1,64})": ("view", views.show_lane),
    r"/jobs": ("view", job_views.show_jobs),
    r"/job": ("view", job_views.show_job),
    r"/bulk/new": ("operate", bulk_views.show_confirmation),
    r"/failures": ("view", bulk_views.show_failures),
    r"/mail": ("view", mail_views.show_mail),
    r"/limits": ("view", fleet_views.show_limits),
    r"/workers": ("view", fleet_views.show_workers),
    r"/schedules": ("view", fleet_views.show_schedules),
    r"/reports": ("view", fleet_views.show_reports),
    r"/sessions": ("admin", mail_views.show_sessions),
    r"/audit": ("view", views.show_audit),
    r"/audit/([0-9a-f]{16})": ("view", views.show_entry),
}
_FIXED = {
    "/healthz": PageResponse(body=b"ok\n"),
    "/livez": PageResponse(body=b"live\n"),
    "/style.css": PageResponse(body=read_asset("style.css"), kind="text/css; charset=utf-8"),
    "/console.js": PageResponse(body=read_asset("console.js"), kind="text/javascript; charset=utf-8"),
}
