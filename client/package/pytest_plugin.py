"""Fixtures for a backend's tests, which pytest finds where the client is installed. No Redis or event loop needed.

They work with pytest-asyncio, with anyio or without, and in several event loops. Until a test asks for one,
nothing but this file is loaded.

    momentus_producer        a `RecordingProducer`
    momentus_sync_producer   a `SyncRecordingProducer`
    momentus_sessions        `RecordingSessions`
    momentus_sync_sessions   `SyncRecordingSessions` with the same content
    momentus_in_memory       puts these into an application for one test
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from momentus_client.producers.testing import RecordingProducer, SyncRecordingProducer
    from momentus_client.sessions.testing import RecordingSessions, SyncRecordingSessions


@pytest.fixture
def momentus_producer() -> RecordingProducer:
    """Return a producer that records jobs instead of sending them."""
    from momentus_client.producers.testing import RecordingProducer  # noqa: PLC0415  costs nothing where unused

    return RecordingProducer()


@pytest.fixture
def momentus_sync_producer() -> SyncRecordingProducer:
    """Return a producer for code without asyncio that records jobs instead of sending them."""
    from momentus_client.producers.testing import SyncRecordingProducer  # noqa: PLC0415  as above

    return SyncRecordingProducer()


@pytest.fixture
def momentus_sessions() -> RecordingSessions:
    """Return sessions in memory."""
    from momentus_client.sessions.testing import RecordingSessions  # noqa: PLC0415  as above

    return RecordingSessions()


@pytest.fixture
def momentus_sync_sessions(momentus_sessions: RecordingSessions) -> SyncRecordingSessions:
    """Return the sessions of `momentus_sessions` for code without asyncio."""
    from momentus_client.sessions.testing import SyncRecordingSessions  # noqa: PLC0415  as above

    return SyncRecordingSessions(momentus_sessions.memory)


@pytest.fixture
def momentus_in_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Return a function that gives an application the recording producer and sessions during a test.

    Its argument is FastAPI's `Momentus` or a Flask application. The cookie is made for http, which is refused for
    every host but a loopback host: let the client use `http://127.0.0.1`.

    Example:
        def test_an_assignment_is_told(momentus_in_memory, momentus_producer):
            momentus_in_memory(shop.momentus)
            with TestClient(shop.app, base_url="http://127.0.0.1") as client:
                client.post("/tasks/42/assign")
            momentus_producer.assert_sent(to="ana@example.com")
    """

    def use(application: Any) -> None:  # noqa: ANN401  of a framework that may not be installed
        target = getattr(application, "extensions", {}).get("momentus", application)
        sync = "sync_" if hasattr(application, "extensions") else ""
        for name in ("producer", "sessions"):
            monkeypatch.setattr(target, name, request.getfixturevalue(f"momentus_{sync}{name}"))
        monkeypatch.setattr(target, "insecure_cookie", True)

    return use
