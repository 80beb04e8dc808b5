"""A mail right behind another's final dot: half the round trips, and nothing that befalls one is the other's."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import accumulate, chain, cycle

import pytest
from hypothesis import given, settings, strategies as st

from jobs.mail.letter import Letter
from tests.scripted_smtp import ScriptedSmtp, Talk
from tests.support import eventually
from worker.mail.smtp import connection as connections, pool as pools, protocol as wires
from worker.mail.smtp.envelope import Acceptance
from worker.mail.smtp.errors import DeliveryUncertain, MailRefused
from worker.mail.smtp.pool import NORMAL, URGENT, SMTPPool
from worker.mail.smtp.server import Server

REFUSAL = "452 4.3.1 no space"


def letter(name: str) -> Letter:
    return Letter(
        "no-reply@momentus.example", (f"{name}@example.com",), f"Subject: {name}\r\n\r\n{name}\r\n".encode()
    )


async def mark() -> bool:
    return True


async def send(
    pool: SMTPPool, name: str, begin_effect: Callable[[], Awaitable[bool]] = mark, *, priority: int = NORMAL
) -> Acceptance:
    async with pool.connection(priority=priority) as connection:
        return await connection.send_letter(letter(name), begin_effect)


@asynccontextmanager
async def pool_of(server: ScriptedSmtp, *, connections: int = 1, messages: int = 100) -> AsyncIterator[SMTPPool]:
    pool = SMTPPool(Server("127.0.0.1", server.port, "off"), connections=connections, messages=messages)
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture(autouse=True)
def _whoever_waits_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a busy machine nor the number of connections decides it."""
    monkeypatch.setattr(connections, "_QUICK", 3600.0)
    monkeypatch.setattr(pools, "_LEFT_FREE", 0)


class Gate:
    """Holds back the server's reply to the second dot, and the ones after it."""

    def __init__(self) -> None:
        self.dots = 0
        self.opened = asyncio.Event()

    async def __call__(self) -> None:
        self.dots += 1
        if self.dots > 1:
            await self.opened.wait()


@asynccontextmanager
async def two_at_once(
    *, gate: Gate | None = None, dots: Sequence[str] = (), replies: Mapping[str, Sequence[str]] | None = None
) -> AsyncIterator[tuple[ScriptedSmtp, SMTPPool, Gate, "asyncio.Task[Acceptance]", "asyncio.Task[Acceptance]"]]:
    """``ana`` has her dot written and ``eva`` stands behind her; the server has not answered yet.

    Args:
        dots: the replies to theirs.
        replies: to other verbs, from ``eva`` on.
    """
    gate = gate or Gate()
    async with ScriptedSmtp(before={"dot": gate}) as server, pool_of(server) as pool:
        await send(pool, "first")
        server.replies["dot"] = list(dots)
        ana = asyncio.create_task(send(pool, "ana"))
        eva = asyncio.create_task(send(pool, "eva"))
        await eventually(lambda: gate.dots == 2 and eva_is_told(server))
        for verb, lines in (replies or {}).items():
            server.replies[verb] = list(lines)
        yield server, pool, gate, ana, eva


def eva_is_told(server: ScriptedSmtp) -> bool:
    """Whether the server could read her commands already."""
    return b"RCPT TO:<eva@" in server.connections[0].reader._buffer  # type: ignore[attr-defined]


def names(server: ScriptedSmtp) -> list[str]:
    return [one.recipients[0].partition("@")[0] for one in server.mails]


async def test_the_commands_of_the_next_mail_come_with_the_dot_of_the_one_before() -> None:
    async with two_at_once() as (server, _, gate, ana, eva):
        assert not ana.done()
        gate.opened.set()
        await asyncio.gather(ana, eva)
    assert names(server) == ["first", "ana", "eva"]
    assert len(server.connections) == 1


async def test_a_refused_mail_is_no_matter_of_the_one_behind_it() -> None:
    async with two_at_once(dots=[REFUSAL]) as (server, _, gate, ana, eva):
        gate.opened.set()
        with pytest.raises(MailRefused):
            await ana
        await eva
    assert names(server) == ["first", "eva"]


async def test_a_refused_recipient_behind_is_no_matter_of_the_mail_before() -> None:
    refusals = {"rcpt": ["550 5.1.1 nobody"]}
    async with two_at_once(replies=refusals) as (server, pool, gate, ana, eva):
        gate.opened.set()
        await ana
        with pytest.raises(MailRefused) as refused:
            await eva
        assert refused.value.reply.stage == "rcpt"
        await send(pool, "last")
    assert names(server) == ["first", "ana", "last"]
    assert len(server.connections) == 1


