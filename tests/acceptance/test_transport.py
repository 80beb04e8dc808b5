"""One mail on one connection, against a server that does what the test says: who got it, and what is known."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from jobs.mail.letter import Letter
from tests.scripted_smtp import ScriptedSmtp, Talk
from tests.support import eventually
from worker.mail.smtp import connection as stages
from worker.mail.smtp.connection import SMTPConnection
from worker.mail.smtp.errors import ConnectionBroken, DeliveryUncertain, LeaseLost, MailRefused, MalformedMail
from worker.mail.smtp.server import Server

LETTER = Letter("no-reply@momentus.example", ("ana@example.com",), b"Subject: Hola\r\n\r\n.Uno\r\n..\r\nDos.\r\n")
TO_THREE = replace(LETTER, recipients=("ana@example.com", "luis@example.com", "eva@example.com"))
LONG = replace(LETTER, content=LETTER.content + b"x" * 70 + b"\r\n" + b"y" * 5_000_000 + b"\r\n")
NO_LIMIT = ("PIPELINING", "ENHANCEDSTATUSCODES")
BY_ITSELF = ("ENHANCEDSTATUSCODES",)


async def mark() -> bool:
    return True


async def opened(server: ScriptedSmtp) -> SMTPConnection:
    connection = SMTPConnection(Server("127.0.0.1", server.port, "off"))
    await connection.open()
    return connection


async def never() -> None:
    await asyncio.Event().wait()


def stuffed(letter: Letter) -> bytes:
    lines = letter.content.splitlines(keepends=True)
    return b"".join(b"." + line if line.startswith(b".") else line for line in lines)


async def test_a_mail_takes_two_round_trips_and_two_writes() -> None:
    heard = []

    async def talk(talk: Talk) -> None:
        await talk.say("220 ready")
        await talk.hear()
        await talk.say("250-scripted.example\n250 PIPELINING")
        heard.append(await talk.reader.read(65536))
        await talk.say("250 fine\n250 fine\n354 go ahead")
        heard.append(await talk.reader.read(65536))
        await talk.say("250 queued")
        await talk.hear()

    async with ScriptedSmtp(talk=talk) as server:
        connection = await opened(server)
        assert (await connection.send_letter(LETTER, mark)).text == "queued"
        connection.close()
    assert heard[0] == b"MAIL FROM:<no-reply@momentus.example>\r\nRCPT TO:<ana@example.com>\r\nDATA\r\n"
    assert heard[1] == stuffed(LETTER) + b".\r\n"


async def test_a_server_without_pipelining_is_told_one_command_at_a_time() -> None:
    async def talk(talk: Talk) -> None:
        await talk.say("220 ready")
        await talk.hear()
        await talk.say("250 scripted.example")
        for answer in ("250 fine", "250 fine", "354 go ahead"):
            assert (await talk.reader.read(65536)).count(b"\n") == 1
            await talk.say(answer)
        await talk.body()
        await talk.say("250 queued")
        await talk.hear()

    async with ScriptedSmtp(talk=talk) as server:
        connection = await opened(server)
        assert (await connection.send_letter(LETTER, mark)).text == "queued"
        connection.close()


@pytest.mark.parametrize("offers", [NO_LIMIT, BY_ITSELF], ids=["pipelined", "one by one"])
@pytest.mark.parametrize("letter", [LETTER, LONG], ids=["short", "long"])
async def test_the_mark_is_made_before_the_dot_and_the_octets_arrive_unchanged(
    offers: tuple[str, ...], letter: Letter
) -> None:
    async with ScriptedSmtp(offers=offers) as server:
        connection = await opened(server)
        told: list[str] = []

        async def marking() -> bool:
            await eventually(lambda: "DATA" in server.commands)
            told.extend(server.commands)
            return True

        for _ in range(2):
            await connection.send_letter(letter, marking)
        connection.close()
    assert told[-1] == "DATA"
    assert [taken.octets for taken in server.mails] == [stuffed(letter)] * 2


@pytest.mark.parametrize("letter", [LETTER, LONG], ids=["short", "long"])
async def test_without_a_mark_there_is_no_dot(letter: Letter) -> None:
    async def lost() -> bool:
        return False

    async with ScriptedSmtp(offers=NO_LIMIT) as server:
        connection = await opened(server)
        with pytest.raises(LeaseLost):
            await connection.send_letter(letter, lost)
        assert not connection.usable
        await eventually(lambda: server.open == 0)
    assert "." not in server.commands
    assert not server.mails


@pytest.mark.parametrize("offers", [NO_LIMIT, BY_ITSELF], ids=["pipelined", "one by one"])
async def test_each_recipient_has_its_own_answer(offers: tuple[str, ...]) -> None:
    async with ScriptedSmtp(offers=offers) as server:
        server.replies["rcpt"] = ["250 fine", "550 5.1.1 nobody", "451 4.7.1 later"]
        connection = await opened(server)
        receipt = await connection.send_letter(TO_THREE, mark)
        connection.close()
    assert {who: reply.code for who, reply in receipt.refused.items()} == {
        "luis@example.com": 550,
        "eva@example.com": 451,
    }
    assert server.mails[0].recipients == ["ana@example.com"]


@pytest.mark.parametrize("offers", [NO_LIMIT, BY_ITSELF], ids=["pipelined", "one by one"])
@pytest.mark.parametrize("data", ["554 5.5.1 no valid recipients", "354 go ahead"])
async def test_a_mail_that_nobody_gets_leaves_the_connection_in_order(offers: tuple[str, ...], data: str) -> None:
    async with ScriptedSmtp(offers=offers) as server:
        server.replies["rcpt"] = ["550 5.1.1 nobody", "451 4.7.1 later", "550 5.1.1 nobody"]
        server.replies["data"] = [data]
        if data.startswith("354"):
            server.replies["dot"] = ["554 5.5.1 no valid recipients"]
        connection = await opened(server)
        with pytest.raises(MailRefused) as refusal:
            await connection.send_letter(TO_THREE, mark)
        assert refusal.value.reply.code == 451
        assert len(refusal.value.recipients) == 3
        assert connection.usable
        server.replies.clear()
        await connection.send_letter(LETTER, mark)
        connection.close()
    assert [taken.octets for taken in server.mails] == [stuffed(LETTER)]


async def test_a_server_that_waits_for_a_body_for_nobody_gets_a_single_dot() -> None:
    async with ScriptedSmtp() as server:
        server.replies["mail"] = ["550 5.1.8 who are you"]
        server.replies["rcpt"], server.replies["data"] = ["503 5.5.1 no sender"], ["354 go ahead"]
        connection = await opened(server)
        with pytest.raises(MailRefused) as refusal:
            await connection.send_letter(LETTER, mark)
        connection.close()
    assert refusal.value.reply.stage == "mail"
    assert [taken.octets for taken in server.mails] == [b""]
    assert server.mails[0].recipients == []
    assert server.commands[-2:] == [".", "RSET"]


async def test_a_refusal_at_the_dot_is_that_mails_alone() -> None:
    async with ScriptedSmtp() as server:
        server.replies["dot"] = ["554 5.7.1 spam"]
        connection = await opened(server)
        with pytest.raises(MailRefused) as refusal:
            await connection.send_letter(LETTER, mark)
        assert refusal.value.reply.stage == "dot"
        await connection.send_letter(LETTER, mark)
        connection.close()
    assert len(server.mails) == 1


@pytest.mark.parametrize("verb", ["mail", "rcpt", "data", "dot"])
async def test_421_closes_the_connection_wherever_it_comes(verb: str) -> None:
    async with ScriptedSmtp() as server:
        server.replies[verb] = ["421 4.3.2 closing"]
        connection = await opened(server)
        with pytest.raises(MailRefused) as refusal:
            await connection.send_letter(LETTER, mark)
    assert (refusal.value.reply.stage, refusal.value.reply.code) == (verb, 421)
    assert not connection.usable


@pytest.mark.parametrize("offers", [NO_LIMIT, BY_ITSELF], ids=["pipelined", "one by one"])
@pytest.mark.parametrize("verb", ["mail", "rcpt", "data", "dot"])
async def test_it_is_known_at_which_stage_the_line_broke(offers: tuple[str, ...], verb: str) -> None:
    async with ScriptedSmtp(offers=offers) as server:
        server.replies[verb] = [""]
        connection = await opened(server)
        with pytest.raises(DeliveryUncertain if verb == "dot" else ConnectionBroken) as failure:
            await connection.send_letter(LETTER, mark)
    assert getattr(failure.value, "stage", "dot") == verb
    assert not connection.usable


@pytest.mark.parametrize("verb", ["mail", "rcpt", "data", "dot"])
async def test_it_is_known_at_which_stage_the_server_fell_silent(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stages._SECONDS, verb, 0.05)
    async with ScriptedSmtp(before={verb: never}) as server:
        connection = await opened(server)
        with pytest.raises(DeliveryUncertain if verb == "dot" else ConnectionBroken) as failure:
            await connection.send_letter(LETTER, mark)
    assert getattr(failure.value, "stage", "dot") == verb
    assert not connection.usable


async def test_a_refusal_that_came_before_the_line_broke_is_a_refusal() -> None:
    async def talk(talk: Talk) -> None:
        await talk.say("220 ready")
        await talk.hear()
        await talk.say("250-scripted.example\n250 PIPELINING")
        await talk.hear()
        await talk.say("550 5.7.1 not you")

    async with ScriptedSmtp(talk=talk) as server:
        connection = await opened(server)
        with pytest.raises(MailRefused, match="550 at mail"):
            await connection.send_letter(LETTER, mark)


async def test_a_refusal_in_the_middle_of_the_body_is_heard_and_costs_no_mark() -> None:
    async def talk(talk: Talk) -> None:
        await talk.say("220 ready")
        await talk.hear()
        await talk.say("250-scripted.example\n250 PIPELINING")
        for _ in range(3):
            await talk.hear()
        await talk.say("250 fine\n250 fine\n354 go ahead")
        await talk.reader.readexactly(100_000)
        await talk.say("552 5.3.4 too large")
        await never()

    marks = []

    async def marking() -> bool:
        marks.append(1)
        return True

    async with ScriptedSmtp(talk=talk) as server:
        connection = await opened(server)
        with pytest.raises(MailRefused, match="552 at dot"):
            await connection.send_letter(replace(LONG, content=LONG.content * 4), marking)
        assert not connection.usable
    assert not marks


@pytest.mark.parametrize("nonsense", ["no code", "999 what", "250-" + "x" * 40_000])
async def test_what_is_no_reply_ends_the_connection(nonsense: str) -> None:
    async with ScriptedSmtp() as server:
        server.replies["mail"] = [nonsense]
        connection = await opened(server)
        with pytest.raises(ConnectionBroken):
            await connection.send_letter(LETTER, mark)
        assert not connection.usable


async def test_a_cancelled_mail_takes_its_connection_with_it() -> None:
    async with ScriptedSmtp(before={"dot": never}) as server:
        connection = await opened(server)
        sending = asyncio.create_task(connection.send_letter(LETTER, mark))
        await eventually(lambda: "." in server.commands)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not connection.usable
        await eventually(server.connections[0].reader.at_eof)


@pytest.mark.parametrize(
    "change",
    [
        lambda letter: replace(letter, sender="a@example.com>\r\nRCPT TO:<eve@example.com"),
        lambda letter: replace(letter, sender="a@example.com> BODY=8BITMIME"),
        lambda letter: replace(letter, recipients=("ana@example.com\nRSET",)),
        lambda letter: replace(letter, recipients=("ana@example.com", "eve@example.com>")),
        lambda letter: replace(letter, recipients=("ana@exämple.com",)),
        lambda letter: replace(letter, recipients=()),
        lambda letter: replace(letter, content=b"Subject: x\r\n\r\nend\n.\r\nMAIL FROM:<eve@example.com>\r\n"),
        lambda letter: replace(letter, content=b"Subject: x\r\n\r\nend\r.\r\n"),
        lambda letter: replace(letter, content=b"x" * 1_000_001),
    ],
)
async def test_a_letter_that_would_do_harm_is_refused_before_the_first_octet(
    change: Callable[[Letter], Letter],
) -> None:
    async with ScriptedSmtp() as server:
        connection = await opened(server)
        with pytest.raises(MalformedMail):
            await connection.send_letter(change(LETTER), mark)
        assert connection.usable
        await connection.send_letter(LETTER, mark)
        connection.close()
    assert [line.split(" ")[0] for line in server.commands] == ["EHLO", "MAIL", "RCPT", "DATA", "."]


async def test_the_size_is_announced_where_the_server_asks_for_it() -> None:
    async with ScriptedSmtp() as server:
        connection = await opened(server)
        await connection.send_letter(LETTER, mark)
        connection.close()
    assert f"MAIL FROM:<no-reply@momentus.example> SIZE={len(LETTER.content)}" in server.commands


async def test_the_end_of_a_connection_is_told_once_however_it_ends() -> None:
    ends: list[str] = []

    async def closing(end: Callable[[SMTPConnection], Awaitable[object]]) -> None:
        async with ScriptedSmtp() as server:
            connection = SMTPConnection(Server("127.0.0.1", server.port, "off"), on_end=lambda: ends.append("end"))
            await connection.open()
            await end(connection)
            await eventually(lambda: server.open == 0 and not connection.usable)

    async def abruptly(connection: SMTPConnection) -> None:
        connection.close()
        connection.close()

    await closing(abruptly)
    await closing(SMTPConnection.quit)
    async with ScriptedSmtp() as server:
        connection = SMTPConnection(Server("127.0.0.1", server.port, "off"), on_end=lambda: ends.append("end"))
        await connection.open()
        server.cut()
        await eventually(lambda: not connection.usable)
    assert ends == ["end"] * 3


@pytest.mark.parametrize("reply", ["354 go ahead", "334 what"])
async def test_a_reply_to_the_dot_that_says_neither_yes_nor_no_is_uncertain_and_ends_the_connection(
    reply: str,
) -> None:
    async with ScriptedSmtp(replies={"dot": [reply]}) as server:
        connection = await opened(server)
        with pytest.raises(DeliveryUncertain, match=reply[:3]):
            await connection.send_letter(LETTER, mark)
        assert not connection.usable
        await eventually(lambda: server.open == 0)


async def test_a_second_go_ahead_is_no_refusal() -> None:
    async def talk(talk: Talk) -> None:
        await talk.say("220 ready")
        await talk.hear()
        await talk.say("250-scripted.example\n250 PIPELINING")
        for _ in range(3):
            await talk.hear()
        await talk.say("250 fine\n250 fine\n354 go ahead\n354 go ahead")
        await talk.reader.read(65536)

    async with ScriptedSmtp(talk=talk) as server:
        connection = await opened(server)
        with pytest.raises((ConnectionBroken, DeliveryUncertain)):
            await connection.send_letter(LETTER, mark)
        assert not connection.usable
