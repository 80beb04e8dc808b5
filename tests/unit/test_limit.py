"""What a limit may be."""

from datetime import timedelta

import orjson
import pytest
from hypothesis import given, strategies as st

from producers.limits.limit import LaneLimit, Limit, LimitError, Rate, Window

MINUTE = timedelta(minutes=1)

lengths = st.integers(1, 366 * 86_400_000).map(lambda ms: timedelta(milliseconds=ms))
rates = st.builds(Rate, count=st.integers(1, 10**6), per=lengths, burst=st.integers(1, 10**6))
windows = st.builds(Window, count=st.integers(1, 10**9), per=lengths, parts=st.integers(1, 200))


@given(
    rates=st.lists(rates | windows, max_size=3),
    concurrency=st.none() | st.integers(1, 1000),
    reserve=st.floats(0, 1, exclude_max=True),
)
def test_a_limit_is_the_same_after_a_stay_in_redis(
    rates: list[Rate | Window], concurrency: int | None, reserve: float
) -> None:
    limit = Limit("customer:42", tuple(rates), concurrency, reserve)
    assert Limit.from_json("customer:42", limit.to_json()) == limit


@given(count=st.integers(1, 10**6), burst_share=st.floats(0, 1))
def test_the_tokens_of_a_window_are_what_the_other_side_allows(count: int, burst_share: float) -> None:
    rate = Rate.within(count, MINUTE, burst_share=burst_share)
    assert rate.most == rate.burst - 1 + rate.count == count
    assert rate.per == MINUTE


def test_a_window_is_told_by_its_parts_and_has_no_burst() -> None:
    window = Window(500, timedelta(days=1))
    told = orjson.loads(Limit("account:main", (window,)).to_json())["rates"]
    assert told == [{"count": 500, "per_ms": 86_400_000, "parts": 48}]
    assert window.most == 500


def test_slack_makes_the_window_longer() -> None:
    assert Rate.within(30, MINUTE, slack=timedelta(seconds=5)).per == timedelta(seconds=65)


@pytest.mark.parametrize(
    ("key", "good"),
    [
        ("account:main", True),
        ("customer:*", True),
        ("account:ana@example.com", True),
        ("provider", True),
        ("", False),
        ("*", False),
        ("customer:4*", False),
        ("customer: 42", False),
        ("customer:4:2", False),
        ("{mail}:x", False),
        ("lane:mail", False),
        ("slow:x", False),
        ("hold:x", False),
        ("x" * 129, False),
    ],
)
def test_a_key_is_a_name_or_a_family_and_a_name(key: str, *, good: bool) -> None:
    if good:
        assert Limit(key).key == key
        LaneLimit([key])
        return
    with pytest.raises(LimitError, match="limit: "):
        Limit(key)
    with pytest.raises(LimitError, match="limit: "):
        LaneLimit([key])


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Rate(0, MINUTE), "count"),
        (lambda: Rate(count=True, per=MINUTE), "count"),
        (lambda: Rate(1.5, MINUTE), "count"),  # type: ignore[arg-type]  # what is tried
        (lambda: Rate(1, timedelta(0)), "per"),
        (lambda: Rate(1, timedelta(days=367)), "per"),
        (lambda: Rate(1, 60), "per"),  # type: ignore[arg-type]  # what is tried
        (lambda: Rate(1, MINUTE, burst=0), "burst"),
        (lambda: Rate.within(0, MINUTE), "count"),
        (lambda: Rate.within(1, MINUTE, burst_share=1.1), "burst_share"),
        (lambda: Window(0, MINUTE), "count"),
        (lambda: Window(10**9 + 1, MINUTE), "count"),
        (lambda: Window(1, timedelta(microseconds=999)), "per"),
        (lambda: Window(1, timedelta(days=367)), "per"),
        (lambda: Window(1, 60), "per"),  # type: ignore[arg-type]  # what is tried
        (lambda: Window(1, MINUTE, parts=0), "parts"),
        (lambda: Window(1, MINUTE, parts=201), "parts"),
        (lambda: Window(1, MINUTE, parts=4.8), "parts"),  # type: ignore[arg-type]  # what is tried
        (lambda: Limit("x", concurrency=0), "concurrency"),
        (lambda: Limit("x", concurrency=1001), "concurrency"),
        (lambda: Limit("x", reserve=1), "reserve"),
        (lambda: Limit("x", reserve=-0.1), "reserve"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_by_the_field_s_name(make: object, field: str) -> None:
    with pytest.raises(LimitError, match=f"^{field}: must be"):
        make()  # type: ignore[operator]  # each is a function without arguments


@pytest.mark.parametrize(
    "octets",
    [
        *(b"", b"{", b"[]", b"7", b"{}", b'{"rates":[{}]}', b'{"rates":[],"concurrency":0}'),
        *(b'{"rates":[{"count":5,"per_ms":9}]}', b'{"rates":[{"count":5,"per_ms":9,"parts":null}]}'),
    ],
)
def test_what_is_no_limit_says_so(octets: bytes) -> None:
    with pytest.raises(LimitError, match="customer:42"):
        Limit.from_json("customer:42", octets)
