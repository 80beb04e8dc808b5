"""The mail sink takes every mail, shows it safely, and goes wrong exactly as it is told to."""

import asyncio
import base64
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, timedelta
from email.message import EmailMessage
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiosmtplib
import pytest

from local.embedded.ports import free_port
from local.sink.__main__ import main
from local.sink.contents import read_contents
from local.sink.mailbox import Mailbox
from local.sink.page import page_response
from local.sink.smtp import DropPoint, MailSink, SinkFaults
from local.supervisor.process import Process
from local.supervisor.ready import http_ok
from local.supervisor.supervisor import Supervisor
from ops.console.exchange import PageRequest, PageResponse
from tests.support import eventually

ROOT = Path(__file__).parents[2]
MARIA, JOSE = "maria@momentus.example", "jose@momentus.example"
VIEWS = ["html", "plain", "header", "attachments", "source"]


def message(subject: str = "Tarea asignada", *, message_id: str = "<1@momentus.example>") -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"], mail["Message-ID"] = MARIA, JOSE, subject, message_id
    mail.set_content("Hola José")
    mail.add_alternative("<p>Hola <b>José</b></p><script>alert(1)</script>", subtype="html")
    mail.set_boundary("part")
    return mail


async def send(port: int, mail: EmailMessage | None = None, *, to: str = JOSE) -> str:
    """Send one mail over a connection of its own; the reply to the final dot."""
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, timeout=10) as client:
        _, reply = await client.sendmail(MARIA, [to], (mail or message()).as_bytes())
        return reply


# Mails


async def test_a_mail_is_kept_as_it_came_with_its_envelope(smtp_sink: MailSink) -> None:
    await send(smtp_sink.port, message("Reunión mañana"))
    (mail,) = await smtp_sink.mailbox.wait_for(1)
    assert (mail.sender, mail.recipients, mail.message_id) == (MARIA, (JOSE,), "<1@momentus.example>")
    assert mail.subject == "Reunión mañana"
    assert mail.raw == message("Reunión mañana").as_bytes().replace(b"\n", b"\r\n")
    assert mail.received_at.tzinfo is UTC
    assert read_contents(mail.raw).plain == "Hola José\n"


async def test_a_repeated_message_id_is_counted_beyond_the_mails_kept() -> None:
    mailbox = Mailbox(keep=2)
    async with MailSink(mailbox) as sink:
        for number in (1, 2, 3, 1):
            await send(sink.port, message(message_id=f"<{number}@x>"))
    assert [mail.number for mail in mailbox.mails] == [3, 4]
    assert mailbox.accepted == 4
    assert mailbox.duplicates == {"<1@x>": 2}
    assert mailbox.times("<3@x>") == 1
    assert mailbox.mail(1) is None


async def test_waiting_for_mail_that_does_not_come_says_how_many_came(smtp_sink: MailSink) -> None:
    await send(smtp_sink.port)
    with pytest.raises(TimeoutError, match="1 of 2 mails"):
        await smtp_sink.mailbox.wait_for(2, timeout=0.05)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\x00 no header at all",
        b"Subject: =?no-such-charset?q?x?=\r\nContent-Type: text/html; charset=nope\r\n\r\n<p>",
        b"Subject: a\r\n folded\r\nMessage-ID:\r\nContent-Type: multipart/mixed\r\n\r\n--",
        b"Subject: =?utf-8?b?!!!?=\r\n\r\n",
    ],
)
def test_a_malformed_mail_is_kept_and_shown_all_the_same(raw: bytes) -> None:
    mailbox = Mailbox()
    assert mailbox.keep_mail("", [JOSE], raw).raw == raw
    assert get(mailbox, "/").status == 200
    assert get(mailbox, "/messages/1").status == 200
    assert base64.b64decode(json.loads(get(mailbox, "/api/messages/1").body)["raw_base64"]) == raw


# Faults


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: Capas\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 1200,
        b"Subject: Capas\r\nContent-Type: text/plain; charset*=\x00''x\r\n\r\nx",
    ],
    ids=["nested", "null"],
)
def test_a_mail_that_cannot_be_read_shows_its_header_and_spoils_no_search(raw: bytes) -> None:
    mailbox = Mailbox()
    mailbox.keep_mail(MARIA, [JOSE], raw)
    mailbox.keep_mail(MARIA, [JOSE], message("Otra").as_bytes())
    assert read_contents(raw).header[0] == ("Subject", "Capas")
    assert [one.number for one in mailbox.find_mails("capas")] == [1]
    assert [one.number for one in mailbox.find_mails("hola")] == [2]


