"""The queue in plain Python, as docs/wire.md and ARCHITECTURE.md tell it: what calls must answer and leave behind.

One lane group, its lanes, its jobs. It was written from the pages and shares nothing with the scripts: a job here
is one object that says where it stands. `tests.model.promised` tells which keys the pages promise for it.

Times are milliseconds of the server's clock. Every call is told the time and answers as the script should. What
ends a job goes through `_end`, once per accepted request: a second end is an error of the queue, found there.

What the pages leave open is asked for instead of foretold: whether a claim sees at once that a place is free whose
lease lapsed (`taken`); when a job that its limit holds back is looked at again (`scores`).

It is long because it is the whole queue; each call is short, and they stand in the order of a job's life.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from tests.model.job import History, Job, Mortal

Ending = tuple[str, str, str, int, bytes, int]
"""Id, token, outcome, delay, result, how long the result is kept."""
Asked = tuple[str, bytes, int, str, str, int, str]
"""Id, payload, delay, key, fingerprint, window of the key, limit."""
Claimed = tuple[str, bytes, int, int, int]
"""Id, payload, attempt, due, and the attempt whose effect nobody heard of again (0: none)."""


@dataclass(slots=True)
class Look:
    """What one claim sees.

    Attributes:
        taken: ids that the queue gave it.
        scores: where the lane's jobs stand after it.
        unsure: limits of which it may see more or fewer places free.
        lines: limits to the ids that waited for them before it; one of those may vanish in it.
        held_back: ids that wait for their limit since.
        passed_over: how many run at a stock arq worker.
    """

    taken: Iterable[str]
    scores: Mapping[str, int]
    unsure: set[str]
    lines: Mapping[str, set[str]]
    held_back: set[str] = field(default_factory=set)
    passed_over: int = 0


_SUSPECT_PAUSE = 1000


def stamped(payload: bytes, due: int) -> bytes:
    """An envelope of ours, with the instant from which the job's age counts."""
    return payload[:-1] + b',"q":%d}' % due


