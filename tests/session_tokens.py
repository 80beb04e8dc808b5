"""Every state that a token can be in, and what each operation owes it: one table for all clients and servers.

A state is made by `TOKENS[name]`; `check_operations` then does every operation with a fresh token of that state.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from sessions import Session, SessionGone, SyncSessions
from sessions.token import place_of
from tests.support import eventually

USER = "u-17"
BLINK = timedelta(milliseconds=1)

Calls = Any
"""`Sessions`, or what `awaitable` makes of `SyncSessions`."""


def awaitable(sessions: SyncSessions) -> Calls:
    """Let the calls of `SyncSessions` be awaited."""

    class AwaitableSessions:
        def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
            async def call(*arguments: Any, **options: Any) -> Any:
                return getattr(sessions, name)(*arguments, **options)

            return call

    return AwaitableSessions()


@dataclass(frozen=True)
class Held:
    """What a request holds.

    Attributes:
        token: as its browser sent it.
        loaded: what it loaded by that token, before anything else happened.
        now: the session's newest token.
        current: whether `token` is the newest.
        opens: whether `token` still opens the session.
    """

    token: str
    loaded: Session
    now: str
    current: bool = False
    opens: bool = False


async def rotated(sessions: Calls, token: str, **options: Any) -> str:
    after = await sessions.rotate(token, **options)
    assert after is not None
    return str(after[0])


async def current(sessions: Calls) -> Held:
    token, loaded = await sessions.create(USER, {"n": 1}, label="Firefox")
    return Held(token, loaded, token, current=True, opens=True)


async def in_grace(sessions: Calls) -> Held:
    held = await current(sessions)
    return Held(held.token, held.loaded, await rotated(sessions, held.token), opens=True)


async def in_grace_of_two_rotations(sessions: Calls) -> Held:
    held = await in_grace(sessions)
    return Held(held.token, held.loaded, await rotated(sessions, held.now), opens=True)


async def between_two_rotations(sessions: Calls) -> Held:
    token = await rotated(sessions, (await current(sessions)).token)
    return Held(token, await sessions.load(token), await rotated(sessions, token), opens=True)


async def after_grace(sessions: Calls) -> Held:
    held = await current(sessions)
    now = await rotated(sessions, held.token, grace=BLINK)

    async def is_over() -> bool:
        return await sessions.load(held.token) is None

    await eventually(is_over)
    return Held(held.token, held.loaded, now)


async def after_a_rotation_without_grace(sessions: Calls) -> Held:
    held = await in_grace(sessions)
    return Held(held.token, held.loaded, await rotated(sessions, held.now, grace=timedelta(0)))


async def revoked(sessions: Calls) -> Held:
    held = await current(sessions)
    assert await sessions.revoke(held.token)
    return Held(held.token, held.loaded, held.token)


async def revoked_in_grace(sessions: Calls) -> Held:
    held = await in_grace(sessions)
    assert await sessions.revoke(held.now)
    return Held(held.token, held.loaded, held.now)


async def of_an_ended_epoch(sessions: Calls) -> Held:
    held = await current(sessions)
    await sessions.revoke_user(USER)
    return Held(held.token, held.loaded, held.token)


async def in_grace_of_an_ended_epoch(sessions: Calls) -> Held:
    held = await in_grace_of_two_rotations(sessions)
    await sessions.revoke_user(USER)
    return Held(held.token, held.loaded, held.now)


TOKENS = (
    current,
    in_grace,
    in_grace_of_two_rotations,
    between_two_rotations,
    after_grace,
    after_a_rotation_without_grace,
    revoked,
    revoked_in_grace,
    of_an_ended_epoch,
    in_grace_of_an_ended_epoch,
)


async def it_loads(sessions: Calls, held: Held) -> None:
    found = await sessions.load(held.token)
    assert (found is not None) is held.opens
    if found is not None:
        assert (found.place, found.data, found.label) == (place_of(held.now), {"n": 1}, "Firefox")


async def it_saves(sessions: Calls, held: Held) -> None:
    if not held.opens:
        before = await sessions.load(held.now)
        with pytest.raises(SessionGone):
            await sessions.save(held.loaded, {"n": 2})
        assert await sessions.load(held.now) == before
        return
    saved = await sessions.save(held.loaded, {"n": 2})
    assert (saved.place, saved.version) == (place_of(held.now), held.loaded.version + 1)
    assert await sessions.load(held.now) == saved
    assert (await sessions.save(saved, {"n": 3})).data == {"n": 3}


async def it_rotates(sessions: Calls, held: Held) -> None:
    if not held.opens:
        with pytest.raises(SessionGone):
            await sessions.rotate(held.token)
        return
    after = await sessions.rotate(held.token)
    assert (after is not None) is held.current, "of two rotations one is already done"
    assert await sessions.load(held.token) is not None


async def it_logs_out(sessions: Calls, held: Held) -> None:
    lived = await sessions.load(held.now) is not None
    assert await sessions.revoke(held.token) is held.opens
    assert (await sessions.load(held.now) is not None) is (lived and not held.opens)
    if held.opens:
        with pytest.raises(SessionGone):
            await sessions.save(held.loaded, {"n": 2})
        assert not await sessions.revoke(held.now)


async def it_is_ended_from_the_list(sessions: Calls, held: Held) -> None:
    place = place_of(held.token)
    assert place is not None
    assert await sessions.revoke_listed(USER, place.digest) is held.opens
    assert await sessions.load(held.token) is None


async def it_is_listed_once(sessions: Calls, held: Held) -> None:
    listed = await sessions.sessions_of(USER)
    lives = await sessions.load(held.now) is not None
    assert [one.place for one in listed] == ([place_of(held.now)] if lives else [])


async def it_counts_once(sessions: Calls, held: Held) -> None:
    """With a cap of two, one more ends nothing, since the session counts once or not at all."""
    lived = await sessions.load(held.now) is not None
    token, _ = await sessions.create(USER, {}, cap=2)
    assert (await sessions.load(held.now) is not None) is lived
    assert await sessions.load(token) is not None


OPERATIONS = (
    it_loads,
    it_saves,
    it_rotates,
    it_logs_out,
    it_is_ended_from_the_list,
    it_is_listed_once,
    it_counts_once,
)


async def check_operations(sessions: Calls, state: Callable[[Calls], Awaitable[Held]]) -> None:
    """Do each operation with a token in this state. Raises AssertionError, naming operation and state."""
    for operation in OPERATIONS:
        await sessions.revoke_user(USER)
        held = await state(sessions)
        try:
            await operation(sessions, held)
        except BaseException as found:
            found.add_note(f"a token {state.__name__}: {operation.__name__}")
            raise
