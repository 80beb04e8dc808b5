"""Names of all Redis keys of the queue; docs/wire.md describes their content.

Keys that begin with ``arq:`` are in arq's own format. All keys of a lane group carry its hash tag, so that
they share one slot of a Redis Cluster and one script may use them together.
"""

from dataclasses import dataclass

from .link.command import tag_of as tag_of


def group_of(lane: str) -> str:
    """Return a lane's group: the word before the first dot."""
    return lane.partition(".")[0]


@dataclass(frozen=True, slots=True)
class LaneKeys:
    """Redis keys of one lane.

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
    def staged(self) -> str:
        """LIST with at most one token: rows were staged in the ledger; relays block on it."""
        return f"momentus:{self.tag}:staged"

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
        """ZSET of dead job ids, by the time (ms) at which they died."""
        return f"momentus:{self.tag}:dead:{self.lane}"

    @property
    def counters(self) -> str:
        """HASH of total counts, one field per event and lane."""
        return f"momentus:{self.tag}:counters"

    @property
    def lapses(self) -> str:
        """HASH of the number of leases that each job has lost."""
        return f"momentus:{self.tag}:lapses"

    @property
    def effects(self) -> str:
        """HASH of started effects without a recorded outcome, job id to attempt."""
        return f"momentus:{self.tag}:effects"

    @property
    def uncertain(self) -> str:
        """ZSET of jobs with an effect of unknown outcome, by the time (ms) at which that was counted."""
        return f"momentus:{self.tag}:uncertain"

    @property
    def holds(self) -> str:
        """HASH of holds, ``lane:<lane>`` to JSON with their end and reason."""
        return f"momentus:{self.tag}:holds"

    @property
    def cancelled(self) -> str:
        """SET of running jobs whose stop was requested."""
        return f"momentus:{self.tag}:cancelled"

    @property
    def parked(self) -> str:
        """HASH of parked jobs, job id to JSON with the reason."""
        return f"momentus:{self.tag}:parked:{self.lane}"

    @property
    def progress(self) -> str:
        """HASH of the progress of running jobs, job id to JSON."""
        return f"momentus:{self.tag}:progress"

    @property
    def limits(self) -> str:
        """HASH of limits, key to JSON; ``lane:<lane>``: the lane's binding; ``slow:<key>``: the limit's pace."""
        return f"momentus:{self.tag}:limits"

    @property
    def buckets(self) -> str:
        """HASH of the usage of each rate of each limit, ``<key>#<number>`` to an instant (ms)."""
        return f"momentus:{self.tag}:buckets"

    @property
    def limited(self) -> str:
        """HASH of unfinished jobs that name a limit, job id to the limit's key."""
        return f"momentus:{self.tag}:limited"

    @property
    def keyed(self) -> str:
        """HASH of unfinished and dead jobs with a caller's key, job id to the key's window (ms)."""
        return f"momentus:{self.tag}:keyed"

    @property
    def short(self) -> str:
        """SET of lanes that wait for a place of a limit; a freed place wakes them."""
        return f"momentus:{self.tag}:short"

    @property
    def turns(self) -> str:
        """HASH of the lanes' turns when limits give less than the lanes demand: see turns.lua."""
        return f"momentus:{self.tag}:turns"

    @property
    def held_back(self) -> str:
        """SET of waiting jobs that are blocked by the limit that they name."""
        return f"momentus:{self.tag}:held_back:{self.lane}"

    @property
    def crons(self) -> str:
        """HASH of the last tick (ms) of each cron."""
        return f"momentus:{self.tag}:crons"

    @property
    def adopted(self) -> str:
        """SET of unfinished jobs of stock arq producers, which were counted when first claimed."""
        return f"momentus:{self.tag}:adopted"

    @property
    def next(self) -> str:
        """HASH of recomputes to queue when a running one ends, job id to due time and payload."""
        return f"momentus:{self.tag}:next"

    def digest(self, name: str) -> str:
        """HASH of the pending digest under a collapse key: id, due (ms), count and items."""
        return f"momentus:{self.tag}:digest:{name}"

    def occupying(self, key: str) -> str:
        """SET of running jobs that hold a place of a limit."""
        return f"momentus:{self.tag}:occupying:{key}"

    def blocked(self, key: str) -> str:
        """ZSET of ``<lane> <id>`` of jobs blocked by the limit that they name, by the time (ms) of their turn."""
        return f"momentus:{self.tag}:blocked:{key}"

    @property
    def dataset(self) -> str:
        """HASH of the id of the group's data, and the number and time of losses of earlier data."""
        return f"momentus:{self.tag}:dataset"

    @property
    def ledger(self) -> str:
        """HASH of live jobs of the ledger, job id to the day (since 1970) of its row in Postgres."""
        return f"momentus:{self.tag}:ledger"

    @property
    def ended(self) -> str:
        """HASH of ended jobs of the ledger, job id to JSON, until Postgres has their ends."""
        return f"momentus:{self.tag}:ended"

    @property
    def workers(self) -> str:
        """ZSET of worker ids by the time (ms) at which they last reported."""
        return f"momentus:{self.tag}:workers"

    def worker(self, worker_id: str) -> str:
        """STRING, JSON: the last report of one worker."""
        return f"momentus:{self.tag}:worker:{worker_id}"

    def history(self, job_id: str) -> str:
        """LIST of JSON: the events of one job, until it is done."""
        return f"momentus:{self.tag}:history:{job_id}"


