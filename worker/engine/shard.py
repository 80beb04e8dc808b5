"""The parts of a worker that talk to one primary: cycles, blocking read, lease renewal, crons.

With a single server or sentinels, all lanes are in one shard: one round trip for a cycle of all of them, and one
blocking read. On a cluster each lane group has its own hash slot and its own shard, so that a primary that is down
or slow delays its own lanes only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from producers.link.address import read_address
from worker.engine.cron import CronClock
from worker.engine.lane import Lane
from worker.engine.lease import Renewal
from worker.engine.parking import Parking
from worker.engine.pump import Pump
from worker.engine.store import JobStore
from worker.engine.wake import Wake


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The parts of a worker for the same lanes and the same primary."""

    lanes: Sequence[Lane]
    store: JobStore
    wake: Wake
    pump: Pump
    renewal: Renewal
    clock: CronClock
    parking: Parking

    @property
    def name(self) -> str:
        """The lane group on a cluster, else `all`."""
        groups = {lane.keys.tag.strip("{}") for lane in self.lanes}
        return groups.pop() if len(groups) == 1 else "all"

    @property
    def idle(self) -> bool:
        """True if no job runs and every outcome is recorded."""
        return self.pump.idle and not any(lane.running for lane in self.lanes)

    async def close(self) -> None:
        """Close the connections of the event loop; the renewal thread closes its own connection."""
        await self.wake.close()
        await self.store.close()


def group_lanes(lanes: Sequence[Lane], url: str) -> list[tuple[str, list[Lane]]]:
    """Return the lanes of each primary, with the hash tag by which it is found.

    Raises:
        ValueError: an invalid address.

    Example:
        >>> from producers.keys import LaneKeys
        >>> lanes = [Lane(LaneKeys(name), 1) for name in ("mail.urgent", "mail.bulk", "reports")]
        >>> groups = group_lanes(lanes, "cluster://127.0.0.1:7000")
        >>> [(tag, [lane.name for lane in members]) for tag, members in groups]
        [('{mail}', ['mail.urgent', 'mail.bulk']), ('{reports}', ['reports'])]
    """
    if not read_address(url).cluster:
        return [("", list(lanes))]
    groups: dict[str, list[Lane]] = {}
    for lane in lanes:
        groups.setdefault(lane.keys.tag, []).append(lane)
    return list(groups.items())
