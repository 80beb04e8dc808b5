"""Sessions for a backend's tests reply as the real ones do: each scenario runs on both, and both tell the same."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from sessions import SessionError, SessionRefused, Sessions, SessionsUnavailable, SyncSessions
from sessions.testing import RecordingSessions, SyncRecordingSessions

Told = list[Any]
USERS = ("u-17", "u-18")


@pytest.fixture
def real(valkey_url: str) -> Iterator[SyncSessions]:
    sessions = SyncSessions.connect(valkey_url, deadline=timedelta(seconds=10))
    yield sessions
    sessions.close()


class Scenario:
    """Calls on one store, with the outcomes; tokens and digests are told by their number."""

    def __init__(self, sessions: SyncSessions) -> None:
        self.sessions = sessions
        self.tokens: list[str] = []
        self.loaded: list[Any] = []
        self.told: Told = []

    def step(self, action: str, user: str, number: int) -> None:
        try:
            self.told.append((action, self._calls()[action](user, number)))
        except SessionError as error:
            self.told.append((action, type(error).__name__))

    def _calls(self) -> dict[str, Callable[[str, int], object]]:
        s = self.sessions
        return {
            "create": lambda user, n: self._keep(*s.create(user, {"n": n}, label=f"l{n}")),
            "create capped": lambda user, n: self._keep(*s.create(user, {"n": n}, cap=2, absolute=self._later())),
            "create short": lambda user, _: self._keep(*s.create(user, {}, absolute=timedelta(hours=1))),
            "load": lambda _, n: self._load(self._token(n)),
            "save": lambda _, n: (
                _facts(s.save(self.loaded[n % len(self.loaded)], {"saved": n})) if self.loaded else None
            ),
            "rotate": lambda _, n: self._rotate(self._token(n), timedelta(seconds=30)),
            "rotate at once": lambda _, n: self._rotate(self._token(n), timedelta(0)),
            "revoke": lambda _, n: s.revoke(self._token(n)),
            "revoke user": lambda user, _: s.revoke_user(user),
            "restore": lambda user, n: s.run(_restore(user, n % 3)),
            "list": lambda user, _: sorted(map(str, map(_facts, s.sessions_of(user)))),
        }

    def _later(self) -> timedelta:
        """An end of its own for each session: of two that end in one millisecond, chance says which goes."""
        return timedelta(days=7, seconds=len(self.tokens))

    def _token(self, number: int) -> str:
        return self.tokens[number % len(self.tokens)] if self.tokens else "none"

    def _keep(self, token: str, session: Any) -> object:
        self.tokens.append(token)
        self.loaded.append(session)
        return _facts(session)

    def _load(self, token: str) -> object:
        session = self.sessions.load(token)
        if session is not None:
            self.loaded.append(session)
        return session and _facts(session)

    def _rotate(self, token: str, grace: timedelta) -> object:
        rotated = self.sessions.rotate(token, grace=grace)
        return rotated and self._keep(*rotated)


def _restore(user: str, epoch: int) -> Any:
    from sessions.operations import restore_epoch  # noqa: PLC0415  the only use

    return restore_epoch(user, epoch)


def _facts(session: Any) -> tuple[object, ...]:
    """All that does not depend on chance or the clock."""
    span = session.expires_at - session.created_at
    return session.user, session.version, session.label, dict(session.data), session.idle, span


ACTIONS = sorted(Scenario(SyncRecordingSessions())._calls())
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(USERS), st.integers(0, 9)), max_size=25)


@given(steps=STEPS)
@settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_sequence_of_calls_has_the_same_outcomes_as_on_redis(
    real: SyncSessions, steps: list[tuple[str, str, int]]
) -> None:
    on_redis, in_memory = Scenario(real), Scenario(SyncRecordingSessions())
    for user in USERS:  # what an earlier example left
        real.revoke_user(user)
        in_memory.sessions.run(_restore(user, real.revoke_user(user)))
    for step in steps:
        on_redis.step(*step)
        in_memory.step(*step)
    assert in_memory.told == on_redis.told


def test_limits_pass_by_the_clock_of_the_test() -> None:
    sessions = SyncRecordingSessions()
    token, _ = sessions.create("u-17", {}, idle=timedelta(hours=1), absolute=timedelta(hours=3))
    for _ in range(3):
        sessions.travel(timedelta(minutes=59))
        assert sessions.load(token) is not None, "a use extends the idle limit"
    sessions.travel(timedelta(minutes=3))
    assert sessions.load(token) is None, "and no use the absolute one"
    assert sessions.users == []


def test_an_old_token_opens_the_session_for_its_grace() -> None:
    sessions = SyncRecordingSessions()
    old, _ = sessions.create("u-17", {})
    assert sessions.rotate(old) is not None
    sessions.travel(timedelta(seconds=29))
    assert sessions.load(old) is not None
    sessions.travel(timedelta(seconds=1))
    assert sessions.load(old) is None


async def test_sessions_with_and_without_asyncio_share_a_memory() -> None:
    sessions = RecordingSessions()
    token, _ = SyncRecordingSessions(sessions.memory).create("u-17", {})
    loaded = await sessions.load(token)
    assert loaded is not None
    assert sessions.users == [loaded.user]
    sessions.clear()
    assert await sessions.load(token) is None


async def test_a_test_can_take_redis_away() -> None:
    sessions = RecordingSessions()
    sessions.available = False
    with pytest.raises(SessionsUnavailable, match="503"):
        await sessions.create("u-17", {})


def test_arguments_are_refused_as_by_the_real_ones() -> None:
    with pytest.raises(SessionRefused):
        SyncRecordingSessions().create("", {})
    with pytest.raises(ValueError, match="redis"):
        Sessions.connect("http://h")
    with pytest.raises(ValueError, match="redis"):
        RecordingSessions.connect("http://h")
    with pytest.raises(ValueError, match="duration"):
        RecordingSessions().travel(timedelta(-1))


def test_threads_share_recording_sessions() -> None:
    sessions = SyncRecordingSessions()
    work = [threading.Thread(target=lambda: [sessions.create("u-17", {}) for _ in range(50)]) for _ in range(4)]
    for one in work:
        one.start()
    for one in work:
        one.join()
    assert len(sessions.sessions_of("u-17")) == 100
