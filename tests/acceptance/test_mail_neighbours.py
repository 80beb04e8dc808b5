"""What befalls one mail or one connection of a pool, and what it must not cost the others."""

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from jobs.mail.letter import Letter
from tests.acceptance.test_mail_behind import Gate, eva_is_told, mark, names, pool_of, send, two_at_once
from tests.certificates import make_certificates
from tests.scripted_smtp import ScriptedSmtp, Talk
from tests.support import eventually
from worker.mail.smtp import connection as connections, pool as pools, protocol as wires
from worker.mail.smtp.errors import ConnectionBroken, DeliveryUncertain, MailRefused
from worker.mail.smtp.pool import URGENT, SMTPPool
from worker.mail.smtp.server import Server


@pytest.fixture(autouse=True)
def _whoever_waits_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_QUICK", 3600.0)
    monkeypatch.setattr(pools, "_LEFT_FREE", 0)


@pytest.mark.parametrize("tls", ["implicit", "required"])
async def test_a_body_of_more_than_one_chunk_goes_out_over_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tls: Literal["implicit", "required"]
) -> None:
    monkeypatch.setattr(connections, "_CHUNK_SECONDS", 1.0)  # else the mail fails after three minutes
    certificates = make_certificates(tmp_path)
    body = b"Subject: a\r\n\r\n" + b"z" * 70_000 + b"\r\n"
    long = Letter("no-reply@momentus.example", ("ana@example.com",), body)
    offers = ("PIPELINING", "STARTTLS")
    async with ScriptedSmtp(offers=offers, context=certificates.server, implicit=tls == "implicit") as server:
        pool = SMTPPool(
            Server("127.0.0.1", server.port, tls, ca_file=certificates.ca_file), connections=1, messages=100
        )
        try:
            async with pool.connection() as connection:
                await connection.send_letter(long, mark)
        finally:
            await pool.close()
    assert names(server) == ["ana"]


async def test_the_reserve_stays_free_for_urgent_mails_behind_a_dot_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wires, "_PATIENCE", 0.05)
    gate = Gate()
    async with ScriptedSmtp(before={"dot": gate}) as server:
        pool = SMTPPool(Server("127.0.0.1", server.port, "off"), connections=2, messages=100, reserve=1)
        await send(pool, "first")
        ana, eva = (asyncio.create_task(send(pool, name)) for name in ("ana", "eva"))
        await eventually(lambda: gate.dots == 2 and eva_is_told(server))
        # eva leaves; ana, whose dot hangs, still has the one connection that others than urgent mails may use
        await eventually(lambda: gate.dots == 3 or (pool._waiting.count(others=9) and not pool._opening))
        urgent = asyncio.create_task(send(pool, "urgent", priority=URGENT))
        try:
            await eventually(lambda: gate.dots == 3, timeout=2)
            assert "RCPT TO:<urgent@example.com>" in server.commands, "eva has the reserve"
        finally:
            gate.opened.set()
            await asyncio.gather(ana, eva, urgent, return_exceptions=True)
            await pool.close()


@pytest.mark.parametrize("words", ["550 5.4.5 Daily sending quota exceeded", "550 5.1.1 nobody", "421 4.7.0 bye"])
async def test_a_refusal_behind_with_which_the_server_hangs_up_is_a_refusal(words: str) -> None:
    async with two_at_once(replies={"rcpt": [words], "data": [""]}) as (_, _, gate, ana, eva):
        gate.opened.set()
        await ana
        with pytest.raises(MailRefused) as refused:
            await eva
        assert refused.value.reply.code == int(words[:3])


async def test_a_farewell_to_the_mail_behind_does_not_end_following_for_good() -> None:
    farewell = {"mail": ["421 4.4.2 too many messages"], "rcpt": [""]}
    async with two_at_once(replies=farewell) as (_, pool, gate, ana, eva):
        gate.opened.set()
        await asyncio.gather(ana, eva)
        assert pool._may_overlap


async def test_a_mail_stopped_as_its_reply_comes_costs_the_one_behind_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hear = wires.SMTPProtocol.data_received

    def hear_and_stop(wire: wires.SMTPProtocol, data: bytes) -> None:
        hear(wire, data)
        ana.cancel()  # her time is up in the very iteration of the loop in which the reply came

    async with two_at_once() as (server, _, gate, ana, eva):
        monkeypatch.setattr(wires.SMTPProtocol, "data_received", hear_and_stop)
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await ana
        await eva
        assert len(server.connections) == 1
    assert names(server) == ["first", "ana", "eva"]


