"""HTML and JSON of the console: the templates in `pages/`, with the same policy for every page.

Everything from elsewhere is escaped. A page loads one style sheet and one script of this server; inline scripts
and styles are forbidden, so that a text that slips through does nothing.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import jinja2
import orjson

from ops.console.chart import chart_value, draw_bars
from ops.console.exchange import PageResponse
from ops.console.payload import visible_text
from ops.console.visit import ConsoleVisit, address
from ops.depth.read import drains_at
from ops.depth.texts import drain_text, held_text, loss_text, reason_text, why_text
from ops.durations import duration_text
from ops.limits.texts import lane_limit_texts

REFRESH_SECONDS = 2
_FOLDER = Path(__file__).parent / "pages"


def _shown_value(value: object) -> object:
    """Return a value for a page: a text without control characters; markup stays unchanged."""
    return visible_text(value) if type(value) is str else value


def _instant(value: datetime | None) -> str:
    """Return an instant for a page, to the second, in the zone that it has; a dash for none."""
    return "\N{EN DASH}" if value is None else value.strftime("%Y-%m-%d %H:%M:%S")


_PAGES = jinja2.Environment(
    finalize=_shown_value,
    loader=jinja2.FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters["instant"] = _instant
_PAGES.globals |= {
    "address": address,
    "chart_value": chart_value,
    "drain_text": drain_text,
    "draw_bars": draw_bars,
    "drains_at": drains_at,
    "duration": duration_text,
    "held_text": held_text,
    "lane_limit_texts": lane_limit_texts,
    "loss_text": loss_text,
    "reason_text": reason_text,
    "why_text": why_text,
}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def render_page(
    template: str,
    visit: ConsoleVisit,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    cookies: tuple[str, ...] = (),
    reloads: bool = False,
    **values: object,
) -> PageResponse:
    """Return a page.

    Args:
        reloads: True if the page reloads itself where there is no JavaScript; one with a form must not.
    """
    html = _PAGES.get_template(template).render(
        visit=visit,
        language=visit.language,
        words=visit.words,
        refresh=REFRESH_SECONDS,
        reloads=reloads,
        **values,
    )
    body = html.encode("utf-8", "replace")
    fields = {"content-security-policy": _POLICY, **(headers or {})}
    return PageResponse(status=status, body=body, kind="text/html; charset=utf-8", headers=fields, cookies=cookies)


def load_pages() -> None:
    """Compile all templates, so that no operator waits for it; without it, the first request of each page does."""
    for name in _PAGES.list_templates(extensions=["html"]):
        _PAGES.get_template(name)


def json_response(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> PageResponse:
    """Return a JSON response."""
    body = orjson.dumps(value, option=orjson.OPT_UTC_Z)
    return PageResponse(status=status, body=body, kind="application/json", headers=headers or {})


def redirect(path: str, *, cookies: tuple[str, ...] = ()) -> PageResponse:
    """Return the redirect after a form: the browser loads the next page with GET (RFC 9110, 15.4.4)."""
    return PageResponse(status=303, headers={"location": path}, cookies=cookies)


def read_asset(name: str) -> bytes:
    """Return a file of the pages' folder."""
    return (_FOLDER / name).read_bytes()
