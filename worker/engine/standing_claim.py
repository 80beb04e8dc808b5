"""The claim that stands behind the blocking read: one round trip brings the token and the job.

A job that comes to an idle worker would cost two round trips: the read returns the token, and a claim takes the
job. So a claim of one job of each lane is sent on the connection of the read, behind it. Redis runs it when the
read ends, for whatever reason, and sends both replies together.

    nothing ──> stands (a slot of each lane is reserved) ──> its reply: jobs start, slots are released
                    │
                    └──> no reply: slots are released, and leases that it may have taken are returned by its number

What can go wrong: a worker whose loop does not run, or whose machine is gone, gets a job that nobody runs until
the lease lapses. So the claim takes one job of a lane, and the read before it lasts a second. In a shutdown the
read is ended, and a job that comes nevertheless goes back uncharged.

It stands for a lane only if another slot is free, which is left to the pump. If that slot is taken later and the
lane is due for a look, the pump ends the read: the claim is then the look. Under a ceiling none stands: slots
that several lanes reserve would be missing for other lanes.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from producers.link import Argument
from worker.engine.lane import Lane
from worker.engine.shared_slots import SharedSlots
from worker.engine.store import CycleResult, JobStore


class StandingClaim:
    """The claim behind the blocking read of one shard; at most one stands at a time.

    Args:
        lanes: the lanes that it may stand for.
        store: runs the claim's script.
        ceiling: the slots that all lanes of the worker share.

    Attributes:
        on_reply: called with the result of each claim, which is empty if no reply came.
    """

    def __init__(self, lanes: Sequence[Lane], store: JobStore, ceiling: SharedSlots) -> None:
        self._by_wake_key = {lane.keys.wake: lane for lane in lanes}
        self._store = store
        self._ceiling = ceiling
        self._number = 0
        self._lanes: list[Lane] = []
        self.on_reply: Callable[[CycleResult], None] = lambda _: None

    @property
    def stands(self) -> bool:
        """True while a claim waits for its reply."""
        return bool(self._lanes)

    def place(self, wake_keys: Iterable[str]) -> list[tuple[Argument, ...]]:
        """Reserve slots and return the commands to send behind a read of these keys, if any."""
        if not self._store.is_ready or self._ceiling.is_limited:
            return []
        self._lanes = [lane for key in wake_keys if (lane := self._by_wake_key[key]).can_stand]
        if not self._lanes:
            return []
        for lane in self._lanes:
            lane.reserve_standing()
        self._number, commands = self._store.claim_behind_read(self._lanes)
        return commands

    def read_replies(self, replies: Sequence[Any]) -> set[str]:
        """Release the slots, pass the result on, and return the wake keys of the lanes that were looked at."""
        lanes, self._lanes = self._lanes, []
        if not lanes:
            return set()
        cycle = self._store.read_claim(self._number, lanes, replies)
        answered = {lane.keys.wake for lane, reply in zip(lanes, replies, strict=True) if isinstance(reply, list)}
        now = asyncio.get_running_loop().time()
        for lane in lanes:
            lane.release_standing(answered=lane.keys.wake in answered, now=now)
        self.on_reply(cycle)
        return answered

    def lose_replies(self) -> None:
        """Release the slots of a claim without a reply, and let the store return its leases."""
        lanes, self._lanes = self._lanes, []
        now = asyncio.get_running_loop().time()
        for lane in lanes:
            lane.release_standing(answered=False, now=now)
        if lanes:
            self._store.lose_claim(self._number, lanes)
            self.on_reply(CycleResult())
