"""What must be true of the ledger, as plain sets of what was asked for and said; it knows no rule of the product.

exists      a job is in Postgres if and only if its transaction committed
conserved   committed = ended + live. A live job is pending, or Redis has it, or Redis has lost it; the last only
            from a loss of data until the next complete search
over        a job that has ended is not claimed again, and its end stays, unless Redis went back or an operator
            revived it; an end is one that somebody gave
seen        no effect begins while an earlier one of the same job may have happened unseen: an outcome said so,
            or the claim, or the ledger. Of a job that Redis took before its row was staged, this holds from when
            a relay has handed the row over; Redis may go back to before that
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.ledger_model.stores import Stores

END_STATES = {"done", "suppressed", "dead", "cancelled", "discarded", "expired"}


@dataclass(slots=True)
class BegunEffect:
    """An effect that may have happened.

    Attributes:
        is_marked: the ledger has its mark; of a job that Redis took before its row was staged, once a relay has
            handed the row over.
        losses: how often Redis had lost data by then.
        is_doubted: a worker was about to say that it is uncertain; it is seen if the ledger says so.
    """

    attempt: int
    is_marked: bool
    losses: int
    is_seen: bool = False
    is_doubted: bool = False


@dataclass(slots=True)
class AskedJob:
    """A job that an application asked for.

    Attributes:
        key: its group and key, or none.
        content: what the key stands for.
        is_direct: Redis took it before its row was staged.
        given: ends that somebody gave it.
        claims: how often it was claimed.
        over: how often Redis had lost data when it ended; -1: it has not.
    """

    id: str
    key: tuple[str, str] | None
    content: str
    is_direct: bool = False
    given: set[str] = field(default_factory=set)
    claims: int = 0
    over: int = -1
    effects: list[BegunEffect] = field(default_factory=list)


@dataclass(slots=True)
class Oracle:
    """The sets.

    Attributes:
        open: jobs of transactions that are open, by application.
        kept: jobs whose rows must be there.
        removed: jobs that had ended and whose days were removed.
        losses: how often Redis has lost data.
        may_be_lost: jobs that a loss may have taken and no search has looked for.
        may_be_stale: jobs that Redis may hold as live although they have ended.
    """

    asked: dict[str, AskedJob] = field(default_factory=dict)
    open: dict[int, set[str]] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    losses: int = 0
    may_be_lost: set[str] = field(default_factory=set)
    may_be_stale: set[str] = field(default_factory=set)
    ends: dict[str, str] = field(default_factory=dict)

    # Transactions

    def ask(self, job: AskedJob, application: int) -> None:
        """Note a job; it belongs to the application's transaction, or to none if that has none."""
        self.asked[job.id] = job
        self.open.get(application, self.kept).add(job.id)

    def commit(self, application: int) -> None:
        self.kept |= self.open.pop(application)

    def roll_back(self, application: int) -> None:
        self.open.pop(application, None)

    # Losses

    def lose_redis(self, restored: Iterable[str]) -> None:
        """Note that Redis has these jobs as live now, and whatever it had before no more."""
        self.losses += 1
        self.may_be_lost |= self.kept
        self.may_be_stale = set(restored)

    def search(self, stopping: set[str] | None) -> None:
        """Note that a search is complete which began after the last loss.

        Args:
            stopping: running jobs that are to be stopped; None if no jobs were looked for that have ended.
        """
        self.may_be_lost.clear()
        if stopping is not None:
            self.may_be_stale &= stopping

    # Workers

    def claim(self, job_id: str, told: int, stores: Stores) -> None:
        """Note a claim. ``told``: the attempt of which it was told that its effect may have happened."""
        job = self.asked.get(job_id)
        assert job, f"{job_id} was claimed, and nobody asked for it"
        assert job.is_direct or job_id in self.kept, f"{job_id} was claimed, and its transaction has not committed"
        assert job.over != self.losses, f"{job_id} was claimed although it has ended as {job.given}"
        state = stores.ends.get(job_id, ("", ""))[0]
        assert state in ("", "dead") or job_id in self.may_be_stale or job.is_direct, (
            f"{job_id} was claimed although the ledger has its end: {state}"
        )
        job.claims += 1
        for one in job.effects:
            one.is_seen |= one.attempt <= told

    def begin(self, job_id: str, attempt: int, stores: Stores, *, is_marked: bool) -> BegunEffect:
        """Note that an effect begins now."""
        job = self.asked[job_id]
        state = stores.ends.get(job_id, ("", ""))[0]
        forgiven = not is_marked and self.losses
        assert forgiven or state in ("", "dead"), f"the effect of {job_id} begins, which has ended: {state}"
        unseen = [one for one in job.effects if not (self._is_seen(job_id, one, stores) or self._is_forgiven(one))]
        assert forgiven or not unseen, (
            f"the effect of {job_id} begins once more in silence: {unseen} may have happened"
        )
        job.effects.append(BegunEffect(attempt, is_marked, self.losses))
        return job.effects[-1]

    def see_all(self, job_id: str) -> None:
        """Note that a worker learnt of effects that may have happened."""
        for one in self.asked[job_id].effects:
            one.is_seen = True

    def take_back(self, job_id: str, effect: BegunEffect) -> None:
        """Note that an effect is known not to have happened."""
        self.asked[job_id].effects.remove(effect)

    def offer(self, job_id: str, outcome: str) -> None:
        """Note an outcome of which nobody may ever hear whether it was accepted."""
        if outcome.endswith("+"):
            for one in self.asked[job_id].effects:
                one.is_doubted = True
        if outcome.rstrip("+") in END_STATES:
            self.asked[job_id].given.add(outcome.rstrip("+"))

    def end(self, job_id: str, state: str) -> None:
        """Note that an end was accepted."""
        self.asked[job_id].given.add(state)
        self.asked[job_id].over = self.losses

    def take_out(self, job_id: str, state: str, stores: Stores) -> None:
        """Note that an operator took a job out.

        One whose row no relay has seen leaves nothing behind by which a relay would know it: it runs by its row,
        or is recorded as done.
        """
        self.end(job_id, state)
        if self._has_unseen_row(job_id, stores):
            self.asked[job_id].over = -1
            self.asked[job_id].given.add("done")

    def stop(self, job_id: str, stores: Stores) -> None:
        """Note that a running job is to be stopped; of one whose row no relay has seen, as above."""
        if self._has_unseen_row(job_id, stores):
            self.asked[job_id].given.add("done")

    def _has_unseen_row(self, job_id: str, stores: Stores) -> bool:
        return self.asked[job_id].is_direct and job_id not in stores.live | stores.unrecorded | stores.ends.keys()

    def revive(self, job_id: str) -> None:
        """Note that a dead job is live again: what is unknown of its effects was counted when it died.

        One that ended later, before Redis went back, stays ended in the ledger.
        """
        self.asked[job_id].over = -1
        self.see_all(job_id)
        if self.ends.get(job_id, "dead") != "dead":
            self.may_be_stale.add(job_id)

    def _is_seen(self, job_id: str, effect: BegunEffect, stores: Stores) -> bool:
        return effect.is_seen or (effect.is_doubted and (job_id, effect.attempt) in stores.counted)

    def _is_forgiven(self, effect: BegunEffect) -> bool:
        return not effect.is_marked and effect.losses != self.losses

    # Retention

    def remove(self, ids: set[str]) -> None:
        self.removed |= ids
        self.kept -= ids
        for job_id in ids:
            self.ends.pop(job_id, None)

    # What must hold

    def require(self, stores: Stores) -> None:
        """All of it."""
        self._note_marks(stores)
        jobs = {*stores.jobs}
        assert jobs == self.kept, f"rows without a commit, or commits without a row: {jobs ^ self.kept}"
        assert stores.pending <= jobs, f"pending without a job: {stores.pending - jobs}"
        self._require_ends(stores)
        known = stores.live | stores.unrecorded | stores.queued | stores.dead
        direct = {job.id for job in self.asked.values() if job.is_direct}
        strangers = known - jobs - direct - self.removed
        assert not strangers, f"Redis has jobs whose transactions have not committed: {strangers}"
        assert stores.lost <= self.may_be_lost, f"lost: {stores.lost - self.may_be_lost}"
        assert stores.stale <= self.may_be_stale, f"live although ended: {stores.stale - self.may_be_stale}"
        nowhere = stores.live - stores.queued
        assert not nowhere, f"live in Redis, and in no queue: {nowhere}"

    def _note_marks(self, stores: Stores) -> None:
        """Note that the ledger has the marks of effects since the last loss whose jobs are handed over."""
        for job_id in stores.live - stores.pending:
            for one in self.asked[job_id].effects:
                one.is_marked |= one.losses == self.losses

    def _require_ends(self, stores: Stores) -> None:
        for job_id, (state, reply) in stores.ends.items():
            self._require_given(job_id, state, reply)
        gone = {one for one, state in self.ends.items() if stores.ends.get(one, ("", ""))[0] != state}
        changed = {one for one in gone if self.ends[one] != "dead"}
        assert not changed, f"ends changed: {[(one, self.ends[one], stores.ends.get(one)) for one in changed]}"
        self.ends = {job_id: state for job_id, (state, _) in stores.ends.items()}

    def _require_given(self, job_id: str, state: str, reply: str) -> None:
        job = self.asked.get(job_id)
        assert job, f"{job_id} has an end, and nobody asked for it"
        if state in ("duplicate", "quarantined"):
            others = [one for one in self.asked.values() if one.key == job.key and one.id in reply]
            same = [one for one in others if (one.content == job.content) == (state == "duplicate")]
            assert job.key, f"{job_id} ended as {state}, and has no key"
            assert same, f"{job_id} ended as {state}, and no other job has its key: {reply}"
        elif state == "dead" and reply == "crash_loop":
            assert job.claims > 2, f"{job_id} died of lost leases, and was claimed {job.claims} times"
            self.see_all(job_id)
        else:
            assert state in job.given, f"{job_id} ended as {state}, and was given {job.given or 'no end'}"

    def require_over(self, stores: Stores) -> None:
        """When all is quiet, every job has ended, and no store has anything else."""
        self.require(stores)
        left = {
            "pending": stores.pending,
            "live": stores.live,
            "unrecorded": stores.unrecorded,
            "queued": stores.queued,
        }
        where = {name: ids for name, ids in left.items() if ids}
        assert stores.ends.keys() == self.kept, f"not ended: {self.kept - stores.ends.keys()}; there is {where}"
        assert not where, f"ended, and still somewhere: {where}"
        if not self.losses:
            self._require_one_of_each_key()

    def _require_one_of_each_key(self) -> None:
        """While Redis keeps its data, one job of a key runs."""
        ran: dict[tuple[str, str], list[str]] = {}
        for job in self.asked.values():
            if job.key and job.claims:
                ran.setdefault(job.key, []).append(job.id)
        double = {key: ids for key, ids in ran.items() if len(ids) > 1}
        assert not double, f"keys of which several jobs ran: {double}"
