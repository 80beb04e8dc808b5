"""The pump: moves jobs between Redis and the slots of one process.

A turn records what ended and claims what is due, in one round trip. Up to two turns are under way at a time:
while Redis works on one half of the slots, the jobs of the other half run. For that the two must not leave
together, since their replies would come together too, and each side would wait while the other works: one
begins at a time, and the next one before the jobs that a reply brought. Between turns the pump rests until a
job ends, a lane is woken, a job falls due, a lease may have lapsed, or a second is over (the safety poll,
which also finds the jobs of stock arq producers).

Under a ceiling, lanes share the slots (:mod:`worker.engine.shared_slots`). While all are taken, a lane that
was woken is still looked at, with a claim of no job: so it is known to have work when the next slot falls free,
and its wake token goes on to a worker that has one.

A lane whose keys hold what they must not rests alone, a second at a time, and a log line names the key; the other
lanes go on.

Redis away is a longer rest: running jobs go on, their outcomes wait here, and the pump tries again with
jittered pauses of up to a second for as long as it takes.
"""

import asyncio
import math
import random
from collections.abc import Callable, Sequence

from redis.exceptions import RedisError

import background
from producers.rights import missing_right
from worker.engine.lane import Claim, Completion, Lane
from worker.engine.shared_slots import SharedSlots
from worker.engine.store import JobStore, Turn
from worker.engine.wake import Wake
from worker.events import emit, event

_JOB_UNCONFIRMED = event("job.unconfirmed")
_JOB_REFUSED = event("job.refused")
_REDIS_BACK = event("redis.back")
_LANE_MENDED = event("lane.mended")
_LANE_BROKEN = event("lane.broken")
_REDIS_AWAY = event("redis.away")
_REDIS_REFUSED = event("redis.refused")

_SAFETY_POLL = 1.0
_TURNS_AT_ONCE = 2
_LONGEST_PAUSE = 1.0
_LANE_REST = 1.0

Endings = list[tuple[Lane, list[Completion]]]
Wanted = list[tuple[Lane, int]]


def _code(error: Exception) -> str:
    """The code of a refusal by Redis, like ``LOADING``; "" when it said nothing.

    >>> _code(ConnectionError("the connection to Redis was lost"))
    ''
    """
    word = str(error).partition(" ")[0]
    return word if word.isupper() and word.isalpha() else ""


