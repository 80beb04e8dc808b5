"""Saves, log-outs and rotations of several servers in any order: nothing is lost, nothing comes back.

The oracle is a plain dictionary. Every call is one script, and Redis runs scripts one after the other, so that
every order in which calls of concurrent servers can take effect is an order of single calls, each server holding
what it loaded some time ago. The steps are drawn from a seed that a failure names.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from sessions import Session, SessionConflict, SessionGone, SyncSessions

USERS = ("u-1", "u-2", "u-3")
SERVERS = 4


@dataclass
class Truth:
    """What there should be: per living token the session's number, and per session the count of its saves."""

    tokens: dict[str, int] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)
    saves: dict[int, int] = field(default_factory=dict)

    def end(self, number: int) -> None:
        self.tokens = {token: one for token, one in self.tokens.items() if one != number}
        self.owners.pop(number, None)


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
                                self.rotate, self.log_out, self.end_all, self.try_an_ended_one))  # fmt: skip
        act()

    def log_in(self) -> None:
        if len(self.truth.owners) >= 12:
            return
        user = self.dice.choice(USERS)
        token, session = self.sessions.create(user, {"saves": 0})
        number = len(self.truth.saves)
        self.truth.tokens[token], self.truth.owners[number], self.truth.saves[number] = number, user, 0
        self.held.append((number, session))

    def load(self) -> None:
        if not self.truth.tokens:
            return
        token = self.dice.choice(sorted(self.truth.tokens))
        session = self.sessions.load(token)
        number = self.truth.tokens[token]
        assert session is not None, "a session that nobody ended is gone"
        assert session.data == {"saves": self.truth.saves[number]}, "a save was lost, or came twice"
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
            assert not self._lives_at(number, session), "a living session was called gone"
        else:
            assert number in self.truth.owners, "an ended session was saved"
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
        rotated = self.sessions.rotate(token, grace=timedelta(0))
        assert rotated is not None
        number = self.truth.tokens.pop(token)
        self.ended.append(token)
        self.truth.tokens[rotated[0]] = number

    def log_out(self) -> None:
        if not self.truth.tokens:
            return
        token = self.dice.choice(sorted(self.truth.tokens))
        assert self.sessions.revoke(token)
        self.ended.append(token)
        self.truth.end(self.truth.tokens[token])

    def end_all(self) -> None:
        if self.dice.random() > 0.1:
            return
        user = self.dice.choice(USERS)
        self.sessions.revoke_user(user)
        for number in [one for one, owner in self.truth.owners.items() if owner == user]:
            self.ended += [token for token, one in self.truth.tokens.items() if one == number]
            self.truth.end(number)

    def try_an_ended_one(self) -> None:
        if self.ended:
            assert self.sessions.load(self.dice.choice(self.ended)) is None, "an ended session came back"

    def _lives_at(self, number: int, session: Session) -> bool:
        """Whether what a server holds still stands where it loaded it: not ended, and not under a new token."""
        if number not in self.truth.owners:
            return False
        token = next(token for token, one in self.truth.tokens.items() if one == number)
        current = self.sessions.load(token)
        return current is not None and current.place == session.place


@pytest.fixture
def sessions(valkey_url: str) -> Iterator[SyncSessions]:
    it = SyncSessions.connect(valkey_url, deadline=timedelta(seconds=10))
    yield it
    it.close()


def play(sessions: SyncSessions, *, seed: int, steps: int) -> None:
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