async def test_the_reply_waits_as_long_as_it_is_told(smtp_sink: MailSink) -> None:
    smtp_sink.faults = SinkFaults(delay_min=timedelta(hours=1))
    sending = asyncio.create_task(send(smtp_sink.port))
    await eventually(lambda: smtp_sink.delaying == 1)
    assert not smtp_sink.mailbox.accepted
    await smtp_sink.refuse_connections()
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await sending


def test_delays_are_drawn_from_the_range_and_repeat_with_the_seed() -> None:
    faults = SinkFaults(delay_min=timedelta(seconds=2), delay_max=timedelta(seconds=3), seed=7)
    first, second = MailSink(Mailbox(), faults), MailSink(Mailbox(), faults)
    drawn = [first.reply_delay() for _ in range(50)]
    assert drawn == [second.reply_delay() for _ in range(50)]
    assert 2 <= min(drawn) < 2.2
    assert 2.8 < max(drawn) <= 3


async def test_a_share_of_the_mails_meets_451_and_is_not_kept(smtp_sink: MailSink) -> None:
    smtp_sink.faults = SinkFaults(temporary_share=0.5)
    sent = await asyncio.gather(*(send(smtp_sink.port) for _ in range(20)), return_exceptions=True)
    refusals = [end for end in sent if isinstance(end, aiosmtplib.SMTPDataError)]
    assert {refusal.code for refusal in refusals} == {451}
    assert smtp_sink.mailbox.accepted == 20 - len(refusals) > 0


async def test_a_given_address_is_refused_at_rcpt_and_others_are_not(smtp_sink: MailSink) -> None:
    smtp_sink.faults = SinkFaults(recipient_replies={JOSE: "550 5.1.1 No such user"})
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refusal:
        await send(smtp_sink.port, to="Jose@Momentus.example")
    assert refusal.value.recipients[0].code == 550
    await send(smtp_sink.port, to=MARIA)
    assert smtp_sink.mailbox.accepted == 1


@pytest.mark.parametrize(("drop", "kept"), [(DropPoint.BEFORE_DOT, 0), (DropPoint.BEFORE_REPLY, 1)])
async def test_a_dropped_connection_loses_or_keeps_the_mail_by_its_moment(
    smtp_sink: MailSink, drop: DropPoint, kept: int
) -> None:
    smtp_sink.faults = SinkFaults(drop=drop, drop_first=1)
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send(smtp_sink.port)
    assert smtp_sink.mailbox.accepted == kept
    await send(smtp_sink.port)
    assert smtp_sink.mailbox.times("<1@momentus.example>") == kept + 1


async def test_refused_connections_are_accepted_again_on_the_same_port(smtp_sink: MailSink) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=smtp_sink.port, start_tls=False) as client:
        assert smtp_sink.connections == 1
        await smtp_sink.refuse_connections()
        assert smtp_sink.connections == 0
        with pytest.raises(aiosmtplib.SMTPServerDisconnected):
            await client.noop()
    with pytest.raises(aiosmtplib.SMTPConnectError):
        await send(smtp_sink.port)
    await smtp_sink.accept_connections()
    await send(smtp_sink.port)
    assert smtp_sink.mailbox.accepted == 1


# The page


def get(mailbox: Mailbox, path: str, *, method: str = "GET", **fields: Any) -> PageResponse:
    return page_response(mailbox, PageRequest(method=method, path=path, host="127.0.0.1:8025", **fields))


@pytest.fixture
def mailbox() -> Mailbox:
    mailbox = Mailbox()
    mailbox.keep_mail(MARIA, [JOSE], message("<script>alert(1)</script>").as_bytes())
    return mailbox


@pytest.mark.parametrize(
    ("accept_language", "words"),
    [
        ("es-CL,es;q=0.9,en;q=0.8", "Correo recogido"),
        ("en-GB,es;q=0.5", "Caught mail"),
        ("fr", "Caught mail"),
        ("", "Caught mail"),
        ("es;q=nonsense", "Caught mail"),
        ("en;q=0, es;q=0.1", "Correo recogido"),
    ],
)
def test_the_page_speaks_the_readers_language(mailbox: Mailbox, accept_language: str, words: str) -> None:
    for path in ("/", "/messages/1", "/nowhere"):
        assert words in get(mailbox, path, accept_language=accept_language).body.decode()


