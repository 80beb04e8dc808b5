"""A backend's own jobs: dataclasses whose fields are the payload, and whose class has kind, lane and policy.

Example:
    >>> @dataclass(frozen=True)
    ... class Invoice(Job, kind="invoice.send", lane="invoices"):
    ...     order: int
    >>> Invoice(order=7).lane, Invoice(order=7).compose(job_id="", now=datetime.now(UTC))
    ('jobs.invoices', {'order': 7})
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from .fields import InvalidJob, read_fields, write_fields
from .lanes import own_lane
from .policy import Policy, check_span

_KIND = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+\Z")
_KIND_LIMIT = 100
_RESERVED = ("mail", "report", "cron")


class Job:
    """A request for work of a backend's own kind. Subclass it with these arguments, as a frozen dataclass.

    Args:
        kind: permanent name on the wire, ``noun.verb``, never reused with another meaning.
        lane: name of a lane of its own, ``invoices``; left out, the lane of all own jobs.
        policy: its retries.
        version: of the fields' shape; raise it with each change, and give the handler upcasters.
        limit: key of the limit that each such job counts against, unless the call names another.
        life: time from when it may run, after which it is not worth running and expires.

    Raises:
        JobError: the kind or lane is malformed or reserved, or an option has the wrong type.
    """

    kind: str  # of the class; a ClassVar would not fit the producers' protocol, says pyright
    lane: str
    policy: ClassVar[Policy] = Policy()
    version: ClassVar[int] = 1
    limit: ClassVar[str | None] = None
    life: ClassVar[timedelta | None] = None

    def __init_subclass__(
        cls,
        *,
        kind: str | None = None,
        lane: str = "",
        policy: Policy | None = None,
        version: int = 1,
        limit: str | None = None,
        life: timedelta | None = None,
    ) -> None:
        super().__init_subclass__()
        if kind is None and "kind" in cls.__dict__:
            return  # dataclass(slots=True) makes the class a second time, from what it has
        if kind is None:
            raise InvalidJob(cls.__name__, 'has no kind; write class Invoice(Job, kind="invoice.send")')
        cls.kind, cls.lane = checked_kind(kind), own_lane(lane)
        _check_options(version, limit, life, policy)
        cls.version, cls.limit, cls.life = version, limit, life
        if policy is not None:
            cls.policy = policy

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        """Return the payload. Raises InvalidJob, naming the field."""
        del job_id, now
        return write_fields(self)

    def fingerprint(self) -> str:
        """Return a hash of all fields, by which jobs of a kind are compared."""
        return _fingerprint(self.version, write_fields(self))

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """Return the job that a payload describes. Raises InvalidJob, naming the field."""
        found: Self = read_fields(cls, payload)
        return found


@dataclass(frozen=True, slots=True)
class NamedJob:
    """A job by the name of its kind, for a backend that does not have its class.

    Attributes:
        payload: JSON-native values by field; the worker checks them against the class.

    Raises:
        JobError: the kind or lane is malformed, or the payload is not a dict.

    Example:
        >>> NamedJob("invoice.send", {"order": 7}, lane="jobs.invoices").lane
        'jobs.invoices'
    """

    kind: str
    payload: Mapping[str, object] = field(default_factory=dict, repr=False)
    lane: str = ""
    version: int = 1

    def __post_init__(self) -> None:
        checked_kind(self.kind)
        payload: object = self.payload
        if not isinstance(payload, Mapping):
            given = type(payload).__name__
            raise InvalidJob(
                "payload", f'must be a dict of fields, like {{"order": 7}}, not a value of type {given}'
            )
        object.__setattr__(self, "lane", own_lane(self.lane))

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        """Return the payload."""
        del job_id, now
        return self.payload

    def fingerprint(self) -> str:
        """Return the hash of the payload, the same as that of the job's class."""
        return _fingerprint(self.version, self.payload)


def checked_kind(kind: str) -> str:
    """Return the kind if it is valid for an own job.

    Raises:
        InvalidJob: the kind is malformed, or the name of a built-in kind.
    """
    if not isinstance(kind, str) or not _KIND.match(kind) or len(kind) > _KIND_LIMIT:
        raise InvalidJob("kind", f"{kind!r} must be noun.verb, in lower case, at most {_KIND_LIMIT} characters")
    if kind.partition(".")[0] in _RESERVED:
        raise InvalidJob("kind", f"{kind!r} is reserved: {', '.join(_RESERVED)} are names of built-in kinds")
    return kind


def _check_options(version: object, limit: object, life: object, policy: object) -> None:
    """Check the types of a class's options, so that a wrong one is reported where it is written."""
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidJob("version", f"must be a whole number of at least 1, not {version!r}")
    if not isinstance(limit, str | None):
        raise InvalidJob("limit", f"must be the key of a limit, like 'bank', not {limit!r}")
    if life is not None:
        check_span("life", life)
    if not isinstance(policy, Policy | None):
        raise InvalidJob("policy", f"must be a Policy(...), not {policy!r}")


def _fingerprint(version: int, payload: Mapping[str, object]) -> str:
    canonical = json.dumps([version, payload], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()
