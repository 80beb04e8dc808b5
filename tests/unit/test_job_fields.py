"""Fields of own jobs: what is sent arrives equal, and what does not fit is refused by its place."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import orjson
import pytest
from hypothesis import given, strategies as st

from jobs import InvalidJob, Job, NamedJob


class Colour(Enum):
    RED = "red"
    BLUE = 7


@dataclass(frozen=True)
class Line:
    price: Decimal
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Everything(Job, kind="everything.do"):
    truth: bool
    whole: int
    part: float
    text: str
    at: datetime
    on: date
    lasting: timedelta
    uuid: UUID
    amount: Decimal
    word: Literal["a", 1]
    colour: Colour
    numbers: tuple[int, ...]
    by_name: dict[str, Line]
    line: Line | None
    anything: Any


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WHOLE = st.integers(-(2**63) + 1, 2**63 - 1)
LINES = st.builds(Line, st.decimals(allow_nan=False, allow_infinity=False), st.lists(TEXT, max_size=3))
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=3))])
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | TEXT | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
LASTING = st.timedeltas(timedelta(days=-100_000), timedelta(days=100_000))
EVERYTHING = st.builds(
    Everything,
    truth=st.booleans(),
    whole=WHOLE,
    part=st.floats(allow_nan=False, allow_infinity=False),
    text=TEXT,
    at=st.datetimes(timezones=ZONES),
    on=st.dates(),
    lasting=LASTING,
    uuid=st.uuids(),
    amount=st.decimals(allow_nan=False, allow_infinity=False),
    word=st.sampled_from(["a", 1]),
    colour=st.sampled_from(Colour),
    numbers=st.lists(WHOLE, max_size=3).map(tuple),
    by_name=st.dictionaries(TEXT, LINES, max_size=3),
    line=st.none() | LINES,
    anything=JSON,
)


@given(EVERYTHING)
def test_what_is_sent_arrives_equal(job: Everything) -> None:
    payload = orjson.loads(orjson.dumps(job.compose(job_id="", now=datetime.now(UTC))))
    assert Everything.read(payload) == job
    assert NamedJob(job.kind, payload).fingerprint() == job.fingerprint()


@dataclass(frozen=True)
class Order(Job, kind="order.take"):
    number: int = 0
    ratio: float = 0.0
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    lines: list[Line] = field(default_factory=list)
    note: str | None = None
    anything: Any = None


UNSENDABLE: list[tuple[dict[str, Any], str]] = [
    ({"number": "7"}, "number: must be int, not a value of type str"),
    ({"number": True}, "number: must be int, not a value of type bool"),
    ({"number": 2**63}, "number: is a number over 64 bits"),
    ({"ratio": float("nan")}, "ratio: is nan"),
    ({"at": datetime(2026, 1, 1)}, "at: has no time zone"),  # noqa: DTZ001  that is the fault
    ({"lines": [Line(Decimal("NaN"))]}, "lines[0].price: is NaN"),
    ({"lines": [Line(Decimal(1), ["a", 3])]}, "lines[0].tags[1]: must be str"),  # type: ignore[list-item]
    ({"note": "a \udc80"}, "note: is not valid Unicode"),
    ({"anything": {"a": {1: 2}}}, "anything.a: has a key of type int"),
    ({"anything": [object()]}, "anything[0]: is of type object, which JSON cannot represent"),
]


@pytest.mark.parametrize(("values", "told"), UNSENDABLE, ids=lambda value: str(value)[:30])
def test_a_value_that_a_payload_cannot_hold_is_refused_when_it_is_sent(values: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidJob) as refusal:
        Order(**values).compose(job_id="", now=datetime.now(UTC))
    assert told in str(refusal.value)


UNREADABLE: list[tuple[dict[str, Any], str]] = [
    ({"number": "7"}, "number: must be int"),
    ({"number": 7.5}, "number: must be int"),
    ({"at": "2026-01-01T00:00:00"}, "at: must be datetime"),
    ({"at": "yesterday"}, "at: must be datetime"),
    ({"lines": [{}]}, "lines[0].price: is missing; Line has no default for it"),
    ({"lines": [{"price": "1", "prize": 2}]}, "lines[0].prize: is not a field of Line; its fields: price, tags"),
    ({"lines": {"price": "1"}}, "lines: must be list"),
    ({"note": 7}, "note: must be str"),
]


@pytest.mark.parametrize(("payload", "told"), UNREADABLE, ids=lambda value: str(value)[:30])
def test_a_payload_that_does_not_fit_is_refused_by_its_place_without_its_value(
    payload: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidJob) as refusal:
        Order.read(payload)
    assert told in str(refusal.value)
    assert "yesterday" not in str(refusal.value)


def test_a_job_may_have_slots_and_inherits_its_policy() -> None:
    @dataclass(frozen=True, slots=True)
    class Small(Job, kind="small.do", lane="small"):
        n: int

    assert (Small.kind, Small.lane, Small(n=1).policy) == ("small.do", "jobs.small", Job.policy)


@pytest.mark.parametrize("lane", ["Big", "a b", "9", "mail.normal", "jobs.", "x" * 33])
def test_a_lane_of_another_form_is_refused(lane: str) -> None:
    with pytest.raises(ValueError, match="lane: "):
        NamedJob("order.take", lane=lane)