def test_nothing_a_mail_says_becomes_part_of_the_page(mailbox: Mailbox) -> None:
    for path in ("/", "/messages/1"):
        page = get(mailbox, path).body
        assert b"&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert page.count(b"<script") == page.count(b'<script src="/console.js" defer></script>') == 1


def test_html_mail_is_shown_in_a_sandbox_that_loads_nothing_and_opens_links_in_a_new_tab(mailbox: Mailbox) -> None:
    allowed = "allow-popups allow-popups-to-escape-sandbox"
    assert f'<iframe sandbox="{allowed}" src="/messages/1/html"' in get(mailbox, "/messages/1").body.decode()
    shown = get(mailbox, "/messages/1/html")
    policy = dict(shown.all_headers)["content-security-policy"]
    assert shown.body.decode().startswith('<base target="_blank"><p>Hola <b>José</b></p>')
    assert policy.startswith(f"sandbox {allowed}; default-src 'none'")
    assert "script" not in policy
    assert "base-uri 'none'" in policy
    assert "form-action 'none'" in policy


def with_everything() -> bytes:
    mail = message("Factura de mayo", message_id="<2@momentus.example>")
    (html,) = [part for part in mail.walk() if part.get_content_type() == "text/html"]
    html.set_content('<p>Ver <img src="cid:logo"> <img src="cid:absent"> <img src="cid:plan"></p>', subtype="html")
    html.add_related(b"\x89PNG", "image", "png", cid="<logo>")
    html.add_related(b"<svg/>", "image", "svg+xml", cid="<plan>")
    mail.add_attachment("a;b\n", subtype="csv", filename='ventas "mayo" ñ.csv')
    mail.add_attachment(message("adentro"))
    return mail.as_bytes()


def test_each_part_of_a_mail_can_be_looked_at(mailbox: Mailbox) -> None:
    mailbox.keep_mail(MARIA, [JOSE], with_everything())
    page = get(mailbox, "/messages/2").body.decode()
    views = re.findall(r'href="/messages/2\?view=(\w+)"( aria-current="page")?', page)
    assert views == [("html", ' aria-current="page"'), *((one, "") for one in VIEWS[1:])]
    shown = {view: get(mailbox, "/messages/2", query=f"view={view}").body.decode() for view in VIEWS}
    assert "<iframe" in shown["html"]
    assert '<pre tabindex="0">Hola José\n' in shown["plain"]
    assert "<dt>Subject</dt><dd>Factura de mayo</dd>" in shown["header"]
    assert "ventas &#34;mayo&#34; ñ.csv</a></td><td>text/csv</td><td>4</td>" in shown["attachments"]
    assert "Content-Type: multipart/" in shown["source"]
    assert all("<iframe" not in text for view, text in shown.items() if view != "html")
    for view in ("nonsense", "attachments"):
        assert "<iframe" in get(mailbox, "/messages/1", query=f"view={view}").body.decode()


def test_attachments_come_as_they_were_and_are_saved_rather_than_shown(mailbox: Mailbox) -> None:
    mailbox.keep_mail(MARIA, [JOSE], with_everything())
    listed = json.loads(get(mailbox, "/api/messages/2").body)["attachments"]
    assert [(one["name"], one["type"], one["content_id"]) for one in listed] == [
        ("", "image/png", "logo"),
        ("", "image/svg+xml", "plan"),
        ('ventas "mayo" ñ.csv', "text/csv", ""),
        ("", "message/rfc822", ""),
    ]
    table = get(mailbox, "/messages/2/attachments/3")
    assert (table.body, table.kind) == (b"a;b\n", "application/octet-stream")
    name = "ventas%20%22mayo%22%20%C3%B1.csv"
    assert table.headers["content-disposition"] == f"attachment; filename*=UTF-8''{name}"
    attached = get(mailbox, "/messages/2/attachments/4").body
    assert b"Subject: adentro" in attached
    assert listed[3]["size"] == len(attached)
    for path in ("/messages/2/attachments/0", "/messages/2/attachments/5", "/messages/9/attachments/1"):
        assert get(mailbox, path).status == 404


