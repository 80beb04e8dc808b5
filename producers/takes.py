"""What a producer needs of a queue, in both ways of speaking. Redis is one; a test's memory is another."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from .collapse import Gathering
from .entry import Asked, Chunk, Entry, Taken
from .receipt import Cancelled, Receipt


class Takes(Protocol):
    """For asyncio; :class:`.queue.Queue` has the contract of each in full."""

    async def close(self) -> None:
        """Let go of connections."""

    def within_budget(self, tag: str) -> AbstractAsyncContextManager[None]:
        """What happens inside, with keys of this hash tag, is answered in time."""

    async def put(self, lane: str, entries: Sequence[Entry]) -> list[Taken]:
        """Queue all entries of one lane, or none."""

    async def put_many(self, chunks: Sequence[Chunk]) -> list[list[Taken] | Exception]:
        """Queue the entries of several lanes in one round trip; of each lane all or none."""

    async def gather(self, gathering: Gathering) -> Receipt:
        """Put an item into a digest."""

    async def put_latest(self, lane: str, entry: Entry) -> bool:
        """Queue a recompute; whether it was not waiting yet."""

    async def cancel(self, job_id: str) -> Cancelled:
        """Take a job back."""

    async def field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Whether a hash is there, and one field of it."""


class SyncTakes(Protocol):
    """The same without asyncio."""

    def close(self) -> None:
        """Let go of connections."""

    def within_budget(self) -> AbstractContextManager[None]:
        """What happens inside is answered in time."""

    def put(self, lane: str, entries: Sequence[Entry]) -> list[Taken]:
        """Queue all entries of one lane, or none."""

    def put_many(self, chunks: Sequence[Chunk]) -> list[list[Taken] | Exception]:
        """Queue the entries of several lanes in one round trip; of each lane all or none."""

    def gather(self, gathering: Gathering) -> Receipt:
        """Put an item into a digest."""

    def put_latest(self, lane: str, entry: Entry) -> bool:
        """Queue a recompute; whether it was not waiting yet."""

    def cancel(self, job_id: str) -> Cancelled:
        """Take a job back."""

    def suppression(self, asked: Asked) -> int:
        """Change who is not written to; how many reasons were added or removed."""

    def field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Whether a hash is there, and one field of it."""
