"""Who may speak for a job, by what the workers were told: the fence, judged apart from the model.

A lease is granted by a claim and prolonged by a renewal. It is over when its time is, when the job was given to
somebody else, and when its holder said how the job ended. Times here only go forward: the server's clock and all
that `step_clock` has let pass.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Held:
    """The last lease that was granted of a job."""

    token: str
    until: int


@dataclass(slots=True)
class Fence:
    """The leases of all jobs."""

    held: dict[str, Held] = field(default_factory=dict)

    def grant(self, job_id: str, token: str, *, now: int, until: int) -> None:
        """Somebody was given the job; nobody else may have it."""
        before = self.held.get(job_id)
        assert before is None or before.until <= now, f"{job_id} has two live leases: {before} and {token}"
        assert before is None or before.token != token, f"{token} was given out twice for {job_id}"
        self.held[job_id] = Held(token, until)

    def prolong(self, job_id: str, token: str, *, now: int, until: int) -> None:
        """A renewal was granted."""
        self._require(job_id, token, now, "renewed")
        self.held[job_id].until = until

    def accept(self, job_id: str, token: str, *, now: int) -> None:
        """An outcome was recorded: the lease is over."""
        self._require(job_id, token, now, "heard")
        self.held[job_id].until = now

    def take_back(self, job_id: str, token: str, *, now: int) -> None:
        """The lease was taken back, if it still was the last, since its holder never learnt of it."""
        if self.held[job_id].token == token:
            self.held[job_id].until = now

    def _require(self, job_id: str, token: str, now: int, what: str) -> None:
        held = self.held.get(job_id)
        assert held, f"{token} was {what} for {job_id}, which nobody had"
        assert held.token == token, f"{token} was {what} for {job_id} after {held.token} had got it"
        assert now < held.until, f"{token} was {what} for {job_id} {now - held.until} ms after its lease"