def test_html_mail_shows_its_own_pictures_and_no_others(mailbox: Mailbox) -> None:
    mailbox.keep_mail(MARIA, [JOSE], with_everything())
    html = get(mailbox, "/messages/2/html").body.decode()
    picture = base64.b64encode(b"\x89PNG").decode()
    assert f'src="data:image/png;base64,{picture}"' in html
    assert 'src="cid:absent"' in html
    assert 'src="cid:plan"' in html


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", [2, 1]),
        ("FACTURA", [2]),
        ("mayo jose@", [2]),
        ("factura <1@momentus", []),
        ("<1@momentus", [1]),
        ("hola", [2, 1]),
        ("ventas", [2]),
        ("multipart", []),
    ],
)
def test_mails_are_found_by_all_words_in_what_people_read_of_them(
    mailbox: Mailbox, words: str, found: list[int]
) -> None:
    mailbox.keep_mail(MARIA, [JOSE], with_everything())
    query = urlencode({"q": words})
    page = get(mailbox, "/", query=query).body.decode()
    assert [int(number) for number in re.findall(r'data-key="(\d+)"', page)] == found
    listed = json.loads(get(mailbox, "/api/messages", query=query).body)["messages"]
    assert [one["number"] for one in listed] == found[::-1]


def test_a_long_list_has_pages(mailbox: Mailbox) -> None:
    for number in range(2, 121):
        mailbox.keep_mail(MARIA, [JOSE], message(f"n{number}").as_bytes())
    numbers: list[int] = []
    query: str | None = "q=hola"
    while query is not None:
        page = get(mailbox, "/", query=query).body.decode()
        numbers += [int(number) for number in re.findall(r'data-key="(\d+)"', page)]
        after = re.search(r'href="/\?(q=hola&amp;before=\d+)"', page)
        query = after and unescape(after[1])
    assert numbers == list(range(120, 0, -1))
    assert "No kept mail matches" in get(mailbox, "/", query="before=1").body.decode()
    assert get(mailbox, "/", query="before=many").body.decode().count("data-key") == 50


def form_of(mailbox: Mailbox, path: str, query: str = "") -> str:
    (token,) = set(re.findall(r'name="form" value="(\w+)"', get(mailbox, path, query=query).body.decode()))
    return str(token)


def test_mails_are_deleted_one_by_one_by_words_or_all_and_stay_counted(mailbox: Mailbox) -> None:
    for number in (2, 3, 4):
        mailbox.keep_mail(MARIA, [JOSE], message(f"n{number}").as_bytes())
    form = form_of(mailbox, "/messages/4")
    gone = get(mailbox, "/messages/4/delete", method="POST", body=urlencode({"form": form}).encode())
    assert (gone.status, gone.headers["location"]) == (303, "/")
    assert get(mailbox, "/messages/4").status == 404
    get(mailbox, "/delete", method="POST", body=urlencode({"form": form, "q": "n3"}).encode())
    assert [mail.number for mail in mailbox.mails] == [1, 2]
    assert json.loads(get(mailbox, "/api/messages", method="DELETE", query="q=n2").body) == {"deleted": 1}
    assert json.loads(get(mailbox, "/api/messages/2", method="DELETE").body) == {"deleted": 0}
    get(mailbox, "/delete", method="POST", body=urlencode({"form": form}).encode())
    assert not mailbox.mails
    assert (mailbox.accepted, mailbox.times("<1@momentus.example>")) == (4, 4)
    assert "No mail is kept any more." in get(mailbox, "/").body.decode()
    assert "No mail has arrived yet." in get(Mailbox(), "/").body.decode()


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_origin_deletes_nothing(mailbox: Mailbox, site: str) -> None:
    body = urlencode({"form": form_of(mailbox, "/")}).encode()
    for path, method in (("/delete", "POST"), ("/messages/1/delete", "POST"), ("/api/messages", "DELETE")):
        refused = get(mailbox, path, method=method, body=body, headers={"sec-fetch-site": site})
        assert refused.status == 403
    assert get(mailbox, "/delete", method="POST", body=b"form=made-up").status == 403
    assert get(mailbox, "/delete", method="POST").status == 403
    assert len(mailbox.mails) == 1


