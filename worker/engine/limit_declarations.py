"""The limits that a worker declares at its start: its definitions, and the bindings of its lanes to them."""

from collections.abc import Mapping, Sequence

from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit, Limit
from producers.limits.limits import Changes, declaration
from worker.engine.lane import Lane


def limit_declarations(
    lanes: Sequence[Lane], limits: Sequence[Limit], lane_limits: Mapping[str, LaneLimit] | None
) -> dict[LaneKeys, Changes]:
    """Return the changes to the limits of each group, keyed by one lane of the group; an empty list for no change.

    Args:
        limits: defined in every group of these lanes.
        lane_limits: by lane; a lane that is left out needs no limit. None leaves all bindings unchanged.

    Raises:
        ValueError: a binding of a lane that the worker does not have.
    """
    known = {lane.name for lane in lanes}
    if unknown := set(lane_limits or ()) - known:
        raise ValueError(
            f"lane_limits: this worker has no lane {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
        )
    found: dict[LaneKeys, Changes] = {}
    for tag in dict.fromkeys(lane.keys.tag for lane in lanes):
        group = [lane for lane in lanes if lane.keys.tag == tag]
        bindings = {} if lane_limits is None else {lane.name: lane_limits.get(lane.name) for lane in group}
        found[group[0].keys] = declaration(limits, bindings)
    return found
