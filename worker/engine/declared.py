"""What a worker says of limits when it starts: its own definitions, and which of them its lanes need."""

from collections.abc import Mapping, Sequence

from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit, Limit
from producers.limits.limits import Changes, declaration
from worker.engine.lane import Lane


def declared(
    lanes: Sequence[Lane], limits: Sequence[Limit], lane_limits: Mapping[str, LaneLimit] | None
) -> dict[LaneKeys, Changes]:
    """The changes to the limits of each group, by one of its lanes; an empty list where there are none.

    Args:
        limits: known in every group of these lanes.
        lane_limits: by lane; a lane of these that is left out needs none. None: nothing is said of it.

    Raises:
        ValueError: a binding of a lane that the worker has not.
    """
    if unknown := set(lane_limits or ()) - {lane.name for lane in lanes}:
        raise ValueError(f"lane_limits: this worker has no lane {', '.join(sorted(unknown))}")
    found: dict[LaneKeys, Changes] = {}
    for tag in dict.fromkeys(lane.keys.tag for lane in lanes):
        group = [lane for lane in lanes if lane.keys.tag == tag]
        bindings = {} if lane_limits is None else {lane.name: lane_limits.get(lane.name) for lane in group}
        found[group[0].keys] = declaration(limits, bindings)
    return found
