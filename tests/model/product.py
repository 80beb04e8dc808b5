"""The product's own code, called one step at a time: the real scripts, keys and arguments as in production.

Scripts are read anew for each instance, so that a test may break one.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from ops.jobs.group import run_script
from ops.jobs.operations import cancel_job, discard_job, revive_job
from ops.jobs.parked import unpark_job
from ops.lanes.hold import hold_lane, release_lane
from producers.entry import ConflictingKey, JobEntry, enqueue, enqueue_latest
from producers.keys import LaneKeys
from producers.limits.limit import Limit
from producers.limits.limits import Changes, change_limits
from producers.link import Link
from producers.link.script import Script
from producers.operation import Operation, script_named
from tests.model.wire import Wire
from worker.engine import store
from worker.engine.effect_marks import mark_arguments
from worker.engine.lane import Claim, Completion, Lane

_LIFE = timedelta(hours=1)
_TAKE_OUT = {"cancelled": cancel_job, "discarded": discard_job}


class Product:
    """Producers, workers and people, on one wire.

    Args:
        lease: how long a claim holds (ms).
        crash_limit: lost leases after which a job is dead.
    """

    def __init__(self, wire: Wire, *, lease: int, crash_limit: int) -> None:
        self._wire = wire
        self._redis = cast("Redis", wire)
        self._lease = lease
        self._crash_limit = crash_limit
        self._renew = Script(store.engine_script("renew"))
        self._store = self._store_of("nobody")
        self._stores = {"nobody": self._store}

    # Producers

    def enqueue(self, lane: str, entries: Sequence[JobEntry]) -> list[tuple[str, bool]] | tuple[int, str]:
        """Per entry the id that stands and whether it is new; or the conflict."""
        try:
            return [(taken.id, taken.new) for taken in self._carry(enqueue(lane, entries))]
        except ConflictingKey as conflict:
            return conflict.index, conflict.known_id

    def ask_latest(self, lane: str, entry: JobEntry) -> str:
        """What became of the request."""
        return cast("str", self._replied(enqueue_latest(lane, entry)).decode())

    def define(self, keys: LaneKeys, places: Iterable[tuple[str, int]]) -> None:
        """Limits, with how many may run at once."""
        changes: Changes = [(key, Limit(key, concurrency=count).to_json()) for key, count in places]
        self._carry(change_limits(keys, changes))

    # Workers

    def claim(self, worker: str, number: int, lane: str, count: int) -> tuple[list[Claim], int]:
        """The jobs, and when to look again. Whoever claims took the wake token before."""
        one = self._stores.setdefault(worker, self._store_of(worker))
        self._wire.first = [("LPOP", LaneKeys(lane).wake)]
        reply = self._run(one._claim, *one._claim_call(_lane(lane), count, number))
        return store._read_claims(_lane(lane), reply, one._claimant(number)), int(reply[1])

    def finish(self, lane: str, endings: Iterable[tuple[Claim, str, int, bytes]]) -> list[int]:
        """Per claim, outcome, delay (ms) and result whether it was recorded."""
        ended = [
            Completion(claim, outcome, timedelta(milliseconds=delay), result, _LIFE, "why")
            for claim, outcome, delay, result in endings
        ]
        return cast("list[int]", self._run(self._store._finish, *self._store._finish_call(_lane(lane), ended)))

    def renew(self, lane: str, held: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
        """Ids whose lease was lost, and ids that are to stop."""
        keys = LaneKeys(lane)
        pairs = list(held)
        parts = [part for pair in pairs for part in pair]
        lost, stop = self._run(self._renew, [keys.queue, keys.leases, keys.cancelled], [self._lease, *parts])
        return [pairs[place - 1][0] for place in lost], [pairs[place - 1][0] for place in stop]

    def begin_effect(self, claim: Claim) -> int:
        """Whether the mark was made."""
        mark = (claim.id, claim.token, str(claim.attempt))
        asked = mark_arguments(LaneKeys(claim.lane).effects, [mark])
        (told,) = self._run(self._store.marks.script, *asked)
        return cast("int", told)

    def tell_progress(self, claim: Claim, told: dict[str, int]) -> int:
        """Whether it was noted."""
        names = [LaneKeys(claim.lane).progress, "arq:in-progress:" + claim.id]
        arguments = [claim.id, claim.token, orjson.dumps(told)]
        return cast("int", self._run(self._store._progress, names, arguments))

    def return_strays(self, lane: str, worker: str, numbers: Sequence[int]) -> int:
        """How many jobs of claims that were never heard of are back."""
        keys = LaneKeys(lane)
        ranges = [part for number in numbers for part in (number, number)]
        return cast(
            "int",
            self._run(self._store._return_strays, [keys.queue, keys.leases, keys.retrying], [worker, *ranges]),
        )

    def release_parked(self, lane: str, kind: str, version: int) -> int:
        """How many parked jobs a worker that knows this kind lets go."""
        keys = LaneKeys(lane)
        names = [keys.queue, keys.parked]
        cursor, released = self._run(self._store._release_parked, names, [0, 1_000, kind, version])
        assert cursor == b"0", "more than a page"
        return cast("int", released)

    # People

    def take_out(self, job_id: str, fate: str) -> tuple[str, str]:
        """Cancel or discard: what became of it, and its lane."""
        return self._wire.run(_TAKE_OUT[fate](self._redis, job_id))

    def revive(self, job_id: str) -> tuple[str, str]:
        """What became of it, and its lane."""
        return self._wire.run(revive_job(self._redis, job_id))

    def unpark(self, job_id: str) -> tuple[str, str]:
        """What became of it, and its lane."""
        return self._wire.run(unpark_job(self._redis, job_id))

    def edit(self, lane: str, job_id: str, known: bytes, payload: bytes) -> str:
        """What became of the change."""
        keys = LaneKeys(lane)
        names = [keys.dead, "arq:job:" + job_id, keys.history(job_id)]
        reply = self._wire.run(run_script(self._redis, "edit", names, [job_id, known, payload, "subject"]))
        return cast("str", reply.decode())

    def hold(self, lane: str, seconds: int | None) -> None:
        """For some seconds, or until it is released."""
        lasting = None if seconds is None else timedelta(seconds=seconds)
        self._wire.run(hold_lane(self._redis, lane, lasting=lasting, reason=""))

    def release(self, lane: str) -> bool:
        """Whether it was held."""
        return self._wire.run(release_lane(self._redis, lane))

    def _carry(self, operation: Operation[Any]) -> Any:
        return operation.read(self._replied(operation))

    def _replied(self, operation: Operation[Any]) -> Any:
        return self._run(script_named(operation.script), operation.keys, operation.arguments)

    def _run(self, script: Script, names: Sequence[str], arguments: Sequence[Any]) -> Any:
        return self._wire.run(script.run(self._wire.call, names, arguments))

    def _store_of(self, worker: str) -> store.JobStore:
        lease = timedelta(milliseconds=self._lease)
        return store.JobStore(
            cast("Link", self._wire), worker_id=worker, lease=lease, crash_limit=self._crash_limit
        )


def _lane(name: str) -> Lane:
    return Lane(LaneKeys(name), slots=100)
