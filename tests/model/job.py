"""What the model knows of one job: one object, where the server has up to twelve keys. Times are milliseconds."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Mortal:
    """What lives for a time; -1: until something ends that."""

    content: bytes
    expires: int


@dataclass(slots=True)
class History:
    """What happened to a job; it outlives the job as long as the result beside it."""

    events: list[tuple[int, str]] = field(default_factory=list)
    expires: int = -1


@dataclass(slots=True)
class Job:
    """A job that has not ended, or is dead.

    Attributes:
        payload: None when it has vanished.
        due: when it may run; while it runs, when its lease ends.
        request: the number of the accepted request that it fulfils.
        counted: whether it is among the accepted; one of a stock arq producer is not, before its first claim.
        failed: charged attempts.
        lapses: leases lost since an outcome was recorded, in tenths.
        deadline: of its lease; kept when that has lapsed, until somebody takes the job again.
        effect: the attempt whose effect began without a recorded outcome; 0: none.
        following: the recompute asked for while it ran: when, and what.
        limit: the key of the limit that it counts against, or "".
        waits_from: when it was due first, while its limit holds it back.
        has_place: whether it was claimed from its limit, and nobody has given that back.
        parked: why it is not to run, and what it needs; forgotten when it is taken.
        progress: what its handler told last.
        key: the caller's key, or "".
        key_until: how long that stands at least.
    """

    id: str
    lane: str
    payload: bytes | None
    due: int
    request: int
    foreign: bool = False
    payload_expires: int = -1
    counted: bool = True
    failed: int = 0
    lapses: int = 0
    deadline: int | None = None
    effect: int = 0
    retrying: bool = False
    stopping: bool = False
    dead_at: int | None = None
    following: tuple[int, bytes] | None = None
    limit: str = ""
    waits_from: int | None = None
    has_place: bool = False
    parked: dict[str, str] | None = None
    progress: dict[str, int] | None = None
    key: str = ""
    key_until: int = 0
