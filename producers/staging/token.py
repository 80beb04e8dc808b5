"""The token by which relays learn of rows in the ledger. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass

from ..keys import LaneKeys
from ..operation import Operation

PAUSE_SECONDS = 0.002
"""Pause after a token, for which further transactions wait: a token for each would cost as much as its row."""
REST_SECONDS = 1.0
"""Pause after a token that Redis did not take: a relay looks as often by itself."""


def wake_relay(group: str) -> Operation[bool]:
    """Leave a token for the relays of a lane group; the result is False if one was there."""
    return Operation("wake_relay", [LaneKeys(group).staged], [], bool)


@dataclass(frozen=True, slots=True)
class RelayCall:
    """Call that notifies relays; two of the same producer and groups are equal, so that one is enough."""

    wake: Callable[[frozenset[str]], None]
    groups: frozenset[str]

    def __call__(self) -> None:
        """Notify the relays."""
        self.wake(self.groups)
