"""Checks of the mail accounts by their shared state in Redis: breakers and operators' pauses. Pure.

A closed account tries again by itself. After an hour this is a fault: its mails wait, or go through another
account, and the cause does not pass. While one connection tests it, or no mail needs it, nothing more is known.
"""

from collections.abc import Iterator
from datetime import timedelta

from ops.doctor.finding import DoctorFinding, warning, wrong
from ops.durations import duration_text
from ops.mail.account_state import AccountState

_PASSES = timedelta(hours=1)


def judge_account(one: AccountState) -> Iterator[DoctorFinding]:
    """Return the findings about an account that does not send at its full pace."""
    where = f"account {one.name}"
    if one.state == "paused":
        yield warning("account.paused", where, reason=one.held.reason if one.held else "")
    elif one.step:
        lasting = timedelta(0) if one.since is None else max(timedelta(0), one.at - one.since)
        build = wrong if one.state == "closed" and lasting >= _PASSES else warning
        values = {"reason": one.reason or one.trouble, "time": duration_text(lasting.total_seconds())}
        yield build("account.closed", where, account=one.name, **values)
    elif one.state == "slowed":
        yield warning("account.slowed", where, rate=f"{one.learned}/min" if one.learned else f"{one.pace:.0%}")