def catalogue(tenant: str) -> str:
    """Return the key of the HASH of declared reports, name to JSON."""
    return f"momentus:{{reports}}:catalogue:{tenant}"


MAIL_SUPPRESSION = "momentus:{mail}:suppression"
"""HASH of suppressed addresses, digest to JSON with the reasons."""
MAIL_SUPPRESSION_LOG = "momentus:{mail}:suppression:log"
"""LIST of JSON: changes of the suppression list, newest last."""


def mail_failures(digest: str) -> str:
    """Return the key of the ZSET of days on which an address had a temporary failure."""
    return f"momentus:{{mail}}:failures:{digest}"


MAIL_DOUBTS = "momentus:{mail}:doubts"
"""HASH of domains and accounts with mass refusals of recipients, name to JSON."""


MAIL_BOUNCES_SEEN = "momentus:{mail}:bounces:seen"
"""ZSET of processed bounces, digest by time (ms)."""
MAIL_BOUNCES_UNKNOWN = "momentus:{mail}:bounces:unknown"
"""LIST of JSON: bounces that match no sent mail, newest last."""


MAIL_SENT = "momentus:{mail}:sent:"
"""Prefix of the keys of :func:`mail_sent`."""


def mail_sent(day: int) -> str:
    """Return the key of a HASH: mails accepted on a day since 1970, Message-ID's left part to address digest."""
    return f"{MAIL_SENT}{day}"


def mail_recipients(job_id: str) -> str:
    """Return the key of a HASH: settled recipients of an unfinished mail to several, place to outcome."""
    return f"momentus:{{mail}}:recipients:{job_id}"


MAIL_ROUTED = "momentus:{mail}:routed"
"""HASH of mails that only some accounts may send, job id to their lane and accounts."""


def mail_account(name: str) -> str:
    """Return the key of the HASH of a mail account's circuit breaker."""
    return f"momentus:{{mail}}:account:{name}"


def mail_permits(name: str) -> str:
    """Return the key of a ZSET: all workers' connections to a mail account, by their expiry (ms)."""
    return f"momentus:{{mail}}:permits:{name}"


def mail_wanted(name: str) -> str:
    """Return the key of a ZSET: ``<priority> <worker>`` that wait for a permit of an account, by expiry (ms)."""
    return f"momentus:{{mail}}:wanted:{name}"
