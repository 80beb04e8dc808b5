"""Parsers for arguments that several commands share; argparse prints their errors on one line."""

import argparse
import math
from datetime import timedelta

from durations import read_duration
from ops.lanes.hold import REASON_LIMIT

LONGEST = timedelta(days=366)


def add_reason(parser: argparse.ArgumentParser) -> None:
    """Add the option for the reason of a hold."""
    parser.add_argument("--reason", type=_reason, default="", metavar="TEXT", help="the text that operators see")


def _reason(text: str) -> str:
    if len(text) > REASON_LIMIT or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must be one printable line of at most {REASON_LIMIT} characters")
    return text


def duration_argument(text: str) -> timedelta:
    """Read a duration for argparse: over zero, at most a year.

    >>> duration_argument("1.5h")
    datetime.timedelta(seconds=5400)
    """
    try:
        length = read_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not timedelta(0) < length <= LONGEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is out of range; must be over 0s and at most {LONGEST.days}d, like 90s, 10m or 2h"
        )
    return length


def number_between(text: str, lowest: float, highest: float) -> float:
    """Read a number within bounds, for argparse.

    >>> number_between("2.5", 0, 60)
    2.5
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not lowest <= number <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; give a number from {lowest:g} to {highest:g}")
    return number
