"""Every Redis key of the queue, made in one place. docs/wire.md says what each holds.

The keys that begin with ``arq:`` are arq's own wire. All keys of a lane group carry its hash tag, so that
they live in one slot of a Redis Cluster and one script may touch them together.
"""

from dataclasses import dataclass

from .link.cluster import tag_of as tag_of


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
    def uncertain(self) -> str:
        """ZSET of jobs whose effect began with an unknown outcome, by the time (ms) at which that was counted."""
        return f"momentus:{self.tag}:uncertain"

    @property
    def holds(self) -> str:
        """HASH of what is held, ``lane:<lane>`` to JSON with until when and why."""
        return f"momentus:{self.tag}:holds"

    @property
    def cancelled(self) -> str:
        """SET of running jobs that are to be stopped."""
        return f"momentus:{self.tag}:cancelled"

    @property
    def parked(self) -> str:
        """HASH of waiting jobs that are not to run yet, job id to JSON with why."""
        return f"momentus:{self.tag}:parked:{self.lane}"

    @property
    def progress(self) -> str:
        """HASH of how far running jobs are, job id to JSON."""
        return f"momentus:{self.tag}:progress"

    @property
    def limits(self) -> str:
        """HASH of limits, key to JSON; ``lane:<lane>``: which of them a lane needs; ``slow:<key>``: its pace."""
        return f"momentus:{self.tag}:limits"

    @property
    def buckets(self) -> str:
        """HASH of how far each rate of each limit is used up, ``<key>#<number>`` to an instant (ms)."""
        return f"momentus:{self.tag}:buckets"

    @property
    def limited(self) -> str:
        """HASH of unfinished jobs that name a limit of their own, job id to its key."""
        return f"momentus:{self.tag}:limited"

    @property
    def keyed(self) -> str:
        """HASH of unfinished and dead jobs with keys of callers, job id to how long (ms) each stands at least."""
        return f"momentus:{self.tag}:keyed"

    @property
    def short(self) -> str:
        """SET of lanes that wait for a place of a limit; who gives one back wakes them."""
        return f"momentus:{self.tag}:short"

    @property
    def turns(self) -> str:
        """HASH of whose turn it is when limits give less than the lanes ask for: see turns.lua."""
        return f"momentus:{self.tag}:turns"

    @property
    def held_back(self) -> str:
        """SET of waiting jobs that a limit of their own keeps from running."""
        return f"momentus:{self.tag}:held_back:{self.lane}"

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

    def digest(self, name: str) -> str:
        """HASH of the digest that waits under a collapse key: id, due (ms), count and items."""
        return f"momentus:{self.tag}:digest:{name}"

    def occupying(self, key: str) -> str:
        """SET of running jobs that hold a place of a limit."""
        return f"momentus:{self.tag}:occupying:{key}"

    def blocked(self, key: str) -> str:
        """ZSET of ``<lane> <id>`` that found a limit of their own used up, by the time (ms) of their turn."""
        return f"momentus:{self.tag}:blocked:{key}"

    @property
    def dataset(self) -> str:
        """HASH: the id of the group's data, and how often and when the data before it was lost."""
        return f"momentus:{self.tag}:dataset"

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


MAIL_SUPPRESSION = "momentus:{mail}:suppression"
"""HASH of addresses that are not written to, digest to JSON with the reasons."""
MAIL_SUPPRESSION_LOG = "momentus:{mail}:suppression:log"
"""LIST of JSON: who put what on the list or took it off, newest last."""


def mail_failures(digest: str) -> str:
    """ZSET of the days on which an address failed in a way that may pass."""
    return f"momentus:{{mail}}:failures:{digest}"


MAIL_DOUBTS = "momentus:{mail}:doubts"
"""HASH of domains and accounts of which many recipients are refused at once, name to JSON."""


def mail_taken(hour: int) -> str:
    """HASH of how many recipients servers took in each minute of an hour since 1970, by domain and by account."""
    return f"momentus:{{mail}}:taken:{hour}"


def mail_refused(name: str) -> str:
    """ZSET of digests of refused recipients of ``domain:<domain>`` or ``account:<account>``, by the time (ms)."""
    return f"momentus:{{mail}}:refused:{name}"


def mail_believed(name: str) -> str:
    """ZSET of those of them whose refusal counted against the address."""
    return f"momentus:{{mail}}:believed:{name}"


MAIL_BOUNCES_SEEN = "momentus:{mail}:bounces:seen"
"""ZSET of bounces that were taken in, digest by time (ms)."""
MAIL_BOUNCES_UNKNOWN = "momentus:{mail}:bounces:unknown"
"""LIST of JSON: reports that fit no mail of ours, newest last."""


MAIL_SENT = "momentus:{mail}:sent:"
"""How the keys of :func:`mail_sent` begin."""


def mail_sent(day: int) -> str:
    """HASH of the mails accepted on a day since 1970, left part of the Message-ID to digest of the recipient."""
    return f"{MAIL_SENT}{day}"


MAIL_ROUTED = "momentus:{mail}:routed"
"""HASH of mails that only some accounts may send, and which."""


def mail_account(name: str) -> str:
    """HASH: the breaker of a mail account."""
    return f"momentus:{{mail}}:account:{name}"


def mail_permits(name: str) -> str:
    """ZSET of the connections that all workers have to a mail account, by the time (ms) at which each lapses."""
    return f"momentus:{{mail}}:permits:{name}"


def mail_wanted(name: str) -> str:
    """ZSET of ``<priority> <worker>`` that found no permit for a mail account, by when (ms) that is forgotten."""
    return f"momentus:{{mail}}:wanted:{name}"
