"""Arguments that several commands take: a text becomes a value, or argparse says in one line why not."""

import argparse
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
