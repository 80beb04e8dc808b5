"""Responses of the operators' page. It only reads, and works without JavaScript.

    GET /              lanes, workers, reports         GET /api/depth     the same as JSON
    GET /lanes/NAME    one lane                        GET /healthz       200 while it serves, Redis or not
    GET /metrics       the same for Prometheus

Every view is one `read_depth`. If Redis does not answer, the page and the JSON say so with 503, and the page keeps
reloading. Texts from elsewhere (hosts, database errors) are escaped; the page loads only one style sheet.

Refused: another method (405), another path (404), and a Host that is not this machine (421), since a page on
the web may point its own name at 127.0.0.1 to read this one (DNS rebinding).
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import jinja2
import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from clocks import BOUND
from ops.console.exchange import PageRequest, PageResponse, refusal
from ops.console.texts import WORDS
from ops.depth.read import Depth, drains_at, read_depth
from ops.depth.texts import drain_text, loss_text, reason_text, why_text
from ops.durations import duration_text
from ops.language import Language, preferred_language
from ops.limits.texts import lane_limit_texts
from ops.metrics.page import FleetPage

_FOLDER = Path(__file__).parent / "pages"
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.globals |= {"duration": duration_text, "drains_at": drains_at}
_STYLE = (_FOLDER / "style.css").read_bytes()
_REFRESH_SECONDS = 2

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_LANE_PATH = re.compile(r"/lanes/([a-z.]{1,64})")


class ConsolePage:
    """The page, as a function from requests to responses.

    Args:
        redis: a redis-py asyncio client with ``decode_responses=False``.
        tenant: the owner of the reports.
        named: the setting or file that names Redis's address, for operators.
        clock_bound: how far clocks may be apart; beyond it no report is fresh.
    """

    def __init__(self, redis: Redis, *, tenant: str, named: str, clock_bound: timedelta = BOUND) -> None:
        self._redis = redis
        self._tenant = tenant
        self._named = named
        self._clock_bound = clock_bound

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def respond(self, request: PageRequest) -> PageResponse:
        """Return the response to a request; 503 if Redis does not answer."""
        return refusal(request) or _FIXED.get(request.path) or await self._looked_up(request)

    async def _looked_up(self, request: PageRequest) -> PageResponse:
        language = preferred_language(request.accept_language)
        if request.path == "/metrics":
            return await self._metrics(request)
        lane = _LANE_PATH.fullmatch(request.path)
        if lane is None and request.path not in {"/", "/api/depth"}:
            return _render("nothing.html", language, status=404)
        try:
            depth = await read_depth(self._redis, tenant=self._tenant, clock_bound=self._clock_bound)
        except (RedisError, OSError) as error:
            return self._away(request, language, str(error) or type(error).__name__)
        if request.path == "/api/depth":
            return _json(depth.to_json())
        return _overview(depth, language) if lane is None else _lane(depth, lane[1], language)

    async def _metrics(self, request: PageRequest) -> PageResponse:
        """Return the fleet's metrics; without an answer of Redis, those that say so."""
        page = FleetPage(self._redis, tenant=self._tenant, clock_bound=self._clock_bound)
        kind, body = await page.respond(request.accept)
        return PageResponse(body=body, kind=kind)

    def _away(self, request: PageRequest, language: Language, error: str) -> PageResponse:
        again = {"retry-after": str(_REFRESH_SECONDS)}
        if request.path == "/api/depth":
            reason = f"Redis does not answer at the address in {self._named}: {error}"
            return _json({"error": reason}, status=503, headers=again)
        return _render("away.html", language, status=503, headers=again, named=self._named, error=error)


def _overview(depth: Depth, language: Language) -> PageResponse:
    return _render("overview.html", language, depth=depth)


def _lane(depth: Depth, name: str, language: Language) -> PageResponse:
    lane = depth.lane(name)
    if lane is None:
        return _render("nothing.html", language, status=404)
    workers = [worker for worker in depth.workers if name in worker.lanes]
    return _render("lane.html", language, depth=depth, lane=lane, workers=workers)


def _render(
    template: str,
    language: Language,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: object,
) -> PageResponse:
    html = _PAGES.get_template(template).render(
        language=language,
        words=WORDS[language],
        refresh=_REFRESH_SECONDS,
        drain_text=drain_text,
        reason_text=reason_text,
        why_text=why_text,
        loss_text=loss_text,
        lane_limit_texts=lane_limit_texts,
        **values,
    )
    body = html.encode("utf-8", "replace")
    allowed = {"content-security-policy": _POLICY, **(headers or {})}
    return PageResponse(status=status, body=body, kind="text/html; charset=utf-8", headers=allowed)


def _json(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> PageResponse:
    body = orjson.dumps(value, option=orjson.OPT_UTC_Z)
    return PageResponse(status=status, body=body, kind="application/json", headers=headers or {})


_FIXED = {
    "/healthz": PageResponse(body=b"ok\n"),
    "/style.css": PageResponse(body=_STYLE, kind="text/css; charset=utf-8"),
}
