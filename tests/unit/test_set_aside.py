"""Domains that are refused wait, and let one mail at a time try."""

import time
from datetime import timedelta

import pytest

from worker.mail.accounts.refused_domains import RefusedDomains

CODES = "relay: rcpt 554 5.7.1"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def wait(aside: RefusedDomains, domain: str = "a.example") -> float | None:
    found = aside.find_wait(domain)
    return None if found is None else found[0].total_seconds()


def test_a_refused_domain_waits_from_its_next_mail_on_and_then_lets_one_try(now: list[float]) -> None:
    aside = RefusedDomains(timedelta(seconds=5))
    assert aside.record_refusal("a.example", CODES)
    assert not aside.record_refusal("a.example", CODES)  # one that was on its way
    now[0] = 60
    assert [wait(aside), wait(aside, "b.example")] == [5, None]
    now[0] = 65
    assert [wait(aside), wait(aside)] == [None, 5]  # the others wait for what becomes of the first


def test_each_refusal_doubles_the_time_up_to_two_minutes_and_a_mail_that_goes_ends_it(now: list[float]) -> None:
    aside, waits = RefusedDomains(timedelta(seconds=5)), []
    for _ in range(7):
        assert aside.record_refusal("a.example", CODES)
        waits.append(wait(aside))
        now[0] += waits[-1] or 0
        assert wait(aside) is None
    assert waits == [5, 10, 20, 40, 80, 120, 120]
    aside.record_acceptance("a.example")
    assert wait(aside) is None


def test_no_more_than_a_thousand_domains_are_remembered(now: list[float]) -> None:
    aside = RefusedDomains(timedelta(seconds=5))
    for number in range(1001):
        aside.record_refusal(f"{number}.example", CODES)
    assert [wait(aside, "0.example"), wait(aside, "1.example")] == [None, 5]
    assert now == [0.0]