class QueueModel:
    """All lanes of one group.

    Args:
        lanes: of one group.
        lease: how long a claim holds (ms).
        crash_limit: lost leases after which a job is dead.
        places: of each limit, how many may run at once.
    """

    def __init__(self, lanes: Sequence[str], *, lease: int, crash_limit: int, places: Mapping[str, int]) -> None:
        self.lanes = lanes
        self._lease = lease
        self._crash_limit = crash_limit
        self.places = places
        self.jobs: dict[str, Job] = {}
        self.counters: Counter[str] = Counter()
        self.tokens: dict[str, Mortal] = {}
        self.results: dict[str, Mortal] = {}
        self.histories: dict[str, History] = {}
        self.unique: dict[str, Mortal] = {}
        self.holds: dict[str, int | None] = {}
        self.fates: dict[int, str] = {}
        """How each accepted request ended; "" for not yet."""
        self.uncertain: dict[str, int] = {}
        """When the last unknown effect of a job was counted."""
        self._now = 0
        self.woken: set[str] = set()
        """Lanes for which a token must lie ready, until somebody takes it."""

    # Time

    def at(self, now: int) -> None:
        """It is now so late: what had its time is gone."""
        self._now = now
        self._expire(now - 1)

    def pass_time(self, milliseconds: int, now: int) -> None:
        """Every instant is so much nearer; what is over by now is gone."""
        for job in self.jobs.values():
            job.due -= milliseconds
            job.deadline = None if job.deadline is None else job.deadline - milliseconds
            job.dead_at = None if job.dead_at is None else job.dead_at - milliseconds
            job.waits_from = None if job.waits_from is None else job.waits_from - milliseconds
            job.payload_expires -= milliseconds if job.payload_expires > 0 else 0
            job.key_until -= milliseconds
            if job.following:
                job.following = job.following[0] - milliseconds, job.following[1]
        for mortals in (self.tokens, self.results, self.unique):
            for mortal in mortals.values():
                mortal.expires -= milliseconds if mortal.expires > 0 else 0
        for history in self.histories.values():
            history.expires -= milliseconds if history.expires > 0 else 0
        self.holds = {lane: until and until - milliseconds for lane, until in self.holds.items()}
        self.uncertain = {job_id: at - milliseconds for job_id, at in self.uncertain.items()}
        self._expire(now)

    def _expire(self, past: int) -> None:
        for mortals in (self.tokens, self.results, self.unique):
            for name in [name for name, mortal in mortals.items() if 0 < mortal.expires <= past]:
                del mortals[name]
        for job_id in [one for one, history in self.histories.items() if 0 < history.expires <= past]:
            del self.histories[job_id]
        for job in self.jobs.values():
            if 0 < job.payload_expires <= past:
                self.lose_payload(job.id)

    # Asking for work

    def enqueue(self, now: int, lane: str, entries: Sequence[Asked]) -> tuple[int, str] | list[tuple[str, bool]]:
        """Per entry the id that stands and whether it is new; or which entry's key stands for what other job."""
        known = {key: mortal.content for key, mortal in self.unique.items()}
        for index, (job_id, _, _, key, fingerprint, _, _) in enumerate(entries):
            if key in self.unique and self._is_over(key):
                del known[key]
            wanted = f"{fingerprint} {job_id}".encode()
            if key and known.setdefault(key, wanted).split()[0] != wanted.split()[0]:
                return index, known[key].split()[1].decode()
        answer = []
        for job_id, payload, delay, key, _, window, limit in entries:
            first = known[key].split()[1].decode() if key else job_id
            answer.append((first, first == job_id))
            if first == job_id:
                due = now + delay
                self._accept(Job(job_id, lane, stamped(payload, due), due, -1, limit=limit))
                if key:
                    self.unique[key] = Mortal(known[key], -1)
                    self.jobs[job_id].key, self.jobs[job_id].key_until = key, now + window
        if any(new for _, new in answer):
            self.woken.add(lane)
        return answer

    def _is_over(self, key: str) -> bool:
        """Whether a key stands no longer: its job is gone unseen, and its window too."""
        job = self.jobs.get(self.unique[key].content.split()[1].decode())
        if job and job.payload is None:
            self._release_key(job)
        return key not in self.unique

    def _release_key(self, job: Job) -> None:
        """Its job will never run again: it stands for the rest of its window."""
        key, job.key = job.key, ""
        if key and job.key_until <= self._now:
            del self.unique[key]
        elif key:
            self.unique[key].expires = job.key_until

    def ask_latest(self, now: int, lane: str, job_id: str, payload: bytes, delay: int) -> str:
        """A recompute: at most one runs and one waits, the latest payload wins."""
        job, due = self.jobs.get(job_id), now + delay
        payload = stamped(payload, due)
        if job and job.dead_at is None and (job.deadline is not None or job_id in self.tokens):
            job.following = min(due, job.following[0]) if job.following else due, payload
            return "next"
        self.woken.add(lane)
        if job and job.dead_at is None:
            job.payload, job.payload_expires, job.due = payload, -1, min(job.due, due)
            job.following, job.stopping = None, False
            return "duplicate"
        if job:
            self._end(job, "discarded")
        if job_id in self.histories:
            self.histories[job_id].expires = -1
        self._accept(Job(job_id, lane, payload, due, -1))
        return "queued"

    def arrive_from_arq(self, lane: str, job_id: str, payload: bytes, due: int, expires: int) -> None:
        """A stock arq producer has queued a job."""
        self.jobs[job_id] = Job(
            job_id, lane, payload, due, -1, foreign=True, payload_expires=expires, counted=False
        )

    def lose_payload(self, job_id: str) -> None:
        """Somebody deleted it, or arq's day is over."""
        job = self.jobs[job_id]
        job.payload, job.payload_expires = None, -1

    # Running

    def due_jobs(self, now: int, lane: str) -> list[Job]:
        """What may run: by due time, then by id."""
        return sorted((job for job in self.queued(lane) if job.due <= now), key=lambda job: (job.due, job.id))

    def queued(self, lane: str) -> list[Job]:
        """All that wait or run."""
        return [job for job in self.jobs.values() if job.lane == lane and job.dead_at is None]

    def held(self, now: int, lane: str) -> bool:
        """Whether nothing of the lane may be claimed; a hold whose time is over is forgotten."""
        if lane in self.holds and (until := self.holds[lane]) is not None and until <= now:
            del self.holds[lane]
        return lane in self.holds

    def claim(
        self, now: int, lane: str, claimant: str, count: int, *, taken: Iterable[str], scores: Mapping[str, int]
    ) -> list[Claimed]:
        """What a worker gets, in the order of due times.

        The claim looks at as many as it wants, then at as many as it still wants, and so on: what is queued
        meanwhile, in place of a job that ends here, comes later than its due time says.

        Args:
            taken: ids that the queue gave it.
            scores: where the lane's jobs stand now.
        """
        answer: list[Claimed] = []
        look, wanted = Look(taken, scores, unsure=self._unsure(), lines=self._lines()), count
        while wanted and not self.held(now, lane):
            due = [job for job in self.due_jobs(now, lane) if job.id not in look.held_back]
            batch = due[look.passed_over :][:wanted]
            answer += [self._lease_to(now, job, claimant) for job in batch if self._may_run(now, job, look)]
            wanted = count - len(answer) if len(batch) == wanted else 0
        self._search_for_more(now, lane, look)
        self._check_held_back(now, look)
        self.woken.discard(lane)  # whoever claims has taken the token, and knows when the next one is due
        if lane not in self.holds and self.due_jobs(now, lane) and self.next_due(now, lane) == now:
            self.woken.add(lane)
        return answer

    def _may_run(self, now: int, job: Job, look: Look) -> bool:
        """Whether a due job is to be leased: it may end here, wait for its limit, or run at a stock arq worker."""
        if job.payload is not None and not job.stopping:
            waits_for_suspect, later = self._waits_for_suspect(job), now + _SUSPECT_PAUSE
            if not (waits_for_suspect and look.scores.get(job.id) == later) and self._waits(job, look):
                self._hold_back(job, look)
                return False
            assert job.id not in look.taken or self._has_room(job), (
                f"{job.id} was claimed from a limit without room"
            )
            if waits_for_suspect:
                job.due = job.deadline = later
                return False
            if job.id in self.tokens:
                look.passed_over += 1
                return False
        has_ended = self._ends_here(now, job)
        if has_ended and job.limit:
            self._see_next_of_limit(now, job, look)
        return not has_ended

    def _see_next_of_limit(self, now: int, gone: Job, look: Look) -> None:
        """The claim may come to jobs that waited for the limit of one that left: what became of them says so."""
        for job in self.jobs.values():
            waits = job.limit == gone.limit and job.lane == gone.lane and job.waits_from is not None
            if not waits or job.dead_at is not None or job.due <= now:
                continue
            score = look.scores.get(job.id)
            was_postponed = job.deadline is not None and score == now + _SUSPECT_PAUSE
            if job.id in look.taken or score is None or score > job.due or was_postponed:
                job.due = now

    def _waits_for_suspect(self, job: Job) -> bool:
        """Whether another job runs that, like this one, would be dead if it lost its lease once more."""
        last = 10 * (self._crash_limit - 1)
        is_suspect = job.deadline is not None and last <= job.lapses + 10 < last + 10
        return is_suspect and any(one.id in self.tokens and one.lapses >= last for one in self.jobs.values())

    def _waits(self, job: Job, look: Look) -> bool:
        """Whether the claim held it back, which it may only do when its limit has no room."""
        unsure = job.limit in look.unsure and not self._is_other_taken(job, look)
        may_wait = unsure or not self._has_room(job)
        return may_wait and job.id not in look.taken and look.scores.get(job.id, job.due) != job.due

    def _is_other_taken(self, job: Job, look: Look) -> bool:
        """Whether there was room for another job of the limit, to which the claim comes later: so there was."""
        return any(
            one.limit == job.limit and one.id in look.taken and not self.is_running(one)
            for one in self.jobs.values()
        )

    def _search_for_more(self, now: int, lane: str, look: Look) -> None:
        """A claim that held a job back may do so with others that it would not have come to."""
        for job in self.due_jobs(now, lane) if look.held_back else []:
            if job.payload is not None and not job.stopping and self._waits(job, look):
                self._hold_back(job, look)

    def _unsure(self) -> set[str]:
        """Limits with places whose lease lapsed: whether a claim sees at once that they are free is open."""
        return {job.limit for job in self.jobs.values() if job.has_place and not self.is_running(job)}

    def is_running(self, job: Job) -> bool:
        """Whether one of our workers has its lease."""
        return job.id in self.tokens and not self._is_at_arq(job)

    def _has_room(self, job: Job) -> bool:
        """Whether one more of its limit may run. A place whose lease lapsed is free."""
        placed = [one for one in self.jobs.values() if one.limit == job.limit and one.has_place]
        return job.limit not in self.places or sum(map(self.is_running, placed)) < self.places[job.limit]

    def _hold_back(self, job: Job, look: Look) -> None:
        """It is looked at when its limit has a place again, maybe in this claim; or after a minute or so."""
        if job.waits_from is None:
            job.waits_from = job.due
        look.held_back.add(job.id)
        job.due = look.scores[job.id]

    def _check_held_back(self, now: int, look: Look) -> None:
        """They are looked at in turn, in whatever order the claim put them into the line of their limit."""
        lines = self._lines()
        for job in (self.jobs[job_id] for job_id in look.held_back):
            line = lines.get(job.limit, set()) | look.lines.get(job.limit, set())
            assert now <= job.due <= now + 60_000 + 60 * len(line), (
                f"{job.id} is held back until {job.due}, it is {now}"
            )

    def _lines(self) -> dict[str, set[str]]:
        """Who waits for each limit."""
        lines: dict[str, set[str]] = {}
        for job in self.jobs.values():
            if job.waits_from is not None:
                lines.setdefault(job.limit, set()).add(job.id)
        return lines

    def bring_forward(self, scores: Mapping[str, int]) -> None:
        """Jobs that their limits hold back may be looked at sooner at any time."""
        for job in self.jobs.values():
            if job.waits_from is not None and job.dead_at is None and scores.get(job.id, job.due) < job.due:
                job.due = scores[job.id]

    def next_due(self, now: int, lane: str) -> int | None:
        """When the lane is to be looked at again: the earliest job that no stock arq worker has."""
        ours = [job.due for job in self.queued(lane) if not self._is_at_arq(job)]
        return max(now, min(ours)) if ours else None

    def _ends_here(self, now: int, job: Job) -> bool:
        """Whether a due job is over instead of claimable; a lapse of its lease is counted."""
        if job.payload is None:
            self._count(job)
            self._end(job, "vanished")
            return True
        if job.stopping:
            self._end(job, "cancelled")
            return True
        if job.deadline is not None:
            job.deadline = job.progress = None
            job.failed += 1
            job.lapses += 10
            self.counters[f"lapsed:{job.lane}"] += 1
        if job.lapses < 10 * self._crash_limit:
            return False
        self._unknown_effect(job)
        self._remember(job.id, job.failed, "dead")
        self._bury(now, job)
        return True

    def _lease_to(self, now: int, job: Job, claimant: str) -> Claimed:
        self._count(job)
        due, effect, attempt = job.due, self._unknown_effect(job), job.failed + 1
        job.due = job.deadline = now + self._lease
        job.retrying, job.parked, job.waits_from = False, None, None
        job.has_place = job.limit in self.places
        self.tokens[job.id] = Mortal(f"{claimant}:{attempt}".encode(), now + self._lease - 1)
        assert job.payload is not None
        return job.id, job.payload, attempt, due, effect

    def holds_lease(self, job_id: str, token: str) -> bool:
        """Whether this token is that of the job's live lease."""
        return job_id in self.tokens and self.tokens[job_id].content == token.encode()

    def renew(self, now: int, held: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
        """Whose lease was lost, and who is to stop."""
        lost, stop = [], []
        for job_id, token in held:
            if not self.holds_lease(job_id, token):
                lost.append(job_id)
                continue
            job = self.jobs[job_id]
            job.due = job.deadline = now + self._lease
            self.tokens[job_id].expires = now + self._lease - 1
            if job.stopping:
                stop.append(job_id)
        return lost, stop

    def begin_effect(self, job_id: str, token: str, attempt: int) -> int:
        """1: go on; 0: the lease was lost."""
        if not self.holds_lease(job_id, token):
            return 0
        self.jobs[job_id].effect = attempt
        return 1

    def tell_progress(self, job_id: str, token: str, told: dict[str, int]) -> int:
        """1: noted; 0: the lease was lost."""
        if not self.holds_lease(job_id, token):
            return 0
        self.jobs[job_id].progress = told
        return 1

    def finish(self, now: int, endings: Sequence[Ending]) -> list[int]:
        """Per ending whether it was recorded. Who is refused lives, and its lost lease counts a tenth."""
        recorded = [self._finish(now, *ending) for ending in endings]
        for ending, one in zip(endings, recorded, strict=True):
            job = self.jobs.get(ending[0])
            if not one and job and job.deadline is not None and job.lapses >= 0:
                job.lapses -= 9
        return recorded

    def _finish(
        self, now: int, job_id: str, token: str, outcome: str, delay: int, result: bytes, life: int
    ) -> int:
        if not self.holds_lease(job_id, token):
            return 0
        job, attempt = self.jobs[job_id], int(token.rpartition(":")[2])
        kind = outcome.rstrip("+")
        if outcome.endswith("+"):
            self._count_uncertain(job)
            self._remember(job_id, attempt, "uncertain")
        self._give_back(job)
        job.effect = job.lapses = 0
        job.progress, job.has_place = None, False
        if result and kind in {"done", "suppressed", "dead", "cancelled", "expired"}:
            self.results[job_id] = Mortal(result, now + life)
        match kind:
            case "done" | "suppressed" | "cancelled" | "expired":
                told = outcome == "cancelled+" and life > 0
                if kind == "expired" or told:
                    self._remember(job_id, attempt, kind)
                self._end(job, kind, remembered=now + life if result or told else 0)
            case "dead":
                self._remember(job_id, attempt, "dead")
                self._bury(now, job)
            case "retry":
                self._remember(job_id, attempt, "retry")
                job.failed = attempt
                self._wait(job, now + delay)
                self.woken.add(job.lane)
            case "defer":
                self._remember(job_id, attempt, "deferred")
                self._wait(job, now + delay)
                self.woken.add(job.lane)
            case "park":
                self._remember_parking(job_id, attempt)
                job.parked = orjson.loads(result)
                self._wait(job, now + delay)
        return 1

    def return_strays(self, now: int, lane: str, worker: str, numbers: Sequence[int]) -> int:
        """Take back the leases of claims whose reply was lost; nothing is counted."""
        strays = [job for job in self.queued(lane) if self._claim_number(job.id, worker) in numbers]
        for job in strays:
            self._give_back(job)
            job.due = now
            job.retrying = job.failed > 0
        return len(strays)

    def _claim_number(self, job_id: str, worker: str) -> int:
        claimant = self.tokens[job_id].content.decode().partition(":")[0] if job_id in self.tokens else ""
        name, _, number = claimant.rpartition("-")
        return int(number) if name == worker else -1

    def first_free(self, now: int, lane: str) -> Job | None:
        """What a stock arq worker would take."""
        return next((job for job in self.due_jobs(now, lane) if job.id not in self.tokens), None)

    def _is_at_arq(self, job: Job) -> bool:
        return job.id in self.tokens and self.tokens[job.id].content == b"1"

    def run_at_arq(self, job_id: str, *, until: int) -> None:
        """A stock arq worker has taken it; we shall hear nothing of it."""
        self.tokens[job_id] = Mortal(b"1", until)

    # What people do

    def revive(self, now: int, job_id: str) -> tuple[str, str]:
        """Bring a dead job back as if never tried; what became of it, and its lane."""
        job = self.jobs.get(job_id)
        if job is None or job.dead_at is None:
            return "not dead", ""
        self.results.pop(job_id, None)
        if job.payload is None:
            self._end(job, "vanished")
            return "vanished", job.lane
        job.dead_at, job.due = None, now
        self._remember(job_id, 0, "revived")
        self.counters[f"revived:{job.lane}"] += 1
        self.woken.add(job.lane)
        return "revived", job.lane

    def take_out(self, now: int, job_id: str, fate: str) -> tuple[str, str]:
        """Discard or cancel; what became of it, and its lane."""
        job = self.jobs.get(job_id)
        if job is None:
            return "unknown", ""
        if job.dead_at is None and (job_id in self.tokens or (job.deadline or 0) > now):
            return self._stop(now, job, fate), job.lane
        if job.dead_at is not None and fate == "cancelled":
            return "dead", job.lane
        self._count(job)
        self._unknown_effect(job)
        self.results.pop(job_id, None)
        if self._end(job, fate):
            self.woken.add(job.lane)
        return "gone", job.lane

    def _stop(self, now: int, job: Job, fate: str) -> str:
        if fate == "discarded":
            return "running"
        if job.deadline is None or job.deadline <= now:
            return "foreign"  # a stock arq worker has it
        told, job.stopping = job.stopping, True
        return "told" if told else "stopping"

    def edit(self, job_id: str, known: bytes, payload: bytes) -> str:
        """Replace the payload of a dead job, if it still is the known one."""
        job = self.jobs.get(job_id)
        if job is None or job.dead_at is None:
            return "not dead"
        if job.payload != known:
            return "changed"
        job.payload, job.payload_expires = payload, -1
        self._remember(job_id, 0, "edited")
        return "edited"

    def unpark(self, now: int, job_id: str) -> tuple[str, str]:
        """Let a parked job go; what became of it, and its lane."""
        job = self.jobs.get(job_id)
        if job is None or job.parked is None:
            return "not parked", ""
        self._remember(job_id, 0, "unparked")
        job.parked, job.due = None, now
        self.woken.add(job.lane)
        return "unparked", job.lane

    def release_parked(self, now: int, lane: str, kind: str, version: int) -> int:
        """A worker starts that knows one kind up to a version; how many jobs that lets go.

        It claims them itself, and wakes no worker that may not know them.
        """
        needs = {f"{kind}@{known}" for known in range(version + 1)}
        able = [job for job in self.queued(lane) if job.parked and job.parked["needs"] in needs]
        for job in able:
            job.parked, job.due = None, now
        return len(able)

    def hold(self, lane: str, until: int | None) -> None:
        """Claim nothing of the lane until then, or until it is released."""
        self.holds[lane] = until

    def release(self, lane: str) -> bool:
        """Let it go on; whether it was held (or remembered as such)."""
        if lane not in self.holds:
            return False
        del self.holds[lane]
        self.woken.add(lane)
        return True

    # How a job goes on, and ends

    def _accept(self, job: Job) -> Job:
        job.request = len(self.fates)
        self.fates[job.request] = ""
        self.counters[f"accepted:{job.lane}"] += 1
        self.jobs[job.id] = job
        return job

    def _count(self, job: Job) -> None:
        if not job.counted:
            job.counted = True
            self._accept(job)

    def _give_back(self, job: Job) -> None:
        job.deadline = None
        del self.tokens[job.id]

    def _wait(self, job: Job, due: int) -> None:
        job.due = due
        job.retrying = job.failed > 0

    def _remember(self, job_id: str, attempt: int, outcome: str) -> None:
        history = self.histories.setdefault(job_id, History())
        history.events.append((attempt, outcome))
        history.expires = -1

    def _remember_parking(self, job_id: str, attempt: int) -> None:
        """Once, however often it is parked for the same reason."""
        if job_id not in self.histories or self.histories[job_id].events[-1][1] != "parked":
            self._remember(job_id, attempt, "parked")

    def _unknown_effect(self, job: Job) -> int:
        effect, job.effect = job.effect, 0
        if effect:
            self._count_uncertain(job)
            self._remember(job.id, effect, "uncertain")
        return effect

    def _count_uncertain(self, job: Job) -> None:
        self.counters[f"uncertain:{job.lane}"] += 1
        self.uncertain[job.id] = self._now

    def _bury(self, now: int, job: Job) -> None:
        self.counters[f"dead:{job.lane}"] += 1
        following, job.following = job.following, None
        job.dead_at, job.deadline = now, None
        job.failed = job.lapses = 0
        job.retrying = job.stopping = False
        job.parked = job.progress = job.waits_from = None
        job.has_place = False
        if following:
            self._end(job, "discarded", remembered=-1)
            self._follow(job, following)

    def _end(self, job: Job, fate: str, *, remembered: int = 0) -> Job | None:
        """The request behind it is over; the job that follows it, if any.

        Args:
            remembered: until when its history is kept, -1 for good; 0: not at all.
        """
        assert self.fates[job.request] == "", f"{job.id} ended twice: {self.fates[job.request]}, then {fate}"
        self._unknown_effect(job)
        self.fates[job.request] = fate
        self.counters[f"{fate}:{job.lane}"] += 1
        del self.jobs[job.id]
        self._release_key(job)
        if remembered and job.id in self.histories:
            self.histories[job.id].expires = remembered
        else:
            self.histories.pop(job.id, None)
        return self._follow(job, job.following) if job.following else None

    def _follow(self, job: Job, following: tuple[int, bytes]) -> Job:
        due, payload = following
        self.woken.add(job.lane)
        if job.id in self.histories:
            self.histories[job.id].expires = -1
        return self._accept(Job(job.id, job.lane, payload, due, -1))
