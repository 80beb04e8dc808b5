"""Kept connections: who gets one, who opens one, and what a dead one costs."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from jobs.mail.letter import Letter
from tests.scripted_smtp import ScriptedSmtp, Talk
from tests.support import eventually
from worker.mail.smtp import pool as pools
from worker.mail.smtp.envelope import Acceptance
from worker.mail.smtp.errors import ConnectionBroken, MailRefused
from worker.mail.smtp.pool import BULK, NORMAL, URGENT, ConnectionsExhausted, SMTPPool
from worker.mail.smtp.server import Server

NO_LIMIT = ("PIPELINING",)


def letter(name: str = "ana") -> Letter:
    return Letter("no-reply@momentus.example", (f"{name}@example.com",), b"Subject: Hola\r\n\r\nUno\r\n")


async def mark() -> bool:
    return True


@asynccontextmanager
async def pool_of(server: ScriptedSmtp, **options: object) -> AsyncIterator[SMTPPool]:
    limits = {"connections": 3, "messages": 100} | options
    where = Server("127.0.0.1", server.port, "off", *(("me", "wrong") if limits.pop("login", None) else ()))
    pool = SMTPPool(where, **limits)  # type: ignore[arg-type]  # options of several types
    try:
        yield pool
    finally:
        await pool.close()


async def send(
    pool: SMTPPool, name: str = "ana", priority: int = NORMAL, begin_effect: Callable[[], Awaitable[bool]] = mark
) -> Acceptance:
    async with pool.connection(priority=priority) as connection:
        return await connection.send_letter(letter(name), begin_effect)


def names(server: ScriptedSmtp) -> list[str]:
    return [taken.recipients[0].partition("@")[0] for taken in server.mails]


def dots(server: ScriptedSmtp) -> int:
    return server.commands.count(".")


def logins(server: ScriptedSmtp) -> int:
    return sum(line.startswith("AUTH") for line in server.commands)


async def test_one_connection_carries_many_mails_one_after_the_other() -> None:
    async with ScriptedSmtp() as server, pool_of(server) as pool:
        for _ in range(10):
            await send(pool)
        assert len(server.connections) == 1
    assert len(server.mails) == 10
    assert server.commands[-1] == "QUIT"


async def test_many_at_once_get_as_many_connections_as_are_allowed() -> None:
    together = asyncio.Barrier(20)
    async with ScriptedSmtp(before={"dot": together.wait}) as server, pool_of(server, connections=20) as pool:
        await asyncio.gather(*[send(pool) for _ in range(60)])
        assert server.most_open == 20
        assert len(server.connections) == 20
    assert len(server.mails) == 60


async def test_an_urgent_mail_behind_many_waits_for_one_send_slot() -> None:
    goes_on = asyncio.Semaphore(0)
    async with ScriptedSmtp(before={"dot": goes_on.acquire}) as server, pool_of(server, connections=1) as pool:
        many = [asyncio.create_task(send(pool, f"bulk{number}", BULK)) for number in range(50)]
        await eventually(lambda: dots(server) == 1)
        normal = asyncio.create_task(send(pool, "normal"))
        urgent = asyncio.create_task(send(pool, "urgent", URGENT))
        await asyncio.sleep(0)  # both have asked
        for _ in range(52):
            goes_on.release()
        await asyncio.gather(*many, normal, urgent)
    assert names(server)[:4] == ["bulk0", "urgent", "normal", "bulk1"]


async def test_the_reserve_is_for_urgent_mails_alone() -> None:
    goes_on = asyncio.Event()
    async with (
        ScriptedSmtp(before={"dot": goes_on.wait}) as server,
        pool_of(server, connections=3, reserve=1) as pool,
    ):
        many = [asyncio.create_task(send(pool, f"bulk{number}", BULK)) for number in range(9)]
        await eventually(lambda: dots(server) == 2)
        urgent = asyncio.create_task(send(pool, "urgent", URGENT))
        await eventually(lambda: dots(server) == 3)
        assert server.most_open == 3
        goes_on.set()
        await asyncio.gather(*many, urgent)
    with pytest.raises(ValueError, match="reserve: must be at least 0 and less than connections"):
        SMTPPool(Server("127.0.0.1", 25, "off"), connections=1, messages=1, reserve=1)


async def test_a_server_that_is_down_is_tried_once_for_all_who_wait() -> None:
    told: list[Exception] = []
    async with ScriptedSmtp() as server, pool_of(server, connections=50, on_failure=told.append) as pool:
        server.replies["greeting"] = ["421 4.3.2 not now"] * 99
        ends = await asyncio.gather(*[send(pool) for _ in range(50)], return_exceptions=True)
        assert all(isinstance(end, MailRefused) for end in ends)
        assert len(server.connections) == len(told) == 1
        server.replies.clear()
        await send(pool)


async def test_a_wrong_password_is_shown_once_and_not_again_for_a_while() -> None:
    async with (
        ScriptedSmtp(offers=("AUTH PLAIN",)) as server,
        pool_of(server, connections=50, login=True) as pool,
    ):
        server.replies["auth"] = ["535 5.7.8 wrong"] * 99
        for _ in range(3):
            ends = await asyncio.gather(*[send(pool) for _ in range(50)], return_exceptions=True)
            assert all(isinstance(end, MailRefused) and end.reply.code == 535 for end in ends)
        assert logins(server) == 1


async def test_when_the_server_takes_no_more_connections_the_ones_there_are_carry_all_mails() -> None:
    async def talk(talk: Talk) -> None:
        if server.open > 2:
            await talk.say("421 4.7.0 too many connections")
            return
        await server._usual(talk)

    async with ScriptedSmtp() as server, pool_of(server, connections=10) as pool:
        server.talk = talk
        await asyncio.gather(*[send(pool) for _ in range(40)])
        assert len(server.connections) <= 4
    assert len(server.mails) == 40


async def test_a_connection_that_the_server_closed_is_not_handed_out() -> None:
    async with ScriptedSmtp() as server, pool_of(server) as pool:
        await send(pool)
        server.cut()
        await eventually(lambda: not pool._idle)
        await send(pool)
    assert len(server.mails) == 2


@pytest.mark.parametrize("farewell", ["", "421 4.4.2 idle for too long"])
async def test_a_connection_found_dead_costs_the_mail_nothing(farewell: str) -> None:
    marks: list[int] = []

    async def marking() -> bool:
        marks.append(1)
        return True

    async with ScriptedSmtp() as server, pool_of(server) as pool:
        await send(pool)
        server.replies["mail"] = [farewell]
        receipt = await send(pool, begin_effect=marking)
        assert receipt.text.endswith("4711")
    assert len(server.connections) == 2
    assert marks == [1]
    assert len(server.mails) == 2


async def test_a_new_connection_that_breaks_is_not_tried_for_ever() -> None:
    async with ScriptedSmtp() as server, pool_of(server) as pool:
        server.replies["mail"] = [""] * 9
        with pytest.raises(ConnectionBroken, match="at mail"):
            await send(pool)
        assert len(server.connections) == 1


async def test_a_connection_is_given_up_after_its_mails() -> None:
    async with ScriptedSmtp() as server, pool_of(server, connections=1, messages=3) as pool:
        for _ in range(7):
            await send(pool)
        assert len(server.connections) == 3
        assert server.most_open == 1


async def test_a_connection_is_given_up_when_it_is_old_or_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_LONGEST_AGE", -1)
    async with ScriptedSmtp() as server, pool_of(server) as pool:
        await send(pool)
        await eventually(lambda: server.commands[-1] == "QUIT" and server.open == 0)
    monkeypatch.undo()
    async with ScriptedSmtp() as server, pool_of(server, longest_idle=0.02) as pool:
        await send(pool)
        await eventually(lambda: server.commands[-1] == "QUIT" and server.open == 0)
        await send(pool)


class Permits:
    def __init__(self, count: int, *, ordered: bool = False) -> None:
        self.free = self.fewest = count
        self.ordered = ordered
        self.asked = 0
        self.bounded = True
        self.wishes: list[int] = []

    async def count_waiting(self, priority: int | None = None) -> int:
        return self.free == 0 and any(priority is None or one < priority for one in self.wishes)

    async def take_permit(self, priority: int = NORMAL) -> bool:
        self.asked += 1
        passed = self.ordered and min(self.wishes, default=priority) < priority
        if not self.free or passed:
            self.wishes.append(priority)
            return False
        self.wishes = [one for one in self.wishes if one != priority]
        self.free -= 1
        self.fewest = min(self.fewest, self.free)
        return True

    async def return_permit(self) -> None:
        self.free += 1


async def test_no_connection_is_made_without_a_permit_and_each_is_given_back() -> None:
    permits = Permits(2)
    async with ScriptedSmtp() as server:
        async with pool_of(server, connections=10, permits=permits) as pool:
            server.replies["greeting"] = ["220 hi", "421 4.3.2 not you"]
            await asyncio.gather(*[send(pool) for _ in range(20)])
            assert server.most_open <= 2
        assert permits.free == 2
    assert permits.fewest == 0


async def test_idle_connections_hand_their_permits_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_PERMIT_INTERVAL", 0.01)
    permits = Permits(1)
    async with (
        ScriptedSmtp() as server,
        pool_of(server, permits=permits) as one,
        pool_of(server, permits=permits) as other,
    ):
        for pool in (one, other, one):
            await send(pool)
        assert server.most_open == 1


async def test_a_connection_goes_to_a_more_important_mail_of_another_worker_after_the_mail_in_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "_PERMIT_INTERVAL", 0.01)
    permits, goes_on = Permits(1, ordered=True), asyncio.Semaphore(0)
    async with (
        ScriptedSmtp(before={"dot": goes_on.acquire}) as server,
        pool_of(server, permits=permits) as one,
        pool_of(server, permits=permits) as other,
    ):
        many = [asyncio.create_task(send(one, f"bulk{number}", BULK)) for number in range(9)]
        await eventually(lambda: dots(server) == 1)
        normal = asyncio.create_task(send(other, "normal"))
        await eventually(lambda: permits.wishes)
        for _ in range(10):
            goes_on.release()
        await asyncio.gather(*many, normal)
        assert names(server)[:2] == ["bulk0", "normal"]
        assert server.most_open == 1


async def test_a_connection_stays_for_the_mails_that_wait_here_when_others_are_less_important() -> None:
    permits, goes_on = Permits(1), asyncio.Semaphore(0)
    async with ScriptedSmtp(before={"dot": goes_on.acquire}) as server, pool_of(server, permits=permits) as pool:
        many = [asyncio.create_task(send(pool, f"n{number}")) for number in range(9)]
        await eventually(lambda: dots(server) == 1)
        permits.wishes.append(BULK)
        for _ in range(9):
            goes_on.release()
        await asyncio.gather(*many)
        assert len(server.connections) == 1


async def test_under_saturation_each_lane_has_its_share_of_the_connections() -> None:
    goes_on = asyncio.Event()
    async with (
        ScriptedSmtp(before={"dot": goes_on.wait}) as server,
        pool_of(server, connections=8, weights=(10, 20, 10)) as pool,
    ):
        floods = [send(pool, f"{lane}-{n}", lane) for lane in (URGENT, NORMAL, BULK) for n in range(20)]
        many = [asyncio.create_task(one) for one in floods]
        await eventually(lambda: dots(server) == 8)
        assert pool._shares.in_use == [2, 4, 2]
        goes_on.set()
        await asyncio.gather(*many)
        assert pool._shares.in_use == [0, 0, 0]
    assert len(server.mails) == 60


async def test_who_gets_no_permit_hears_that_it_is_crowded() -> None:
    async with ScriptedSmtp() as server, pool_of(server, permits=Permits(0), patience=0) as pool:
        with pytest.raises(ConnectionsExhausted):
            await send(pool)
    assert not server.connections


async def test_who_stops_waiting_takes_nothing_along() -> None:
    goes_on = asyncio.Event()
    async with ScriptedSmtp(before={"dot": goes_on.wait}) as server, pool_of(server, connections=1) as pool:
        first = asyncio.create_task(send(pool))
        await eventually(lambda: dots(server) == 1)
        waiting = asyncio.create_task(send(pool))
        await asyncio.sleep(0)  # it has asked
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        goes_on.set()
        await first
        await send(pool)
        assert len(server.connections) == 1


async def test_who_is_stopped_in_the_moment_of_being_served_gives_the_connection_back() -> None:
    async with ScriptedSmtp() as server, pool_of(server, connections=1) as pool:
        async with pool.connection():
            waiting = asyncio.create_task(send(pool))
            await asyncio.sleep(0)  # it has asked
        waiting.cancel()  # it has been handed over, and has not run since
        await asyncio.gather(waiting, return_exceptions=True)
        assert pool._shares.total == 0
        await send(pool)
        assert len(server.connections) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_every_connection_is_accounted_for(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  a repeatable muddle, not a secret
    permits = Permits(4)

    async def hiccup() -> None:
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)

    async with ScriptedSmtp(before=dict.fromkeys(("greeting", "mail", "dot"), hiccup)) as server:
        async with pool_of(server, connections=5, messages=4, reserve=1, permits=permits) as pool:
            for verb, failure in (("mail", ""), ("dot", "421 4.3.2 bye"), ("rcpt", "550 5.1.1 no")):
                server.replies[verb] = [chance.choice((failure, "250 fine")) for _ in range(10)]
            tasks = [asyncio.create_task(send(pool, priority=chance.randrange(3))) for _ in range(120)]
            for task in chance.sample(tasks, 30):
                await hiccup()
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await eventually(lambda: pool._open == len(pool._idle) and not pool._opening)
            assert pool._shares.total == 0
            server.replies.clear()
            await send(pool)
        assert permits.free == 4
        assert server.most_open <= 5
