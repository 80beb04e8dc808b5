"""Sessions for a backend's tests: subclasses of the real ones, whose replies come from memory instead of Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.exceptions import ConnectionError as ConnectionLost

from ..link import open_links, open_sync_links
from ..operations import DEADLINE
from ..store import Epochs, Sessions
from ..sync import SyncEpochs, SyncSessions
from .memory import SessionMemory


class SessionRecorder:
    """Base class of recording sessions: their clock, and the users who are logged in.

    Attributes:
        available: set it to False, and every call raises SessionsUnavailable, as without Redis.
    """

    memory: SessionMemory
    available: bool = True

    @property
    def now(self) -> datetime:
        """Time of the clock. It starts at this machine's time, and only `travel` advances it."""
        return self.memory.now

    @property
    def users(self) -> list[str]:
        """Users with a live session, in the order of their first log-in."""
        return self.memory.users()

    def travel(self, duration: timedelta) -> None:
        """Advance the clock, so that sessions reach their limits. Raises ValueError below zero."""
        if duration < timedelta(0):
            raise ValueError(f"duration: must be at least 0, not {duration!r}")
        self.memory.now += duration

    def clear(self) -> None:
        """Forget all sessions; the clock stays."""
        self.memory.clear()

    def reply(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:  # noqa: ANN401  a script's
        """Return the memory's reply to a script. Raises ConnectionError if they are not `available`."""
        if not self.available:
            raise ConnectionLost("these recording sessions are set to available = False")
        return self.memory.run(script, keys, arguments)


class RecordingSessions(SessionRecorder, Sessions):
    """`Sessions` for tests, in memory. Safe to share between event loops and threads.

    Args:
        memory: sessions to share with others, for example with `SyncRecordingSessions`; by default none.
        epochs: as in `Sessions`.

    Example:
        >>> import asyncio
        >>> from datetime import timedelta
        >>> async def test_a_login_ends_after_twelve_hours():
        ...     sessions = RecordingSessions()
        ...     token, _ = await sessions.create("u-17", {"roots": [17]})
        ...     assert sessions.users == ["u-17"]
        ...     sessions.travel(timedelta(hours=12))
        ...     assert await sessions.load(token) is None
        >>> asyncio.run(test_a_login_ends_after_twelve_hours())
    """

    def __init__(self, memory: SessionMemory | None = None, *, epochs: Epochs | None = None) -> None:
        self.memory = memory or SessionMemory(datetime.now(UTC))
        super().__init__(_SessionMemoryLinks(self), epochs=epochs)

    @classmethod
    def connect(
        cls, url: str, *, deadline: timedelta = DEADLINE, epochs: Epochs | None = None
    ) -> RecordingSessions:
        """Return recording sessions; the address is checked and not used. Raises ValueError."""
        del deadline
        open_links(url)
        return cls(epochs=epochs)


class SyncRecordingSessions(SessionRecorder, SyncSessions):
    """`RecordingSessions` without asyncio.

    Example:
        >>> sessions = SyncRecordingSessions()
        >>> token, _ = sessions.create("u-17", {})
        >>> sessions.load(token).user
        'u-17'
    """

    def __init__(self, memory: SessionMemory | None = None, *, epochs: SyncEpochs | None = None) -> None:
        self.memory = memory or SessionMemory(datetime.now(UTC))
        super().__init__(_SyncSessionMemoryLinks(self), epochs=epochs)

    @classmethod
    def connect(
        cls, url: str, *, deadline: timedelta = DEADLINE, epochs: SyncEpochs | None = None
    ) -> SyncRecordingSessions:
        """Return recording sessions; the address is checked and not used. Raises ValueError."""
        del deadline
        open_sync_links(url)
        return cls(epochs=epochs)


class _SessionMemoryLinks:
    def __init__(self, recorder: SessionRecorder) -> None:
        self._recorder = recorder

    async def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int], *, seconds: float
    ) -> Any:  # noqa: ANN401  a reply is what the script returns
        del seconds
        return self._recorder.reply(script, keys, arguments)

    async def close(self) -> None: ...


class _SyncSessionMemoryLinks:
    def __init__(self, recorder: SessionRecorder) -> None:
        self._recorder = recorder

    def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int], *, seconds: float
    ) -> Any:  # noqa: ANN401  a reply is what the script returns
        del seconds
        return self._recorder.reply(script, keys, arguments)

    def close(self) -> None: ...
