"""What must hold of the server's keys after every step: by themselves, and beside the model."""

from collections.abc import Sequence
from typing import Any, cast

from producers.keys import LaneKeys
from tests.model.promised import promised
from tests.model.queue_model import QueueModel
from tests.model.wire import OURS, Keyspace

_ENDS = ("done", "suppressed", "discarded", "vanished", "cancelled", "expired")


def require_agreement(keyspace: Keyspace, model: QueueModel, *, now: int) -> None:
    """All of it.

    Raises:
        AssertionError: in words, with both sides of what differs.
    """
    found = dict(keyspace)
    _require_conservation(found, model.lanes)
    _require_payloads(found, model)
    _require_places(found, model)
    _require_tokens(found, model)
    for name in [name for name in found if ":minute:" in name]:
        assert now <= found.pop(name)[1] <= now + 3_600_000, f"{name} lives for another time than an hour"
    _forget_zeros(found, LaneKeys(model.lanes[0]).counters)
    expected = promised(model)
    assert found == expected, _difference(found, expected)


def _require_conservation(keyspace: Keyspace, lanes: Sequence[str]) -> None:
    """By the server's numbers alone. A stock arq producer's job counts from its first claim on."""
    keys = LaneKeys(lanes[0])
    counters = cast("dict[str, bytes]", _content(keyspace, keys.counters, {}))
    adopted = _content(keyspace, keys.adopted, set())
    for lane in lanes:
        queue = _content(keyspace, LaneKeys(lane).queue, {})
        new = [job_id for job_id in queue if not job_id.startswith(keys.tag) and job_id not in adopted]
        ended = sum(int(counters.get(f"{end}:{lane}", b"0")) for end in _ENDS)
        accepted = int(counters.get(f"accepted:{lane}", b"0"))
        kept = len(_unfinished(keyspace, lane)) - len(new)
        assert accepted == ended + kept, f"{lane} is not conserved: {kept} kept, {counters}"


def _require_payloads(keyspace: Keyspace, model: QueueModel) -> None:
    """A payload exists if and only if its job has not ended; the test itself took some away."""
    jobs = {name for name in keyspace if name.startswith("arq:job:")}
    unfinished = {"arq:job:" + job_id for lane in model.lanes for job_id in _unfinished(keyspace, lane)}
    lost = {"arq:job:" + job.id for job in model.jobs.values() if job.payload is None}
    assert jobs == unfinished - lost, f"payloads without jobs, or jobs without: {jobs ^ (unfinished - lost)}"
    histories = [LaneKeys(lane).history(one) for lane in model.lanes for one in _unfinished(keyspace, lane)]
    forgotten = [name for name in histories if keyspace.get(name, ([], -1))[1] >= 0]
    assert not forgotten, f"unfinished jobs whose history has a time to live: {forgotten}"
    ours = [name for name in jobs if cast("bytes", keyspace[name][0]).startswith(OURS)]
    mortal = [name for name in ours if keyspace[name][1] >= 0]
    assert not mortal, f"unfinished jobs with a time to live: {mortal}"


def _require_places(keyspace: Keyspace, model: QueueModel) -> None:
    """No more jobs of a limit run than it has places, and those that ended have none."""
    keys = LaneKeys(model.lanes[0])
    del keyspace[keys.limits]
    for limit, places in model.places.items():
        occupying = keyspace.pop(keys.occupying(limit), (set(), -1))[0]
        jobs = [job for job in model.jobs.values() if job.limit == limit and job.has_place]
        placed, running = {job.id for job in jobs}, {job.id for job in jobs if model.is_running(job)}
        assert set(occupying) <= placed, f"{limit}: {set(occupying) - placed} have a place and do not run"
        assert running <= set(occupying), f"{limit}: {running - set(occupying)} run and have no place"
        assert len(running) <= places, f"{limit} has {places} places, and {running} run"


def _require_tokens(keyspace: Keyspace, model: QueueModel) -> None:
    """A lane with something new has its token, and never a second one."""
    for lane in model.lanes:
        tokens = keyspace.pop(LaneKeys(lane).wake, ([], -1))[0]
        assert len(tokens) <= 1, f"{lane} has {len(tokens)} tokens"
        assert tokens or lane not in model.woken, f"nobody is told of what is new in {lane}"


def _forget_zeros(keyspace: Keyspace, name: str) -> None:
    """A count of nothing is as good as none."""
    counters = cast("dict[str, bytes]", keyspace.pop(name, ({}, -1))[0])
    if counted := {event: count for event, count in counters.items() if count != b"0"}:
        keyspace[name] = counted, -1


def _unfinished(keyspace: Keyspace, lane: str) -> list[str]:
    keys = LaneKeys(lane)
    return [*_content(keyspace, keys.queue, {}), *_content(keyspace, keys.dead, {})]


def _content(keyspace: Keyspace, name: str, nothing: Any) -> Any:
    return keyspace.get(name, (nothing, -1))[0]


def _difference(found: Keyspace, expected: Keyspace) -> str:
    lines = ["the server does not hold what the model says:"]
    for name in sorted(found.keys() | expected.keys()):
        here, there = found.get(name), expected.get(name)
        if here and there and isinstance(here[0], dict) and isinstance(there[0], dict):
            here, there = _without(here, there), _without(there, here)
        if here != there:
            lines += [f"  {name}", f"    server  {here}", f"    model   {there}"]
    return "\n".join(lines)


def _without(one: tuple[Any, int], other: tuple[Any, int]) -> tuple[Any, int]:
    """The fields that are not the same in the other."""
    return {name: value for name, value in one[0].items() if other[0].get(name) != value}, one[1]
