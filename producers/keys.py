"""Every Redis key of the queue, made in one place. docs/wire.md says what each holds.

The keys that begin with ``arq:`` are arq's own wire. All keys of a lane group carry its hash tag, so that
they live in one slot of a Redis Cluster and one script may touch them together.
"""

from dataclasses import dataclass


def group_of(lane: str) -> str:
    """The lane group: the word before the first dot."""
    return lane.partition(".")[0]


@dataclass(frozen=True, slots=True)
class LaneKeys:
    """The keys of one lane.

    Example:
        >>> LaneKeys("mail.normal").queue
        'arq:queue:{mail}:mail.normal'
    """

    lane: str

    @property
    def tag(self) -> str:
        """The hash tag, braces included; job ids begin with it."""
        return f"{{{group_of(self.lane)}}}"

    @property
    def queue(self) -> str:
        """ZSET of job ids by the time (ms) at which they may be claimed."""
        return f"arq:queue:{self.tag}:{self.lane}"

    @property
    def wake(self) -> str:
        """LIST with at most one token; idle workers block on it."""
        return f"momentus:{self.tag}:wake:{self.lane}"

    @property
    def leases(self) -> str:
        """ZSET of running job ids by the deadline (ms) of their lease."""
        return f"momentus:{self.tag}:leases:{self.lane}"

    @property
    def retrying(self) -> str:
        """SET of waiting job ids that have failed before."""
        return f"momentus:{self.tag}:retrying:{self.lane}"

    @property
    def dead(self) -> str:
        """ZSET of job ids that were given up, by the time (ms) at which they were."""
        return f"momentus:{self.tag}:dead:{self.lane}"

    @property
    def counters(self) -> str:
        """HASH of counts since ever, one field per event and lane."""
        return f"momentus:{self.tag}:counters"

    @property
    def lapses(self) -> str:
        """HASH of how many leases each job has lost."""
        return f"momentus:{self.tag}:lapses"

    @property
    def effects(self) -> str:
        """HASH of effects that have begun and whose outcome is not recorded yet, job id to attempt."""
        return f"momentus:{self.tag}:effects"

    @property
    def holds(self) -> str:
        """HASH of what is held, ``lane:<lane>`` to JSON with until when and why."""
        return f"momentus:{self.tag}:holds"

    @property
    def cancelled(self) -> str:
        """SET of running jobs that are to be stopped."""
        return f"momentus:{self.tag}:cancelled"

    @property
    def crons(self) -> str:
        """HASH of the last tick (ms) of each cron."""
        return f"momentus:{self.tag}:crons"

    @property
    def adopted(self) -> str:
        """SET of unfinished jobs that came from a stock arq producer and were counted when first seen."""
        return f"momentus:{self.tag}:adopted"

    @property
    def next(self) -> str:
        """HASH of what to queue when a running recompute ends, job id to due time and payload."""
        return f"momentus:{self.tag}:next"

    @property
    def workers(self) -> str:
        """ZSET of worker ids by the time (ms) at which they last reported."""
        return f"momentus:{self.tag}:workers"

    def worker(self, worker_id: str) -> str:
        """STRING, JSON: what one worker last reported."""
        return f"momentus:{self.tag}:worker:{worker_id}"

    def history(self, job_id: str) -> str:
        """LIST of JSON: what happened to one job, until it is done."""
        return f"momentus:{self.tag}:history:{job_id}"


def catalogue(tenant: str) -> str:
    """HASH of the declared reports, name to JSON."""
    return f"momentus:{{reports}}:catalogue:{tenant}"
