"""Page that shows the caught mails, also as JSON.

    GET  /                           the mails, newest first: ?q= words, ?before= a number
    GET  /messages/N                 one mail: ?view= html, plain, header, attachments or source
    GET  /messages/N/html            its HTML body, for the frame
    GET  /messages/N/attachments/K   an attachment, counted from 1
    GET  /messages/N/raw             the bytes as they arrived
    POST /messages/N/delete          delete it
    POST /delete                     delete all, or those with the words of the field q
    GET, DELETE /api/messages        the same as JSON, oldest first: ?q= words
    GET, DELETE /api/messages/N
    GET  /healthz                    200 while it serves

Every mail counts as hostile: its HTML is shown in a frame without scripts and with a content policy that loads
nothing from elsewhere; its links open in a new tab; everything else is escaped. The pages have one script, which
keeps the list up to date and is not needed.

`page_response` decides; the console's HTTP server serves it. Refused: another method (405), another path (404),
a Host that is not this machine (421), since a web page may point its own name at 127.0.0.1 to read the mails (DNS
rebinding), and a deletion that a page of another origin sent (403).
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

import jinja2

from local.sink.contents import MailContents, read_contents
from local.sink.mail import CaughtMail
from local.sink.mailbox import Mailbox
from local.sink.texts import WORDS
from ops.console.access import Operator
from ops.console.exchange import PageRequest, PageResponse, refusal
from ops.console.forms import form_token, is_own_form, read_fields, read_form
from ops.console.render import read_asset
from ops.language import Language, preferred_language
from sessions.cross_origin import is_cross_origin

PAGE_SIZE = 50
"""Mails on one page of the list."""
_FOLDER = Path(__file__).parent / "pages"
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_STYLE = (_FOLDER / "style.css").read_bytes()
_REFRESH_SECONDS = 3
_OWNER = Operator("", "operate", "local")
"""The user of this machine; there is no log-in."""
_METHODS = ("GET", "HEAD", "POST", "DELETE")

_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SANDBOX = "allow-popups allow-popups-to-escape-sandbox"
"""Sandbox of the frame with a mail: its links may open a tab, and nothing else."""
_MAIL_POLICY = (
    f"sandbox {SANDBOX}; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'"
)


class _Visit:
    """A request, and where it goes."""

    def __init__(self, mailbox: Mailbox, request: PageRequest) -> None:
        self.mailbox = mailbox
        self.request = request
        self.language: Language = preferred_language(request.accept_language)
        self.fields = read_fields(request.query)

    @property
    def words(self) -> str:
        """The words that are searched for."""
        return self.fields.get("q", "").strip()


def page_response(mailbox: Mailbox, request: PageRequest) -> PageResponse:
    """Return the response to a request. Never raises for its content."""
    if refused := refusal(request, methods=_METHODS):
        return refused
    visit = _Visit(mailbox, request)
    for pattern, views in _VIEWS.items():
        if match := re.fullmatch(pattern, request.path, re.ASCII):
            view = views.get("GET" if request.method == "HEAD" else request.method)
            if view is None:
                allowed = [*(["GET", "HEAD"] if "GET" in views else []), *(one for one in views if one != "GET")]
                return PageResponse(status=405, headers={"allow": ", ".join(allowed)})
            return view(visit, *(int(part) for part in match.groups())) or _nothing(visit)
    return _nothing(visit)


# Pages


def _list(visit: _Visit) -> PageResponse:
    found = visit.mailbox.find_mails(visit.words)[::-1]
    before = _number(visit.fields.get("before", ""))
    mails = [mail for mail in found if before is None or mail.number < before]
    return _render(
        "list.html",
        visit,
        total=len(found),
        mails=mails[:PAGE_SIZE],
        is_first=before is None,
        has_more=len(mails) > PAGE_SIZE,
        reloads=before is None and not visit.words,
    )


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,12}", text, re.ASCII) else None


def _message(visit: _Visit, number: int) -> PageResponse | None:
    mail = visit.mailbox.mail(number)
    if mail is None:
        return None
    contents = read_contents(mail.raw)
    views = _views_of(contents)
    asked = visit.fields.get("view", "")
    kept = [one.number for one in visit.mailbox.mails]
    at = kept.index(number)
    return _render(
        "message.html",
        visit,
        mail=mail,
        contents=contents,
        views=views,
        view=asked if asked in views else views[0],
        source=mail.raw.decode("utf-8", "replace"),
        newer=kept[at + 1] if at + 1 < len(kept) else None,
        older=kept[at - 1] if at else None,
    )


def _views_of(contents: MailContents) -> list[str]:
    """The views of a mail, the best first."""
    has = {
        "html": contents.html is not None,
        "plain": contents.plain is not None,
        "header": True,
        "attachments": bool(contents.attachments),
        "source": True,
    }
    return [view for view, is_there in has.items() if is_there]


def _message_html(visit: _Visit, number: int) -> PageResponse | None:
    mail = visit.mailbox.mail(number)
    html = None if mail is None else read_contents(mail.raw).shown_html
    if html is None:
        return None
    body = html.encode("utf-8", "replace")
    return PageResponse(
        body=body, kind="text/html; charset=utf-8", headers={"content-security-policy": _MAIL_POLICY}
    )


def _attachment(visit: _Visit, number: int, place: int) -> PageResponse | None:
    mail = visit.mailbox.mail(number)
    attachments = () if mail is None else read_contents(mail.raw).attachments
    if not 1 <= place <= len(attachments):
        return None
    one = attachments[place - 1]
    name = quote(one.name or f"{number}-{place}", safe="")
    return PageResponse(
        body=one.octets,
        kind="application/octet-stream",  # a browser saves it, whatever the mail says that it is
        headers={"content-disposition": f"attachment; filename*=UTF-8''{name}"},
    )


def _message_raw(visit: _Visit, number: int) -> PageResponse | None:
    mail = visit.mailbox.mail(number)
    return None if mail is None else PageResponse(body=mail.raw)


def _delete_message(visit: _Visit, number: int) -> PageResponse:
    return _delete_by_form(visit, lambda _fields: [number])


def _delete_found(visit: _Visit) -> PageResponse:
    return _delete_by_form(visit, lambda fields: _numbers_with(visit.mailbox, fields.get("q", "")))


def _delete_by_form(visit: _Visit, chosen: Callable[[Mapping[str, str]], list[int]]) -> PageResponse:
    fields = read_form(visit.request)
    if not is_own_form(visit.request, fields, _OWNER):
        return _render("told.html", visit, status=403, told="refused")
    visit.mailbox.delete_mails(chosen(fields))
    return PageResponse(status=303, headers={"location": "/"})


def _numbers_with(mailbox: Mailbox, words: str) -> list[int]:
    return [mail.number for mail in mailbox.find_mails(words)]


# JSON


def _api_list(visit: _Visit) -> PageResponse:
    return _json(
        {
            "accepted": visit.mailbox.accepted,
            "duplicates": visit.mailbox.duplicates,
            "messages": [_summary(visit.mailbox, mail) for mail in visit.mailbox.find_mails(visit.words)],
        }
    )


def _api_message(visit: _Visit, number: int) -> PageResponse:
    mail = visit.mailbox.mail(number)
    if mail is None:
        return _json({"error": f"No message {number} is kept."}, status=404)
    contents = read_contents(mail.raw)
    return _json(
        {
            **_summary(visit.mailbox, mail),
            "header": contents.header,
            "plain": contents.plain,
            "html": contents.html,
            "attachments": [
                {"name": one.name, "type": one.kind, "content_id": one.content_id, "size": len(one.octets)}
                for one in contents.attachments
            ],
            "raw_base64": base64.b64encode(mail.raw).decode("ascii"),
        }
    )


def _api_delete_message(visit: _Visit, number: int) -> PageResponse:
    return _api_delete(visit, [number])


def _api_delete_list(visit: _Visit) -> PageResponse:
    return _api_delete(visit, _numbers_with(visit.mailbox, visit.words))


def _api_delete(visit: _Visit, numbers: list[int]) -> PageResponse:
    if is_cross_origin(visit.request.method, visit.request.headers.get):
        return _json({"error": "A page of another origin may not delete mails."}, status=403)
    return _json({"deleted": visit.mailbox.delete_mails(numbers)})


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


def _json(value: object, *, status: int = 200) -> PageResponse:
    return PageResponse(status=status, body=json.dumps(value).encode(), kind="application/json")


# The rest


def _health(_visit: _Visit) -> PageResponse:
    return PageResponse(body=b"ok\n")


def _style(_visit: _Visit) -> PageResponse:
    return PageResponse(body=_STYLE, kind="text/css; charset=utf-8")


def _script(_visit: _Visit) -> PageResponse:
    return PageResponse(body=read_asset("console.js"), kind="text/javascript; charset=utf-8")


def _nothing(visit: _Visit) -> PageResponse:
    return _render("told.html", visit, status=404, told="not_found")


_View = Callable[..., PageResponse | None]
_VIEWS: dict[str, dict[str, _View]] = {
    r"/": {"GET": _list},
    r"/delete": {"POST": _delete_found},
    r"/messages/(\d{1,12})": {"GET": _message},
    r"/messages/(\d{1,12})/html": {"GET": _message_html},
    r"/messages/(\d{1,12})/attachments/(\d{1,4})": {"GET": _attachment},
    r"/messages/(\d{1,12})/raw": {"GET": _message_raw},
    r"/messages/(\d{1,12})/delete": {"POST": _delete_message},
    r"/api/messages": {"GET": _api_list, "DELETE": _api_delete_list},
    r"/api/messages/(\d{1,12})": {"GET": _api_message, "DELETE": _api_delete_message},
    r"/healthz": {"GET": _health},
    r"/style\.css": {"GET": _style},
    r"/console\.js": {"GET": _script},
}


def _render(
    template: str, visit: _Visit, *, status: int = 200, reloads: bool = False, **values: object
) -> PageResponse:
    html = _PAGES.get_template(template).render(
        language=visit.language,
        words=WORDS[visit.language],
        mailbox=visit.mailbox,
        query=visit.words,
        refresh=_REFRESH_SECONDS,
        reloads=reloads,
        sandbox=SANDBOX,
        form=form_token(_OWNER),
        **values,
    )
    return PageResponse(
        status=status,
        body=html.encode("utf-8", "replace"),
        kind="text/html; charset=utf-8",
        headers={"content-security-policy": _PAGE_POLICY},
    )
