"""Saves, log-outs and rotations of several servers in any order: nothing is lost, nothing comes back.

The oracle is a plain dictionary. Every call is one script, and Redis runs scripts one after the other, so that
every order in which calls of concurrent servers can take effect is an order of single calls, each server holding
what it loaded some time ago, and each browser a token that may be in its grace. The steps are drawn from a seed
that a failure names.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from sessions import Session, SessionConflict, SessionGone, SyncSessions
from sessions.token import place_of

USERS = ("u-1", "u-2", "u-3")
SERVERS = 4
LASTING = timedelta(minutes=10)
"""A grace that does not end while the test runs."""


@dataclass
class Truth:
    """What there should be: every token that opens a session; newest token, owner and saves of each session."""

    tokens: dict[str, int] = field(default_factory=dict)
    newest: dict[int, str] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)
    saves: dict[int, int] = field(default_factory=dict)

    def tokens_of(self, number: int) -> list[str]:
        return [token for token, one in self.tokens.items() if one == number]

    def forget(self, number: int) -> list[str]:
        """The tokens that open this session no longer."""
        gone = self.tokens_of(number)
        for token in gone:
            del self.tokens[token]
        return gone


class Play:
    """Servers that do something, one after the other, and a truth to compare with."""

    def __init__(self, sessions: SyncSessions, seed: int) -> None:
        self.sessions = sessions
        self.dice = random.Random(seed)  # noqa: S311  drawn again from the same seed
        self.truth = Truth()
        self.ended: list[str] = []
        self.held: list[tuple[int, Session]] = []
        """What servers have loaded, with the session's number, perhaps long ago."""

    def step(self) -> None:
        act = self.dice.choice((self.log_in, self.load, self.load, self.save, self.save, self.save,
                                self.rotate, self.rotate, self.log_out, self.end_all, self.try_an_ended_one,
                                self.count_them))  # fmt: skip
        act()

    def log_in(self) -> None:
        if len(self.truth.owners) >= 12:
            return
        user = self.dice.choice(USERS)
        token, session = self.sessions.create(user, {"saves": 0})
        number = len(self.truth.saves)
        self.truth.tokens[token], self.truth.newest[number] = number, token
        self.truth.owners[number], self.truth.saves[number] = user, 0
        self.held.append((number, session))

    def load(self) -> None:
        if not self.truth.tokens:
            return
        token = self.dice.choice(sorted(self.truth.tokens))
        session = self.sessions.load(token)
        number = self.truth.tokens[token]
        assert session is not None, "a session that nobody ended is gone"
        assert session.data == {"saves": self.truth.saves[number]}, "a save was lost, or came twice"
        assert session.place == place_of(self.truth.newest[number]), "it is not where its newest token leads"
        self.held.append((number, session))
        del self.held[:-SERVERS]

    def save(self) -> None:
        if not self.held:
            return
        number, session = self.dice.choice(self.held)
        try:
            saved = self.sessions.save(session, {"saves": session.data["saves"] + 1})
        except SessionConflict as conflict:
            self.check_conflict(number, session, conflict)
        except SessionGone:
            assert not self._opens(number, session), "a living session was called gone"
        else:
            assert self._opens(number, session), "an ended session was saved, or by a token that has ended"
            assert session.data["saves"] == self.truth.saves[number], "a save overwrote another"
            self.truth.saves[number] += 1
            self.held.append((number, saved))

    def check_conflict(self, number: int, session: Session, conflict: SessionConflict) -> None:
        assert session.data["saves"] < self.truth.saves[number], "a conflict that is none"
        assert conflict.current.data == {"saves": self.truth.saves[number]}

    def rotate(self) -> None:
        if not self.truth.tokens:
            return
        token = self.dice.choice(sorted(self.truth.tokens))
        number = self.truth.tokens[token]
        grace = self.dice.choice((timedelta(0), LASTING, LASTING))
        rotated = self.sessions.rotate(token, grace=grace)
        assert (rotated is None) is (token != self.truth.newest[number]), "a session was given two newest tokens"
        if rotated is None:
            return
        if not grace:
            self.ended += self.truth.forget(number)
        self.truth.tokens[rotated[0]], self.truth.newest[number] = number, rotated[0]

    def log_out(self) -> None:
        if not self.truth.tokens:
            return
        token = self.dice.choice(sorted(self.truth.tokens))
        assert self.sessions.revoke(token)
        self._end(self.truth.tokens[token])

    def end_all(self) -> None:
        if self.dice.random() > 0.1:
            return
        user = self.dice.choice(USERS)
        self.sessions.revoke_user(user)
        for number in [one for one, owner in self.truth.owners.items() if owner == user]:
            self._end(number)

    def try_an_ended_one(self) -> None:
        if not self.ended:
            return
        token = self.dice.choice(self.ended)
        assert self.sessions.load(token) is None, "an ended session came back"
        assert not self.sessions.revoke(token), "an ended token ended a session"
        with pytest.raises(SessionGone):
            self.sessions.rotate(token)

    def count_them(self) -> None:
        user = self.dice.choice(USERS)
        listed = {session.place for session in self.sessions.sessions_of(user)}
        living = {place_of(self.truth.newest[one]) for one, owner in self.truth.owners.items() if owner == user}
        assert listed == living, "a session is listed twice, or not, or after its end"

    def _end(self, number: int) -> None:
        self.ended += self.truth.forget(number)
        del self.truth.owners[number]

    def _opens(self, number: int, session: Session) -> bool:
        """Whether the token by which a server loaded this still opens the session."""
        return session.place in map(place_of, self.truth.tokens_of(number))


@pytest.fixture
def sessions(valkey_url: str) -> Iterator[SyncSessions]:
    it = SyncSessions.connect(valkey_url, deadline=timedelta(seconds=10))
    yield it
    it.close()


def play(sessions: SyncSessions, *, seed: int, steps: int) -> None:
    for user in USERS:
        sessions.revoke_user(user)
    it = Play(sessions, seed)
    for number in range(steps):
        try:
            it.step()
        except AssertionError as found:
            found.add_note(f"seed {seed}, step {number}")
            raise
    assert any(it.truth.saves.values()), "something was saved"


@pytest.mark.parametrize("seed", range(4))
def test_no_save_is_lost_and_no_ended_session_comes_back(sessions: SyncSessions, seed: int) -> None:
    play(sessions, seed=seed, steps=500)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_save_is_lost_and_no_ended_session_comes_back_in_a_hundred_thousand_steps(
    sessions: SyncSessions,
) -> None:
    for seed in range(100, 200):
        play(sessions, seed=seed, steps=1000)