async def test_a_connection_that_ends_at_a_dot_leaves_one_mail_uncertain_and_costs_the_next_nothing() -> None:
    async with two_at_once(dots=[""]) as (server, _, gate, ana, eva):
        gate.opened.set()
        with pytest.raises(DeliveryUncertain):
            await ana
        await eva
    assert names(server) == ["first", "eva"]
    assert len(server.connections) == 2


async def test_a_mail_that_is_withdrawn_behind_another_leaves_that_one_its_reply() -> None:
    async with two_at_once() as (server, pool, gate, ana, eva):
        eva.cancel()
        await asyncio.gather(eva, return_exceptions=True)
        gate.opened.set()
        await ana
        await send(pool, "last")
    assert names(server) == ["first", "ana", "last"]
    assert len(server.connections) == 2, "whose the next replies are could not be told"


async def test_a_mail_that_is_stopped_at_its_dot_does_not_stop_the_one_behind() -> None:
    async with two_at_once() as (server, _, gate, ana, eva):
        ana.cancel()
        await asyncio.gather(ana, return_exceptions=True)
        gate.opened.set()
        await eva
    assert names(server)[-1] == "eva"


async def test_behind_a_dot_that_takes_long_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "_PATIENCE", 0.05)
    gate = Gate()
    async with ScriptedSmtp(before={"dot": gate}) as server, pool_of(server, connections=2) as pool:
        await asyncio.gather(send(pool, "first"))
        ana, eva = (asyncio.create_task(send(pool, name)) for name in ("ana", "eva"))
        await eventually(lambda: gate.dots == 3)  # hers on a connection of its own
        assert not ana.done()
        gate.opened.set()
        await asyncio.gather(ana, eva)
        assert pool._may_overlap, "it was the mail before that took long"
    assert sorted(names(server)) == ["ana", "eva", "first"]


async def test_a_server_that_refuses_a_mail_right_behind_another_is_not_asked_for_it_again() -> None:
    refusals = {"mail": ["554 5.5.0 protocol synchronization"]}
    async with two_at_once(replies=refusals) as (server, pool, gate, ana, eva):
        gate.opened.set()
        await asyncio.gather(ana, eva)
        await asyncio.gather(*(send(pool, f"more{number}") for number in range(5)))
        assert not pool._may_overlap
    assert sorted(names(server)) == ["ana", "eva", "first", *(f"more{number}" for number in range(5))]


async def test_a_server_that_drops_what_comes_behind_a_dot_costs_a_moment_and_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "_BEHIND_SECONDS", 0.05)

    class Deaf(Gate):
        async def __call__(self) -> None:
            await super().__call__()
            if self.dots == 2:
                server.connections[0].reader._buffer.clear()  # type: ignore[attr-defined]

    async with two_at_once(gate=Deaf()) as (server, pool, gate, ana, eva):
        gate.opened.set()
        await asyncio.gather(ana, eva)
        assert not pool._may_overlap
    assert names(server) == ["first", "ana", "eva"]


@pytest.mark.parametrize("slow", [(0, 1, 0, 0, 0), (0, 0, 0, 0, 1)], ids=["envelope", "dot"])
async def test_a_server_that_takes_its_time_is_given_one_mail_after_the_other(
    monkeypatch: pytest.MonkeyPatch, slow: tuple[int, ...]
) -> None:
    monkeypatch.setattr(connections, "_QUICK", 0.25)
    instants = accumulate(chain((0, 0), cycle(slow)))  # the opening's; each mail's envelope, mark and dot
    monkeypatch.setattr(connections, "monotonic", lambda: next(instants))
    followed: list[bytes] = []

    async def look() -> None:
        followed.append(bytes(server.connections[0].reader._buffer))  # type: ignore[attr-defined]

    async with ScriptedSmtp(before={"dot": look}) as server, pool_of(server) as pool:
        await asyncio.gather(*(send(pool, f"one{number}") for number in range(4)))
    assert followed == [b""] * 4


