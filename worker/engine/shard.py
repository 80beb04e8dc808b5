"""What one worker has towards one primary: the turns, the blocking read, the renewal of leases, the clock.

A server, alone or behind sentinels, has all lanes in one shard: one round trip for a turn of all of them, and one
blocking read. On a cluster each lane group lies in a slot of its own and has a shard of its own, so that a primary
that is away or slow holds up its own lanes and no others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from producers.link.address import read_address
from worker.engine.cron import Clock
from worker.engine.lane import Lane
from worker.engine.lease import Renewal
from worker.engine.parking import Parking
from worker.engine.pump import Pump
from worker.engine.store import JobStore
from worker.engine.wake import Wake


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The parts, all for the same lanes and the same primary."""

    lanes: Sequence[Lane]
    store: JobStore
    wake: Wake
    pump: Pump
    renewal: Renewal
    clock: Clock
    parking: Parking

    @property
    def idle(self) -> bool:
        """Whether nothing runs and every outcome is recorded."""
        return self.pump.idle and not any(lane.running for lane in self.lanes)

    async def close(self) -> None:
        """Close the connections of the event loop; the renewal thread closes its own."""
        await self.wake.close()
        await self.store.close()


def parted(lanes: Sequence[Lane], url: str) -> list[tuple[str, list[Lane]]]:
    """Which lanes go together, with the hash tag that they are known by.

    Raises:
        ValueError: an address of another form.

    Example:
        >>> from producers.keys import LaneKeys
        >>> lanes = [Lane(LaneKeys(name), 1) for name in ("mail.urgent", "mail.bulk", "reports")]
        >>> [(tag, [lane.name for lane in members]) for tag, members in parted(lanes, "cluster://127.0.0.1:7000")]
        [('{mail}', ['mail.urgent', 'mail.bulk']), ('{reports}', ['reports'])]
    """
    if not read_address(url).cluster:
        return [("", list(lanes))]
    groups: dict[str, list[Lane]] = {}
    for lane in lanes:
        groups.setdefault(lane.keys.tag, []).append(lane)
    return list(groups.items())
