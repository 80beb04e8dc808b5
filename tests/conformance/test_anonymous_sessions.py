"""Sessions of visitors who have not logged in, on a real server."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from sessions import SessionRefused, SyncSessions, anonymous, operations
from sessions.token import anonymous_place_of, place_of

DAY = timedelta(days=1)


@pytest.fixture
def sessions(valkey_url: str) -> Iterator[SyncSessions]:
    store = SyncSessions.connect(valkey_url, deadline=timedelta(seconds=10))
    yield store
    store.close()


def test_an_anonymous_session_is_loaded_saved_and_ended_like_any_other(sessions: SyncSessions) -> None:
    token, session = sessions.run(anonymous.create({"basket": [7]}, idle=DAY, absolute=DAY))
    place = anonymous_place_of(token)
    assert place == session.place
    saved = sessions.run(operations.save(session, {"basket": [7, 8]}))
    loaded = sessions.run(operations.load(saved.place))
    assert loaded is not None
    assert loaded.data == {"basket": [7, 8]}
    assert sessions.run(operations.revoke(saved.place))
    assert sessions.run(operations.load(saved.place)) is None


def test_other_backends_never_take_a_visitor_for_a_user(sessions: SyncSessions) -> None:
    token, _ = sessions.run(anonymous.create({}, idle=DAY, absolute=DAY))
    assert place_of(token) is None
    assert sessions.load(token) is None
    assert sessions.load(token.replace("ma1.", "ms1.")) is None, "the digest is over the whole token"


def test_two_visitors_share_nothing(sessions: SyncSessions) -> None:
    (first, one), (second, other) = (sessions.run(anonymous.create({}, idle=DAY, absolute=DAY)) for _ in range(2))
    assert first != second
    assert one.user != other.user
    assert one.user.startswith(operations.ANONYMOUS)


def test_a_user_cannot_have_a_visitors_name(sessions: SyncSessions) -> None:
    with pytest.raises(SessionRefused, match="have not logged in"):
        sessions.create("momentus:anonymous:17", {})