async def test_when_the_server_takes_one_connection_a_hanging_dot_fails_nobody_who_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wires, "_PATIENCE", 0.05)
    gate = Gate()
    told: list[Exception] = []
    async with ScriptedSmtp(before={"dot": gate}) as server:
        pool = SMTPPool(
            Server("127.0.0.1", server.port, "off"), connections=2, messages=100, on_failure=told.append
        )
        await send(pool, "first")
        server.replies["greeting"] = ["421 4.3.2 too many connections"]
        ana, eva = (asyncio.create_task(send(pool, name)) for name in ("ana", "eva"))
        await eventually(lambda: bool(told) and pool._waiting.count(others=9) == 1)  # eva, once more
        gate.opened.set()
        try:
            await ana
            await eva
        finally:
            await pool.close()


async def test_a_worn_connection_to_a_server_that_takes_one_fails_nobody_who_waits() -> None:
    async with ScriptedSmtp() as server, pool_of(server, connections=2, messages=3) as pool:
        await send(pool, "first")
        server.replies["greeting"] = ["421 4.3.2 too many connections"]
        await asyncio.gather(*(send(pool, f"one{number}") for number in range(4)))


async def test_that_one_connection_more_was_too_many_fails_nobody_though_the_first_has_ended_meanwhile() -> None:
    late = asyncio.Event()

    async def greet() -> None:
        if len(server.connections) == 2:
            await late.wait()

    async with (
        ScriptedSmtp(before={"greeting": greet}) as server,
        pool_of(server, connections=2, messages=2) as pool,
    ):
        await send(pool, "first")
        server.replies["greeting"] = ["421 4.3.2 too many connections"]
        waiting = [asyncio.create_task(send(pool, f"one{number}")) for number in range(3)]
        await eventually(lambda: len(server.connections) == 2 and pool._open == 0)
        late.set()
        await asyncio.gather(*waiting)
    assert len(names(server)) == 4


async def test_a_connection_that_opens_when_nobody_waits_any_more_is_closed_when_idle() -> None:
    goes_on = asyncio.Event()
    async with ScriptedSmtp(before={"greeting": goes_on.wait}) as server:
        pool = SMTPPool(Server("127.0.0.1", server.port, "off"), connections=2, messages=100, longest_idle=0.05)
        ana = asyncio.create_task(send(pool, "ana"))
        await eventually(lambda: server.open == 1)
        ana.cancel()
        await asyncio.gather(ana, return_exceptions=True)
        goes_on.set()
        try:
            await eventually(lambda: pool._open == 1)
            await eventually(lambda: pool._open == 0, timeout=2)
        finally:
            await pool.close()


async def test_a_kept_connection_that_carried_only_refused_mails_and_died_costs_no_attempt() -> None:
    async with ScriptedSmtp() as server, pool_of(server, connections=1) as pool:
        server.replies["rcpt"] = ["550 5.1.1 nobody"]
        with pytest.raises(MailRefused):
            await send(pool, "nobody")
        server.replies["mail"] = ["421 4.4.2 idle for too long"]
        await send(pool, "ana")


async def test_a_mail_whose_dot_was_never_written_is_not_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    original = wires.SMTPProtocol.eof_received

    def eof(wire: wires.SMTPProtocol) -> bool:
        ended.set_result(None)  # Redis' answer came in the same iteration of the loop, one place earlier
        return original(wire)

    written: list[bytes] = []
    write = wires.SMTPProtocol._send

    def look(wire: wires.SMTPProtocol, octets: bytes, *, held: bool) -> None:
        written.append(octets)
        write(wire, octets, held=held)

    async def late_mark() -> bool:
        server.cut()
        await ended
        return True

    async with ScriptedSmtp() as server, pool_of(server, connections=1) as pool:
        await send(pool, "first")
        monkeypatch.setattr(wires.SMTPProtocol, "eof_received", eof)
        monkeypatch.setattr(wires.SMTPProtocol, "_send", look)
        with pytest.raises((ConnectionBroken, DeliveryUncertain)) as error:
            await send(pool, "ana", late_mark)
        assert not any(octets.endswith(b".\r\n") for octets in written)
        assert isinstance(error.value, ConnectionBroken)


async def test_a_server_that_hangs_up_right_after_the_login_is_a_broken_connection() -> None:
    async def talk(one: Talk) -> None:
        await one.say("220 scripted.example ESMTP")
        await one.hear()
        await one.say("250-scripted.example\n250-PIPELINING\n250 AUTH PLAIN")
        await one.hear()
        one.writer.write(b"235 2.7.0 welcome\r\n")
        one.writer.close()

    async with ScriptedSmtp(talk=talk) as server:
        pool = SMTPPool(Server("127.0.0.1", server.port, "off", "me", "secret"), connections=1, messages=100)
        try:
            with pytest.raises(ConnectionBroken):
                await send(pool, "ana")
        finally:
            await pool.close()
