"""A length of time is read alike in settings, report heads, account files and commands."""

import argparse
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import example, given, strategies as st
from pydantic import TypeAdapter

from durations import LONGEST, read_duration, write_duration
from jobs.mail.account import AccountsError, read_accounts
from ops.arguments import duration_argument
from ops.limits.commands import _rate
from reports.front_matter import ReportError, split_head
from settings import Duration


def _of_a_setting(text: str) -> timedelta:
    return TypeAdapter(Duration).validate_python(text)


def _of_an_account_file(text: str) -> timedelta | None:
    file = f'accounts.main = {{preset = "gmail", username = "me"}}\nstreams.x.expires = "{text}"'
    return read_accounts(file, read_duration).streams["x"].expires


def _of_a_report(text: str) -> timedelta:
    head, _ = split_head(f'-- +++\n-- every = "{text}"\n-- +++\nSELECT 1', "x.sql")
    return head.duration("every")


READERS: list[Callable[[str], timedelta | None]] = [
    _of_a_setting,
    _of_an_account_file,
    _of_a_report,
    duration_argument,
    lambda text: _rate(f"1/{text}")[1],
]
NAMES = ["setting", "account file", "report", "argument", "limit"]
REFUSALS = (ValueError, AccountsError, ReportError, argparse.ArgumentTypeError)


@pytest.mark.parametrize("reader", READERS, ids=NAMES)
@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("90s", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("10 m", timedelta(minutes=10)),
        ("2d", timedelta(days=2)),
        ("0.000001s", timedelta(microseconds=1)),
    ],
)
def test_everybody_reads_the_same_length(
    reader: Callable[[str], timedelta | None], text: str, length: timedelta
) -> None:
    assert reader(text) == length


@pytest.mark.parametrize("reader", READERS, ids=NAMES)
@pytest.mark.parametrize(
    "text",
    ["", "soon", "-5m", "+5m", "5 minutes", "1h30m", "1e3s", "5M", "\u0665m", "1_0s", "5m5", ".5h"],
)
def test_everybody_refuses_the_same_text(reader: Callable[[str], timedelta | None], text: str) -> None:
    with pytest.raises(REFUSALS):
        reader(text)


@pytest.mark.parametrize("reader", READERS[1:], ids=NAMES[1:])
def test_a_number_without_a_unit_is_seconds_in_settings_alone(reader: Callable[[str], timedelta | None]) -> None:
    assert _of_a_setting("10") == _of_a_setting(" 10s ") == timedelta(seconds=10)
    with pytest.raises(REFUSALS):
        reader("10")


@given(st.integers(min_value=0, max_value=LONGEST // timedelta(milliseconds=1)))
@example(0)
@example(86_400_000)
def test_what_is_written_is_read_as_the_same(count: int) -> None:
    length = timedelta(milliseconds=count)
    written = write_duration(length)
    if len(written) <= len("999999999ms"):
        assert read_duration(written) == length


@given(st.integers(0, 999_999), st.integers(0, 999_999), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_fraction_is_exact_to_the_microsecond(whole: int, fraction: int, unit: str) -> None:
    one = {"ms": 10**3, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6}[unit]
    read = read_duration(f"{whole}.{fraction:06}{unit}") if whole < 999_999 else read_duration(f"{whole}{unit}")
    exact = whole * one + (fraction * one / 10**6 if whole < 999_999 else 0)
    assert abs(read / timedelta(microseconds=1) - exact) <= 1
