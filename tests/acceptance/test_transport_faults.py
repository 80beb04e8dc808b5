"""Ways in which a mail is lost, doubled or blamed on somebody else, each shown on aiosmtplib alone and on ours.

Every test first does what its documentation says and sees the fault happen at the server, so that nobody takes a
cure for granted whose illness has gone; then the same server gets the mail from us.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from email import message_from_bytes
from email.policy import SMTP as SMTP_POLICY

import aiosmtplib
import pytest

from jobs.mail.letter import Letter
from tests.scripted_smtp import ScriptedSmtp
from tests.support import eventually
from worker.mail.smtp import connection as stages
from worker.mail.smtp.connection import SMTPConnection
from worker.mail.smtp.errors import ConnectionBroken, DeliveryUncertain, MailRefused
from worker.mail.smtp.pool import SMTPPool
from worker.mail.smtp.server import Server

NO_LIMIT = ("PIPELINING", "AUTH PLAIN LOGIN CRAM-MD5")
SENDER, ANA, BAD = "no-reply@momentus.example", "ana@example.com", "bad@example.com"
OCTETS = b"Subject: Hola\r\n\r\nUno\r\n"


def letter(*recipients: str, octets: bytes = OCTETS) -> Letter:
    return Letter(SENDER, recipients or (ANA,), octets)


async def mark() -> bool:
    return True


async def plain(server: ScriptedSmtp, **options: object) -> aiosmtplib.SMTP:
    smtp = aiosmtplib.SMTP(hostname="127.0.0.1", port=server.port, use_tls=False, **options)  # type: ignore[arg-type]  # options of several types
    await smtp.connect()
    return smtp


async def ours(server: ScriptedSmtp) -> SMTPConnection:
    connection = SMTPConnection(Server("127.0.0.1", server.port, "off"))
    await connection.open()
    return connection


async def test_a_slow_upload_is_not_taken_for_a_lost_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clock for body and reply: it runs out during the body, and the whole mail arrives all the same."""
    large = OCTETS + (b"x" * 998 + b"\r\n") * 16_000
    reads_on = asyncio.Event()

    async def slow_server(send: Callable[[ScriptedSmtp], Awaitable[None]]) -> int:
        reads_on.clear()
        async with ScriptedSmtp(offers=NO_LIMIT) as server:
            server.before["body"] = reads_on.wait
            await send(server)
            reads_on.set()
            await eventually(lambda: server.open == 0)
            return len(server.mails)

    async def by_aiosmtplib(server: ScriptedSmtp) -> None:
        smtp = await plain(server)
        with pytest.raises(aiosmtplib.SMTPReadTimeoutError):
            await smtp.sendmail(SENDER, [ANA], large, timeout=0.3)
        smtp.close()

    async def by_us(server: ScriptedSmtp) -> None:
        monkeypatch.setattr(stages, "_CHUNK_SECONDS", 0.3)
        connection = await ours(server)
        with pytest.raises(ConnectionBroken, match="does not respond at data"):
            await connection.send_letter(letter(octets=large), mark)

    assert await slow_server(by_aiosmtplib) == 1
    assert await slow_server(by_us) == 0


async def test_a_cancelled_mails_late_reply_is_not_the_next_mails() -> None:
    """A cancelled send leaves the connection open; the late refusal of one mail is taken for another's."""

    async def late_server(
        send: Callable[[ScriptedSmtp, str], Coroutine[None, None, object]],
    ) -> tuple[ScriptedSmtp, "asyncio.Task[object]"]:
        answers = asyncio.Event()
        server = await ScriptedSmtp(offers=()).__aenter__()
        server.replies["mail"] = ["550 5.1.8 bad sender"]
        server.before["mail"] = answers.wait
        first = asyncio.create_task(send(server, BAD))
        await eventually(lambda: any(line.startswith("MAIL") for line in server.commands))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = asyncio.create_task(send(server, ANA))
        await asyncio.sleep(0)
        answers.set()
        await asyncio.wait([second])
        return server, second

    known: list[aiosmtplib.SMTP] = []

    async def by_aiosmtplib(server: ScriptedSmtp, to: str) -> object:
        if not known:
            known.append(await plain(server))
        return await known[0].sendmail(SENDER, [to], OCTETS)

    server, innocent = await late_server(by_aiosmtplib)
    await server.__aexit__(None, None, None)
    assert isinstance(innocent.exception(), aiosmtplib.SMTPSenderRefused)

    pools: list[SMTPPool] = []

    async def by_us(server: ScriptedSmtp, to: str) -> object:
        if not pools:
            pools.append(SMTPPool(Server("127.0.0.1", server.port, "off"), connections=1, messages=100))
        async with pools[0].connection() as connection:
            return await connection.send_letter(letter(to), mark)

    server, innocent = await late_server(by_us)
    await pools[0].close()
    await server.__aexit__(None, None, None)
    assert innocent.exception() is None
    assert [one.recipients for one in server.mails] == [[ANA]]


