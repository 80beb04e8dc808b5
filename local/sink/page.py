"""Page that shows the caught mails, also as JSON. Read only.

    GET /                      the mails, newest first           GET /api/messages        the same as JSON
    GET /messages/N            one mail                          GET /api/messages/N      the same as JSON
    GET /messages/N/html       its HTML body, for the iframe     GET /healthz             200 while it serves
    GET /messages/N/raw        the bytes as they arrived

Every mail counts as hostile: its HTML is shown in an iframe with every sandbox restriction and a content policy
that loads nothing; all else is escaped. No page has a script.

`page_response` decides; the console's HTTP server serves it. Refused: another method (405), another path (404),
and a Host that is not this machine (421), since a web page may point its own name at 127.0.0.1 to read
the mails (DNS rebinding).
"""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import jinja2

from local.sink.mail import CaughtMail
from local.sink.mailbox import Mailbox
from local.sink.texts import WORDS
from ops.console.exchange import PageRequest, PageResponse, refusal
from ops.language import Language, preferred_language

_FOLDER = Path(__file__).parent / "pages"
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)
_STYLE = (_FOLDER / "style.css").read_bytes()
_REFRESH_SECONDS = 5

_PAGE_POLICY = "default-src 'none'; style-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'"
_MAIL_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


def page_response(mailbox: Mailbox, request: PageRequest) -> PageResponse:
    """Return the response to a request. Never raises for its content."""
    if refused := refusal(request):
        return refused
    for pattern, view in _VIEWS.items():
        if match := re.fullmatch(pattern, request.path, re.ASCII):
            found = view(
                mailbox, preferred_language(request.accept_language), *(int(part) for part in match.groups())
            )
            return found or _nothing(mailbox, preferred_language(request.accept_language))
    return _nothing(mailbox, preferred_language(request.accept_language))


def _list(mailbox: Mailbox, language: Language) -> PageResponse:
    return _render("list.html", language, mailbox=mailbox, refresh=_REFRESH_SECONDS)


def _message(mailbox: Mailbox, language: Language, number: int) -> PageResponse | None:
    mail = mailbox.mail(number)
    if mail is None:
        return None
    has_html = mail.part("html") is not None
    return _render(
        "message.html", language, mailbox=mailbox, mail=mail, plain=mail.part("plain"), has_html=has_html
    )


def _message_html(mailbox: Mailbox, _language: Language, number: int) -> PageResponse | None:
    mail = mailbox.mail(number)
    html = None if mail is None else mail.part("html")
    if html is None:
        return None
    body = html.encode("utf-8", "replace")
    return PageResponse(
        body=body, kind="text/html; charset=utf-8", headers={"content-security-policy": _MAIL_POLICY}
    )


def _message_raw(mailbox: Mailbox, _language: Language, number: int) -> PageResponse | None:
    mail = mailbox.mail(number)
    return None if mail is None else PageResponse(body=mail.raw)


def _api_list(mailbox: Mailbox, _language: Language) -> PageResponse:
    return _json(
        {
            "accepted": mailbox.accepted,
            "duplicates": mailbox.duplicates,
            "messages": [_summary(mailbox, mail) for mail in mailbox.mails],
        }
    )


def _api_message(mailbox: Mailbox, _language: Language, number: int) -> PageResponse:
    mail = mailbox.mail(number)
    if mail is None:
        return _json({"error": f"No message {number} is kept."}, status=404)
    bodies = {"plain": mail.part("plain"), "html": mail.part("html")}
    return _json({**_summary(mailbox, mail), **bodies, "raw_base64": base64.b64encode(mail.raw).decode("ascii")})


def _health(_mailbox: Mailbox, _language: Language) -> PageResponse:
    return PageResponse(body=b"ok\n")


def _style(_mailbox: Mailbox, _language: Language) -> PageResponse:
    return PageResponse(body=_STYLE, kind="text/css; charset=utf-8")


_VIEWS: dict[str, Callable[..., PageResponse | None]] = {
    r"/": _list,
    r"/messages/(\d{1,12})": _message,
    r"/messages/(\d{1,12})/html": _message_html,
    r"/messages/(\d{1,12})/raw": _message_raw,
    r"/api/messages": _api_list,
    r"/api/messages/(\d{1,12})": _api_message,
    r"/healthz": _health,
    r"/style\.css": _style,
}


def _nothing(_mailbox: Mailbox, language: Language) -> PageResponse:
    return _render("nothing.html", language, status=404)


def _summary(mailbox: Mailbox, mail: CaughtMail) -> dict[str, object]:
    return {
        "number": mail.number,
        "received_at": mail.received_at.isoformat(),
        "from": mail.sender,
        "to": mail.recipients,
        "message_id": mail.message_id,
        "subject": mail.subject,
        "size": len(mail.raw),
        "times": mailbox.times(mail.message_id),
    }


def _render(template: str, language: Language, *, status: int = 200, **values: object) -> PageResponse:
    html = _PAGES.get_template(template).render(language=language, words=WORDS[language], **values)
    return PageResponse(
        status=status,
        body=html.encode("utf-8", "replace"),
        kind="text/html; charset=utf-8",
        headers={"content-security-policy": f"{_PAGE_POLICY}; frame-ancestors 'none'"},
    )


def _json(value: object, *, status: int = 200) -> PageResponse:
    return PageResponse(status=status, body=json.dumps(value).encode(), kind="application/json")
