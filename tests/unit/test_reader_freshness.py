"""The reader's decision about age, as a table, and its headers as laws."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import example, given, strategies as st

from reader.cache_control import CacheBounds, bounds_of
from reader.freshness import (
    FreshnessVerdict,
    as_of,
    cache_control,
    etag_matches,
    is_dated,
    judge_freshness,
    of_document,
    of_report,
    retry_after_s,
)
from reader.snapshot import Head, Meta

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND
META = Meta(gen=7, verified_us=NOW, valid_until_us=None, soft_ms=30_000, hard_ms=300_000, cost_ms=20)
NONE = CacheBounds()


def aged(seconds: float, *, valid_for: float | None = None) -> Meta:
    """A report last verified so long ago, overtaken by time after so long."""
    until = None if valid_for is None else NOW + int(valid_for * SECOND)
    return replace(META, verified_us=NOW - int(seconds * SECOND), valid_until_us=until)


@pytest.mark.parametrize(
    ("meta", "bounds", "verdict"),
    [
        (aged(0), NONE, FreshnessVerdict.FRESH),
        (aged(30), NONE, FreshnessVerdict.FRESH),
        (aged(30.000001), NONE, FreshnessVerdict.STALE),
        (aged(300), NONE, FreshnessVerdict.STALE),
        (aged(300.000001), NONE, FreshnessVerdict.TOO_STALE),
        (aged(-3600), NONE, FreshnessVerdict.FRESH),
        # time itself overtakes the data: at midnight, however young it is
        (aged(1, valid_for=0.000001), NONE, FreshnessVerdict.FRESH),
        (aged(1, valid_for=0), NONE, FreshnessVerdict.STALE),
        (aged(1, valid_for=-59.999999), NONE, FreshnessVerdict.STALE),
        (aged(1, valid_for=-60), NONE, FreshnessVerdict.TOO_STALE),
        (aged(299, valid_for=-1), NONE, FreshnessVerdict.STALE),
        # what the client asks for
        (aged(10), CacheBounds(max_age_s=10), FreshnessVerdict.FRESH),
        (aged(10.000001), CacheBounds(max_age_s=10), FreshnessVerdict.NOT_FRESH_ENOUGH),
        (aged(100), CacheBounds(max_age_s=200), FreshnessVerdict.STALE),
        (aged(20), CacheBounds(min_fresh_s=10), FreshnessVerdict.FRESH),
        (aged(20.000001), CacheBounds(min_fresh_s=10), FreshnessVerdict.NOT_FRESH_ENOUGH),
        (aged(1, valid_for=5), CacheBounds(min_fresh_s=10), FreshnessVerdict.NOT_FRESH_ENOUGH),
        (aged(1000), CacheBounds(max_age_s=10), FreshnessVerdict.TOO_STALE),
        # what the client puts up with
        (aged(1000), CacheBounds(max_stale_s=970), FreshnessVerdict.STALE),
        (aged(1000), CacheBounds(max_stale_s=969), FreshnessVerdict.TOO_STALE),
        (aged(1000), CacheBounds(max_stale_s=2**31), FreshnessVerdict.STALE),
        (aged(1, valid_for=-600), CacheBounds(max_stale_s=2**31), FreshnessVerdict.STALE),
        (aged(100), CacheBounds(max_stale_s=60), FreshnessVerdict.NOT_FRESH_ENOUGH),
        (aged(20), CacheBounds(max_stale_s=0), FreshnessVerdict.FRESH),
        (aged(1000), CacheBounds(max_stale_s=2**31, max_age_s=10), FreshnessVerdict.NOT_FRESH_ENOUGH),
    ],
)
def test_age_limits_and_the_clients_bounds_decide_what_may_be_served(
    meta: Meta, bounds: CacheBounds, verdict: FreshnessVerdict
) -> None:
    assert judge_freshness(meta, NOW, bounds).verdict is verdict


@pytest.mark.parametrize(
    ("age_s", "directives"),
    [
        (0, "private, max-age=30, stale-while-revalidate=270, stale-if-error=270"),
        (12.4, "private, max-age=29, stale-while-revalidate=270, stale-if-error=270"),
        (40, "private, max-age=0, stale-while-revalidate=300, stale-if-error=300"),
        (300, "private, max-age=0, stale-while-revalidate=300, stale-if-error=300"),
        (900, "private, max-age=0"),
    ],
)
def test_caches_are_told_the_age_at_which_the_answer_ends(age_s: float, directives: str) -> None:
    assert cache_control(judge_freshness(aged(age_s), NOW, CacheBounds(max_stale_s=2**31))) == directives


@given(
    age_us=st.integers(0, 400 * SECOND),
    valid_for_us=st.none() | st.integers(-100 * SECOND, 400 * SECOND),
    soft_ms=st.integers(1, 60_000),
    extra_ms=st.integers(0, 300_000),
)
@example(age_us=999_999, valid_for_us=999_999, soft_ms=1000, extra_ms=0)
def test_no_cache_that_keeps_to_the_headers_shows_data_past_its_limits(
    age_us: int, valid_for_us: int | None, soft_ms: int, extra_ms: int
) -> None:
    until = None if valid_for_us is None else NOW + valid_for_us
    meta = replace(
        META,
        verified_us=NOW - age_us,
        valid_until_us=until,
        soft_ms=soft_ms,
        hard_ms=soft_ms + extra_ms,
    )
    freshness = judge_freshness(meta, NOW, NONE)
    if freshness.verdict is FreshnessVerdict.TOO_STALE:
        return
    directives = bounds_like(cache_control(freshness))
    age_header = age_us // SECOND
    shown_fresh_until = NOW + (directives["max-age"] - age_header) * SECOND
    shown_stale_until = shown_fresh_until + directives.get("stale-while-revalidate", 0) * SECOND
    if freshness.verdict is FreshnessVerdict.FRESH:
        assert judge_freshness(meta, shown_fresh_until, NONE).verdict is FreshnessVerdict.FRESH
    else:
        assert shown_fresh_until <= NOW
    assert judge_freshness(meta, max(NOW, shown_stale_until), NONE).verdict is not FreshnessVerdict.TOO_STALE


def bounds_like(header: str) -> dict[str, int]:
    """The directives of a Cache-Control header that have a number."""
    pairs = (directive.strip().split("=") for directive in header.split(",") if "=" in directive)
    return {name: int(seconds) for name, seconds in pairs}


@given(first=st.integers(0, 500 * SECOND), later=st.integers(0, 500 * SECOND))
def test_data_nobody_refreshes_only_ever_gets_worse(first: int, later: int) -> None:
    order = [FreshnessVerdict.FRESH, FreshnessVerdict.STALE, FreshnessVerdict.TOO_STALE]
    meta = aged(0, valid_for=100)
    verdicts = [judge_freshness(meta, NOW + span, NONE).verdict for span in sorted((first, later))]
    assert order.index(verdicts[0]) <= order.index(verdicts[1])


def test_a_served_document_says_all_that_is_known_of_its_age() -> None:
    head = Head(etag="0123456789abcdef", path=("1",), as_of_us=NOW - 3600 * SECOND)
    meta = aged(12.4)
    headers = dict(of_document(head.etag, head.as_of_us, is_dated(head, meta)))
    headers |= dict(of_report(judge_freshness(meta, NOW, NONE), meta))
    assert headers == {
        "etag": 'W/"0123456789abcdef"',
        "as-of": "2027-01-15T07:59:47.600Z",
        "age": "12",
        "freshness": "fresh",
        "last-modified": "Fri, 15 Jan 2027 07:00:00 GMT",
        "report-gen": "7",
        "cache-control": "private, max-age=29, stale-while-revalidate=270, stale-if-error=270",
        "cache-status": "reports; hit; ttl=17",
    }


def test_times_are_utc_to_the_millisecond() -> None:
    assert as_of(0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(("cost_ms", "seconds"), [(0, 1), (20, 2), (1500, 3), (10**9, 60), (-5000, 1)])
def test_the_client_is_sent_away_for_about_the_time_a_refresh_takes(cost_ms: float, seconds: int) -> None:
    assert retry_after_s(replace(META, cost_ms=cost_ms)) == seconds


TAG = "0123456789abcdef"


@pytest.mark.parametrize(
    ("header", "held"),
    [
        (f'W/"{TAG}"', True),
        (f'"{TAG}"', True),
        (f'"x", W/"{TAG}","y"', True),
        ("*", True),
        (" * ", True),
        ("", False),
        (TAG, False),
        (f'"{TAG[:-1]}"', False),
        (f'"{TAG.upper()}"', False),
        ('W/"*"', False),
    ],
)
def test_a_document_the_client_holds_is_recognised_by_its_tag(header: str, *, held: bool) -> None:
    assert etag_matches(header, TAG) is held


@pytest.mark.parametrize(
    ("header", "bounds"),
    [
        ("", NONE),
        ("no-cache", NONE),
        ("max-age=0", NONE),
        ("max-age=10", CacheBounds(max_age_s=10)),
        ("Max-Age=10 , MIN-FRESH=5", CacheBounds(max_age_s=10, min_fresh_s=5)),
        ('max-age="10"', CacheBounds(max_age_s=10)),
        ("max-age=10, max-age=20", CacheBounds(max_age_s=10)),
        ("max-stale", CacheBounds(max_stale_s=2**31)),
        ("max-stale=60, only-if-cached", CacheBounds(max_stale_s=60, only_if_cached=True)),
        ("max-stale=x", NONE),
        ("max-age=-1", NONE),
        ("max-age=1.5", NONE),
        ("max-age=٣", NONE),
        ("max-age=", NONE),
        ("max-age", NONE),
        ("max-age=" + "9" * 10_000, CacheBounds(max_age_s=2**31)),
        ("=,;=,,", NONE),
    ],
)
def test_what_the_client_asks_for_is_read_as_the_rfc_has_it(header: str, bounds: CacheBounds) -> None:
    assert bounds_of(header) == bounds


@given(st.lists(st.sampled_from(["max-age", "max-stale", "min-fresh", "=", ",", '"', "9", " ", "é", "\x00"])))
def test_no_cache_control_upsets_the_reader(parts: list[str]) -> None:
    bounds = bounds_of("".join(parts))
    for age, valid in product((0, 100, 1000), (None, -30)):
        assert judge_freshness(aged(age, valid_for=valid), NOW, bounds).verdict in FreshnessVerdict
