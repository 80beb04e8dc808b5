"""Log-in with a service token, for browsers: the form's token becomes a cookie that ends after twelve hours.

The cookie does not hold the token but is signed with it, so that it ends when the token leaves the settings. It is
Secure under every name but this machine's own, which a browser may use without TLS.
"""

import time

from ops.console.access import COOKIE, COOKIE_LIFE_S, AccessRules, write_cookie
from ops.console.exchange import PageRequest, PageResponse
from ops.console.forms import read_form
from ops.console.render import redirect, render_page
from ops.console.visit import LANGUAGE_COOKIE, ConsoleVisit, own_path
from ops.language import LANGUAGES
from sessions.cookie import is_loopback
from sessions.cross_origin import is_cross_origin

_YEAR_S = 365 * 24 * 3600


def show_form(visit: ConsoleVisit, *, status: int = 200, wrong: bool = False) -> PageResponse:
    """Return the log-in page; `status` 401 for a page that needs a log-in."""
    headers = {"www-authenticate": 'Bearer realm="momentus console"'} if status == 401 else {}  # noqa: PLR2004
    return render_page("log_in.html", visit, status=status, headers=headers, wrong=wrong)


def log_in(visit: ConsoleVisit, rules: AccessRules) -> PageResponse:
    """Give the browser a cookie for the token in the form."""
    if is_cross_origin(visit.request.method, visit.request.headers.get):
        return show_form(visit, status=403)
    fields = read_form(visit.request)
    known = rules.find_token(fields.get("token", "").strip())
    if known is None:
        return show_form(visit, status=403, wrong=True)
    value = write_cookie(known, until_s=int(time.time()) + COOKIE_LIFE_S)
    return redirect(own_path(fields.get("back", "/")), cookies=(_cookie(visit.request, value, COOKIE_LIFE_S),))


def log_out(visit: ConsoleVisit) -> PageResponse:
    """Delete the cookie."""
    return redirect("/", cookies=(_cookie(visit.request, "", 0),))


def choose_language(visit: ConsoleVisit) -> PageResponse:
    """Remember the language that the path names."""
    chosen = next((one for one in LANGUAGES if visit.request.path == f"/language/{one}"), visit.language)
    cookie = f"{LANGUAGE_COOKIE}={chosen}; Max-Age={_YEAR_S}; Path=/; HttpOnly; SameSite=Lax"
    return redirect(own_path(visit.query.get("back", "/")), cookies=(cookie,))


def _cookie(request: PageRequest, value: str, seconds: int) -> str:
    secure = "" if is_loopback(request.host) else "; Secure"
    return f"{COOKIE}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict{secure}"