class Pump:
    """Turns until it is told to stop.

    Args:
        lanes: whose slots are to be filled.
        start: begins a claimed job.
        ceiling: how many may run at a time in all lanes of the worker together.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        store: JobStore,
        wake: Wake,
        start: Callable[[Lane, Claim], None],
        ceiling: SharedSlots,
    ) -> None:
        self._lanes = lanes
        self._store = store
        self._wake = wake
        self._start = start
        self._ceiling = ceiling
        ceiling.tell(self.kick)
        self._by_name = {lane.name: lane for lane in lanes}
        self._kicked = asyncio.Event()
        self._turns: set[asyncio.Task[None]] = set()
        self._asked = 0
        """Turns that wait for their reply."""
        self._polled_at = -math.inf
        self._resume_at = -math.inf
        self.failed_turns = 0
        self.on_back: Callable[[], None] = lambda: None
        """Called when Redis answers again."""
        self.claiming = True
        """False: record outcomes, claim nothing more."""

    def kick(self) -> None:
        """Something has changed: look again, unless the end of a turn will do that in a moment anyway."""
        if self._asked < _TURNS_AT_ONCE:
            self._kicked.set()

    async def run(self, finished: Callable[[], bool]) -> None:
        """Turn and rest until ``finished``."""
        while not finished():
            self._mark_due()
            self._begin_turn()
            await self._rest(finished)
        for turn in self._turns:
            turn.cancel()
        await asyncio.gather(*self._turns, return_exceptions=True)

    @property
    def idle(self) -> bool:
        """Whether every outcome is recorded."""
        return not self._turns and not any(lane.ended for lane in self._lanes)

    def _begin_turn(self) -> None:
        if self._asked >= _TURNS_AT_ONCE or asyncio.get_running_loop().time() < self._resume_at:
            return
        endings = [(lane, lane.take_ended()) for lane in self._fit if lane.ended]
        if any(one.claim.limit for _, ended in endings for one in ended):
            self._places_are_free()
        wanted = self._wanted() if self.claiming else []
        if not endings and not wanted:
            return
        self._asked += 1
        turn = asyncio.create_task(self._turn(endings, wanted))
        self._turns.add(turn)
        turn.add_done_callback(self._turn_over)

    def _wanted(self) -> Wanted:
        """What each lane is to ask for; nothing, only to look, where it was woken and all slots are taken."""
        fit, now = self._fit, asyncio.get_running_loop().time()
        shares = zip(fit, self._ceiling.shares(fit, now), strict=True)
        return [(lane, lane.reserve(count)) for lane, count in shares if count or lane.to_be_looked_at]

    @property
    def _fit(self) -> list[Lane]:
        """The lanes that do not rest."""
        now = asyncio.get_running_loop().time()
        return [lane for lane in self._lanes if lane.rest_until <= now]

    def _places_are_free(self) -> None:
        """A place of a limit is given back in this turn: lanes with something waiting are asked in their order,
        so that the lane of the job that ended does not take it again and again."""  # noqa: D205, D209  one sentence
        for lane in self._lanes:
            lane.claimable = lane.claimable or lane.next_due is not None

    def _turn_over(self, turn: "asyncio.Task[None]") -> None:
        self._turns.discard(turn)
        self._kicked.set()
        self._ceiling.changed()
        if not turn.cancelled() and (fault := turn.exception()):
            background.note("turn", fault)

    async def _turn(self, endings: Endings, wanted: Wanted) -> None:
        try:
            turn = await self._store.turn(endings, wanted)
        except (RedisError, OSError, TimeoutError) as error:
            self._put_off(endings, wanted, error)
            return
        except Exception:  # a fault of ours must cost no slot and no outcome
            self._put_off(endings, wanted, None)
            raise
        finally:
            self._asked -= 1
        now = asyncio.get_running_loop().time()
        for lane, count in wanted:
            lane.release(count, now)
        self._take_back(turn)
        if turn.error:
            self._pause(turn.error)
        elif self.failed_turns:
            emit(_REDIS_BACK, failed_turns=self.failed_turns)
            self.failed_turns = 0
            self.on_back()
        self._take_over(turn)
        for lane in {lane.name: lane for lane, _ in (*endings, *wanted)}.values():
            await self._take_fault(lane, turn.faults.get(lane.name))

    async def _take_fault(self, lane: Lane, fault: Exception | None) -> None:
        """A lane that cannot be worked on rests; people are told once, and once more when it goes on."""
        if fault is None:
            if lane.broken:
                emit(_LANE_MENDED, lane=lane.name)
            lane.broken = False
            return
        lane.rest_until = asyncio.get_running_loop().time() + _LANE_REST
        if lane.broken:
            return
        lane.broken = True
        try:
            keys = await self._store.wrong_keys(lane)
        except (RedisError, OSError, TimeoutError):
            keys = []
        emit(_LANE_BROKEN, lane=lane.name, error=str(fault), keys=keys)

    def _take_back(self, turn: Turn) -> None:
        for completion in turn.unrecorded:
            self._by_name[completion.claim.lane].ended.append(completion)
        for completion in turn.refused:
            told = _JOB_UNCONFIRMED if completion.sent_before else _JOB_REFUSED
            emit(told, job_id=completion.claim.id, lane=completion.claim.lane)

    def _take_over(self, turn: Turn) -> None:
        """Begin the jobs, and before them the turn that Redis is to work on meanwhile."""
        for claim in turn.claims:
            self._by_name[claim.lane].running.add(claim)
        if turn.claims:
            self._begin_turn()
        for claim in turn.claims:
            self._start(self._by_name[claim.lane], claim)

    def _put_off(self, endings: Endings, wanted: Wanted, error: Exception | None) -> None:
        """The round trip failed: keep the outcomes, ask again after a pause."""
        for lane, ended in endings:
            for completion in ended:
                completion.sent_before = True
            lane.ended[:0] = ended
        for lane, count in wanted:
            lane.ask_again(count)
        self._pause(error)

    def _pause(self, error: Exception | None) -> None:
        if self.failed_turns == 0 and error is not None:
            if right := missing_right(error):
                emit(_REDIS_REFUSED, right=right, part="the queue")
            else:
                emit(_REDIS_AWAY, error=type(error).__name__, code=_code(error))
        self.failed_turns += 1
        pause = min(_LONGEST_PAUSE, 0.05 * 2 ** min(self.failed_turns, 10))
        jittered = pause * random.uniform(0.5, 1)  # noqa: S311  jitter, not a secret
        self._resume_at = asyncio.get_running_loop().time() + jittered

    async def _rest(self, finished: Callable[[], bool]) -> None:
        """Until somebody kicks, or something falls due."""
        known = self._ceiling.room < 1  # that a lane has more is enough; its token is for those who have a slot
        free = [lane.keys.wake for lane in self._fit if lane.free > 0 and not (known and lane.has_more)]
        await self._wake.watch(frozenset(free if self.claiming else ()))
        if finished():
            return
        timer = asyncio.get_running_loop().call_at(self._next_look(), self._kicked.set)
        await self._kicked.wait()
        timer.cancel()
        self._kicked.clear()

    def _could_turn(self) -> bool:
        """Whether only a pause keeps a turn from beginning; else the end of a job or of a turn brings the next."""
        if self._asked == _TURNS_AT_ONCE:
            return False
        fit = self._fit
        if any(lane.ended for lane in fit):
            return True
        wanting = [lane for lane in fit if self.claiming and lane.wants]
        return bool(wanting) and (self._ceiling.room >= 1 or any(lane.to_be_looked_at for lane in wanting))

    def _mark_due(self) -> None:
        now = asyncio.get_running_loop().time()
        poll = now - self._polled_at >= _SAFETY_POLL
        if poll:
            self._polled_at = now
        for lane in self._lanes:
            lane.claimable = lane.claimable or poll or lane.due_at <= now

    def _next_look(self) -> float:
        due = min((lane.due_at for lane in self._fit if lane.free > 0), default=math.inf)
        if self._could_turn():
            due = min(due, self._resume_at)
        return min(due, self._polled_at + _SAFETY_POLL)
