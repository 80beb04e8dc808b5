"""Job ids: never twice, in the order in which they were made, whatever the clock and the threads do."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from producers.identifier import Identifiers

DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
PATTERN = re.compile(rf"\{{mail\}}[0-7][{DIGITS}]{{25}}")


def milliseconds_of(job_id: str) -> int:
    value = 0
    for digit in job_id.removeprefix("{mail}")[:10]:
        value = value * 32 + DIGITS.index(digit)
    return value


def test_an_id_is_a_ulid_of_now_behind_its_tag() -> None:
    before = time.time_ns() // 1_000_000
    job_id = Identifiers().new("mail")
    assert PATTERN.fullmatch(job_id)
    assert before <= milliseconds_of(job_id) <= time.time_ns() // 1_000_000


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    identifiers = Identifiers()
    made = [identifiers.new("mail") for _ in range(10_000)]
    assert all(earlier < later for earlier, later in pairwise(made))
    assert all(map(PATTERN.fullmatch, made))


def test_threads_never_share_an_id_and_each_sees_its_own_grow() -> None:
    identifiers = Identifiers()

    def make(_: int) -> list[str]:
        return [identifiers.new("mail") for _ in range(2000)]

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))
    assert all(one == sorted(one) for one in made)
    assert len({job_id for one in made for job_id in one}) == 16_000


def test_a_clock_that_is_set_back_does_not_set_ids_back(monkeypatch: pytest.MonkeyPatch) -> None:
    identifiers = Identifiers()
    now = time.time_ns()
    first = identifiers.new("mail")
    monkeypatch.setattr(time, "time_ns", lambda: now - 3_600_000_000_000)
    assert first < identifiers.new("mail") < identifiers.new("mail")


def test_processes_forked_from_one_do_not_count_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in one millisecond nor after a clock was set back, where each id is made from the one before."""
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    parent, child = Identifiers(), Identifiers()
    parent._last = child._last = 1 << 120
    assert not {parent.new("mail") for _ in range(100)} & {child.new("mail") for _ in range(100)}
