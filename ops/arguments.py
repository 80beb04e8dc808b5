"""Arguments that several commands take: a text becomes a value, or argparse says in one line why not."""

import argparse
import math
from datetime import timedelta

from ops.durations import duration
from ops.lanes.hold import REASON_LIMIT


def reason(text: str) -> str:
    """What people are told of a hold."""
    if len(text) > REASON_LIMIT or not text.isprintable():
        raise argparse.ArgumentTypeError(f"a reason is one line of at most {REASON_LIMIT} characters")
    return text


def lasting(text: str) -> timedelta:
    """For how long."""
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def between(text: str, lowest: float, highest: float) -> float:
    """A number within bounds, for argparse.

    >>> between("2.5", 0, 60)
    2.5
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not lowest <= number <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest} to {highest}")
    return number