async def test_it_is_known_on_which_side_of_the_dot_the_line_broke() -> None:
    """One error for three cases, of which only one may have delivered the mail."""
    theirs, known = set(), []
    for verb in ("data", "dot"):
        async with ScriptedSmtp(offers=()) as server:
            server.replies[verb] = [""]
            smtp = await plain(server)
            with pytest.raises(aiosmtplib.SMTPException) as failure:
                await smtp.sendmail(SENDER, [ANA], OCTETS)
            theirs.add((type(failure.value), str(failure.value)))
            smtp.close()
        async with ScriptedSmtp(offers=()) as server:
            server.replies[verb] = [""]
            with pytest.raises((ConnectionBroken, DeliveryUncertain)) as end:
                await (await ours(server)).send_letter(letter(), mark)
            known.append(type(end.value))
    assert len(theirs) == 1
    assert known == [ConnectionBroken, DeliveryUncertain]


async def test_a_wrong_password_is_shown_once() -> None:
    """Every mechanism is tried in turn: three failed logins for one connection, and the account is locked."""
    async with ScriptedSmtp(offers=NO_LIMIT) as server:
        server.replies["auth"] = ["535 5.7.8 wrong"] * 9
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await plain(server, username="me", password="wrong", start_tls=False)
        assert sum(line.startswith("AUTH") for line in server.commands) == 3
    async with ScriptedSmtp(offers=NO_LIMIT) as server:
        server.replies["auth"] = ["535 5.7.8 wrong"] * 9
        with pytest.raises(MailRefused):
            await SMTPConnection(Server("127.0.0.1", server.port, "off", "me", "wrong")).open()
        assert sum(line.startswith("AUTH") for line in server.commands) == 1


async def test_a_password_is_not_sent_in_clear_because_encryption_was_taken_away() -> None:
    """STARTTLS is used if it is offered; whoever removes the offer on the way reads the password."""
    async with ScriptedSmtp(offers=NO_LIMIT) as server:
        smtp = await plain(server, username="me", password="secret")
        smtp.close()
        assert any(line.startswith("AUTH") for line in server.commands)
    async with ScriptedSmtp(offers=NO_LIMIT) as server:
        with pytest.raises(ConnectionBroken):
            await SMTPConnection(Server("127.0.0.1", server.port, "required", "me", "secret")).open()
        assert not any(line.startswith("AUTH") for line in server.commands)


async def test_the_octets_that_were_signed_are_the_octets_that_arrive() -> None:
    """A message is written anew: a long header is re-encoded, and a signature over it breaks."""
    link = b"<https://app.example.com/u/" + b"a1b2c3d4e5" * 12 + b">"
    octets = b"Subject: Hola\r\nList-Unsubscribe: " + link + b"\r\n\r\nUno\r\n"
    async with ScriptedSmtp() as server:
        smtp = await plain(server)
        await smtp.send_message(message_from_bytes(octets, policy=SMTP_POLICY), sender=SENDER, recipients=[ANA])
        smtp.close()
        connection = await ours(server)
        await connection.send_letter(letter(octets=octets), mark)
        connection.close()
    theirs, our_mail = server.mails
    assert link not in theirs.octets
    assert our_mail.octets == octets


async def test_a_recipient_who_was_refused_among_others_is_not_forgotten() -> None:
    """A partly refused mail looks like success unless somebody reads the first half of the result."""
    async with ScriptedSmtp() as server:
        server.replies["rcpt"] = ["250 fine", "550 5.1.1 nobody"] * 2
        smtp = await plain(server)
        refused, _ = await smtp.sendmail(SENDER, [ANA, BAD], OCTETS)
        assert set(refused) == {BAD}
        smtp.close()
        connection = await ours(server)
        receipt = await connection.send_letter(letter(ANA, BAD), mark)
        connection.close()
    assert receipt.refused[BAD].enhanced == "1.1"
