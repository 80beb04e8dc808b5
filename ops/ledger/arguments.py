"""Arguments that the commands for the ledger's records share."""

import argparse
from datetime import UTC, datetime, timedelta

from durations import read_duration
from jobs import JobError
from jobs.mail.address import PRIVATE_DOMAINS, normal_address
from ledger.records import END_STATES, LIVE_STATES, RecordFilter
from producers.suppression import digest_of

_LIVE = "live"


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose records."""
    states = (_LIVE, *LIVE_STATES, *END_STATES)
    parser.add_argument("--to", type=_recipient, metavar="ADDRESS", help="mails to this address, name@domain")
    parser.add_argument("--template", metavar="NAME", help="mails of this template")
    parser.add_argument(
        "--state", choices=states, metavar="STATE", help="jobs in this state; live are staged and queued"
    )
    parser.add_argument(
        "--since",
        type=instant_argument,
        metavar="TIME",
        help="staged from then on: 2026-11-29, 2026-11-29T08:00 or 2d",
    )
    parser.add_argument("--until", type=instant_argument, metavar="TIME", help="staged before then")


def filter_of(args: argparse.Namespace) -> RecordFilter:
    """Return the filter that the options describe."""
    states = () if args.state is None else LIVE_STATES if args.state == _LIVE else (args.state,)
    return RecordFilter(
        since=args.since, until=args.until, recipient=args.to, template=args.template, states=states
    )


def instant_argument(text: str) -> datetime:
    """Read an instant for argparse: a date or a time, in UTC unless it has a zone, or how long ago it was.

    >>> instant_argument("2026-11-29").isoformat()
    '2026-11-29T00:00:00+00:00'
    """
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        return datetime.now(UTC) - read_duration(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a time like 2026-11-29T08:00 nor a duration like 2d"
        ) from None


def age_argument(text: str) -> timedelta:
    """Read an age for argparse: whole days, at least two.

    >>> age_argument("400d").days
    400
    """
    try:
        age = read_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if age < timedelta(days=2):
        raise argparse.ArgumentTypeError(f"{text!r} is too short; give at least 2d")
    return age


def _recipient(text: str) -> str:
    try:
        return digest_of(normal_address(text, field="ADDRESS", private_domains=PRIVATE_DOMAINS))
    except JobError as refusal:
        raise argparse.ArgumentTypeError(str(refusal)) from None