def test_the_list_reloads_by_itself_without_javascript_but_not_while_somebody_searches(mailbox: Mailbox) -> None:
    again = b'<noscript><meta http-equiv="refresh"'
    assert again in get(mailbox, "/").body
    assert again not in get(mailbox, "/", query="q=hola").body
    assert again not in get(mailbox, "/messages/1").body
    assert b"data-live" in get(mailbox, "/").body
    assert get(mailbox, "/console.js").kind == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "path", ["/", "/messages/1", "/messages/1/html", "/messages/1/raw", "/api/messages", "/x", "/healthz"]
)
def test_every_answer_forbids_what_it_does_not_need(mailbox: Mailbox, path: str) -> None:
    headers = dict(get(mailbox, path).all_headers)
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_mails_are_listed_and_read_as_json(mailbox: Mailbox) -> None:
    mailbox.keep_mail(MARIA, [JOSE], message("again").as_bytes())
    listed = json.loads(get(mailbox, "/api/messages").body)
    assert listed["accepted"] == 2
    assert listed["duplicates"] == {"<1@momentus.example>": 2}
    assert [mail["number"] for mail in listed["messages"]] == [1, 2]
    one = json.loads(get(mailbox, "/api/messages/2").body)
    assert (one["subject"], one["to"], one["times"]) == ("again", [JOSE], 2)
    assert one["plain"] == "Hola José\n"
    assert base64.b64decode(one["raw_base64"]) == message("again").as_bytes()


@pytest.mark.parametrize(
    "path",
    ["/x", "/messages/", "/messages/2", "/messages/2/raw", "/messages/-1", "/api/messages/2", "/../etc/passwd"],
)
def test_every_other_path_is_404(mailbox: Mailbox, path: str) -> None:
    assert get(mailbox, path).status == 404


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/", "POST", "GET, HEAD"),
        ("/", "PUT", "GET, HEAD, POST, DELETE"),
        ("/delete", "GET", "POST"),
        ("/api/messages", "POST", "GET, HEAD, DELETE"),
    ],
)
def test_every_other_method_is_405(mailbox: Mailbox, path: str, method: str, allowed: str) -> None:
    refused = get(mailbox, path, method=method)
    assert (refused.status, refused.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example"])
def test_a_foreign_host_name_is_refused(mailbox: Mailbox, host: str) -> None:
    assert page_response(mailbox, PageRequest(method="GET", path="/", host=host)).status == 421


# The program


class Program:
    """`python -m local.sink` on free ports."""

    def __init__(self) -> None:
        self.smtp_port, self.http_port = free_port(), free_port()
        self.lines: list[str] = []

    def process(self) -> Process:
        ports = ["--smtp-port", str(self.smtp_port), "--http-port", str(self.http_port)]
        return Process(
            name="sink",
            argv=[sys.executable, "-m", "local.sink", *ports, "--refuse", MARIA],
            cwd=ROOT,
            ready=http_ok(self.http_port),
        )

    async def get(self, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.http_port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answered = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answered


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    program = Program()
    async with Supervisor([program.process()], log=lambda _, line: program.lines.append(line)):
        yield program


async def test_the_program_shows_on_its_page_what_it_took_over_smtp(program: Program) -> None:
    await send(program.smtp_port)
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
        await send(program.smtp_port, to=MARIA)
    assert b"Tarea asignada" in await program.get("/")
    assert b'"accepted": 1' in await program.get("/api/messages")
    assert (await program.get("/nowhere")).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
async def test_the_program_says_one_line_and_ends_with_0_when_asked(asked: signal.Signals) -> None:
    program = Program()
    process = replace(program.process(), stop_signal=asked)
    async with Supervisor([process], log=lambda _, line: program.lines.append(line)) as running:
        await program.get("/")
        await running.stop("sink")
        assert await running.wait_exit("sink") == 0
    (line,) = program.lines
    assert f"127.0.0.1:{program.smtp_port}" in line
    assert f"http://127.0.0.1:{program.http_port}/" in line


@pytest.mark.parametrize("taken", ["--smtp-port", "--http-port"])
async def test_a_taken_port_ends_the_program_with_2_and_a_line_naming_the_argument(
    smtp_sink: MailSink, taken: str
) -> None:
    ended = await run_sink(taken, str(smtp_sink.port))
    assert ended == (2, 1, True)


@pytest.mark.parametrize("wrong", [("--temporary-share", "1.5"), ("--keep", "0"), ("--smtp-port", "http")])
def test_a_wrong_argument_is_named(wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """By the program's own entry; that its exit code becomes the process's is shown by a taken port."""
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err


async def run_sink(argument: str, value: str) -> tuple[int | None, int, bool]:
    """How it ended: exit code, lines on stderr, whether they name the argument."""
    other = {"--smtp-port": "--http-port"}.get(argument, "--smtp-port")
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local.sink", argument, value, other, str(free_port())),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await program.communicate()
    return program.returncode, said.count(b"\n"), argument in said.decode()