async def test_one_connection_is_left_without_so_that_an_urgent_mail_waits_for_the_end_of_one_mail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "_LEFT_FREE", 1)
    both = asyncio.Barrier(2)
    held, goes_on = [0], asyncio.Semaphore(0)

    async def wait() -> None:
        if not server.mails:  # each of the two connections has carried one when the others come
            await both.wait()
            return
        held[0] += 1
        await goes_on.acquire()

    def behind() -> int:
        buffers = [bytes(talk.reader._buffer) for talk in server.connections]  # type: ignore[attr-defined]
        return sum(b"MAIL FROM" in octets for octets in buffers)

    async with ScriptedSmtp(before={"dot": wait}) as server, pool_of(server, connections=2) as pool:
        await asyncio.gather(send(pool, "first"), send(pool, "second"))
        many = [asyncio.create_task(send(pool, f"bulk{number}")) for number in range(6)]
        await eventually(lambda: held[0] == 2 and behind() == 1)
        urgent = asyncio.create_task(send(pool, "urgent", priority=URGENT))
        await asyncio.sleep(0)  # it has asked
        for _ in range(20):
            goes_on.release()
        await asyncio.gather(*many, urgent)
    place = names(server).index("urgent") - 2
    assert place <= 4, "of two connections one had one mail to end before it, the other two"


async def test_a_worn_connection_takes_nobody_on() -> None:
    async with ScriptedSmtp() as server, pool_of(server, messages=2) as pool:
        await asyncio.gather(*(send(pool, f"one{number}") for number in range(6)))
    assert [talk.commands.count(".") for talk in server.connections] == [2, 2, 2]


# Whatever server and callers do

HABITS = ("", REFUSAL, "421 4.7.0 bye", "554 5.7.1 no", "slow")
numbers = st.integers(0, 23)
habits = st.lists(
    st.tuples(st.sampled_from(["mail", "rcpt", "data", "dot"]), st.sampled_from(HABITS), st.integers(0, 6)),
    max_size=12,
)


@pytest.mark.parametrize("part", range(3))
@settings(max_examples=50, deadline=None)
@given(
    habits=habits, stopped=st.sets(st.integers(0, 23), max_size=6), lost=st.sets(st.integers(0, 23), max_size=3)
)
def test_what_became_of_each_mail_is_known_whatever_befalls_its_neighbours(
    part: int, habits: list[tuple[str, str, int]], stopped: set[int], lost: set[int]
) -> None:
    """In parts, so that a busy machine ends each within a test's time: asyncio swallows the alarm of a timeout.

    The alarm breaks off whatever callback runs, which may be the end of a connection.
    """
    del part  # each draws examples of its own
    asyncio.run(_whatever(habits, stopped, lost))


async def _whatever(habits: list[tuple[str, str, int]], stopped: set[int], lost: set[int]) -> None:
    server = Moody(habits)
    async with server, pool_of(server, connections=3) as pool:
        tasks = [
            asyncio.create_task(send(pool, f"m{number}", (_no_lease if number in lost else mark)))
            for number in range(24)
        ]
        for number in sorted(stopped):
            await asyncio.sleep(0)
            tasks[number].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await eventually(lambda: (pool._shares.total, pool._overlaps) == (0, 0))
    taken = Counter(names(server))
    for number, outcome in enumerate(outcomes):
        count = taken[f"m{number}"]
        assert count <= 1, f"m{number} was delivered twice"
        if isinstance(outcome, Acceptance):
            assert count == 1, f"m{number} is believed to be delivered"
        elif not isinstance(outcome, DeliveryUncertain | asyncio.CancelledError):
            assert count == 0, f"m{number} was delivered, and is believed not to be: {outcome!r}"
    for one in server.mails:
        name = one.recipients[0].partition("@")[0]
        assert one.octets == letter(name).content, "the octets went to whom they were not written"


async def _no_lease() -> bool:
    return False


class Moody(ScriptedSmtp):
    """Answers as usual, but for some moods: the n-th time that a verb comes, it says something else."""

    def __init__(self, habits: list[tuple[str, str, int]]) -> None:
        super().__init__()
        self._moods = {(verb, at): habit for verb, habit, at in habits}
        self._heard: Counter[str] = Counter()

    async def _answer(self, talk: Talk, verb: str, usual: str) -> bool:
        at, self._heard[verb] = self._heard[verb], self._heard[verb] + 1
        if verb in ("mail", "rset"):
            talk.sender, talk.recipients = "", []
        if verb == "rcpt" and not talk.sender:
            usual = "503 5.5.1 no sender"
        habit = self._moods.get((verb, at), usual)
        if habit == "slow":
            for _ in range(20):
                await asyncio.sleep(0)
            habit = usual
        if not habit:
            raise EOFError
        await talk.say(habit)
        return habit[0] in "23"
