"""The decisions behind the depth: reasons, freshness, and how they are put into words."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from ops.depth.drain import Reason, per_minute, wait_reason
from ops.depth.report_freshness import freshness_state, read_report
from ops.depth.texts import reason_text
from ops.durations import duration_text
from ops.table import printable, table

SECOND_US = 1_000_000


@pytest.mark.parametrize(
    ("before", "running", "elapsed_ms", "rate"),
    [(40, 10, 15_000, 40), (60, 0, 0, 60), (60, 0, 59_999, 0.001), (0, 7, 30_000, 7)],
)
def test_the_pace_is_that_of_the_last_sixty_seconds(
    before: int, running: int, elapsed_ms: int, rate: float
) -> None:
    assert per_minute(before, running, elapsed_ms=elapsed_ms) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("ready", "oldest_s", "leaving", "slots", "busy", "leased", "why"),
    [
        (0, 0, 0, 0, 0, 0, None),
        (1, 0, 0, 0, 0, 0, "no_worker"),
        (1, 0, 9, 10, 10, 10, "slots_busy"),
        (1, 0, 9, 10, 3, 10, "slots_busy"),  # the heartbeat is seconds old, the leases are not
        (1, 1, 0, 10, 3, 3, None),
        (1, 60, 9, 10, 9, 9, None),
        (1, 60, 0, 10, 3, 3, "not_claiming"),
    ],
)
def test_the_reason_for_waiting_is_the_one_that_holds(
    ready: int, oldest_s: int, leaving: float, slots: int, busy: int, leased: int, why: Reason | None
) -> None:
    found = wait_reason(
        ready=ready,
        oldest=timedelta(seconds=oldest_s),
        out_per_minute=leaving,
        slots=slots,
        busy=busy,
        leased=leased,
    )
    assert found == why
    assert (reason_text(found, slots=slots) is None) == (why is None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.6, "1 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3659, "1 h"),
        (3660, "1 h 1 min"),
        (172_800, "2 d"),
        (1e300, "> 1000 d"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration_text(seconds) == words


@pytest.mark.parametrize(
    ("age", "overdue", "state"),
    [
        (30, -10, "fresh"),
        (31, -10, "stale"),
        (300, -10, "stale"),
        (301, -10, "refused"),
        (5, 1, "stale"),
        (5, 61, "refused"),
    ],
)
def test_a_report_is_judged_as_its_readers_judge_it(age: int, overdue: int, state: str) -> None:
    found = freshness_state(
        age_us=age * SECOND_US,
        soft_us=30 * SECOND_US,
        hard_us=300 * SECOND_US,
        overdue_us=overdue * SECOND_US,
    )
    assert found == state


def test_age_counts_from_when_the_numbers_were_last_known_to_be_true() -> None:
    meta = {"as_of_us": 0, "verified_us": 10 * SECOND_US, "valid_until_us": None, "soft_ms": 5000, "hard_ms": 9000}
    error = {"at_us": 11 * SECOND_US, "error": "QueryCanceled: too slow\nDETAIL: more"}
    report = read_report("r", orjson.dumps(meta), orjson.dumps(error), now_us=12 * SECOND_US)
    assert (report.state, report.age_ms, report.as_of) == ("fresh", 2000, datetime(1970, 1, 1, tzinfo=UTC))
    assert report.error == "QueryCanceled: too slow"


@pytest.mark.parametrize("meta", [b"", b"{", b"[]", b"{}", b'{"verified_us":"soon"}', b'{"verified_us":1e300}'])
def test_what_cannot_be_read_is_told_and_hides_nothing_else(meta: bytes) -> None:
    assert read_report("r", meta, None, now_us=0).state == "unreadable"
    assert read_report("r", None, None, now_us=0).state == "never"


def test_columns_stand_below_their_heads() -> None:
    assert table(("LANE", "N"), [["mail.normal", "7"], ["x", "10"]], left={0}).splitlines() == [
        "LANE          N",
        "mail.normal   7",
        "x            10",
    ]


def test_nothing_from_elsewhere_can_move_the_cursor() -> None:
    assert printable("a\x1b[2Jb\r\n\u202eñ") == "a?[2Jb ?ñ"


@pytest.mark.parametrize(
    ("verified_s", "offset_s", "state", "age_s"),
    [
        (1, 0, "fresh", 11),
        (601, 600, "stale", 11),
        (-599, -600, "stale", 11),
        (-1010, -1000, "refused", 22),
        (50, None, "stale", 0),
    ],
)
def test_a_report_s_age_is_by_the_clock_that_stamped_it(
    verified_s: int, offset_s: int | None, state: str, age_s: int
) -> None:
    meta = {"verified_us": verified_s * SECOND_US, "as_of_us": 1, "valid_until_us": None}
    meta |= {"soft_ms": 15_000, "hard_ms": 20_000}
    meta["clock_offset_us"] = None if offset_s is None else offset_s * SECOND_US
    found = read_report("r", orjson.dumps(meta), None, now_us=12 * SECOND_US)
    assert (found.state, found.age_ms) == (state, age_s * 1000)
