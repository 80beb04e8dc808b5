"""Whatever befalls workers, Redis, the mail server and their lines: nothing lost, nothing doubled in silence."""

import secrets
from collections.abc import Awaitable, Callable

import pytest

from tests import campaign
from tests.support import OwnValkey

OwnServer = Callable[..., Awaitable[OwnValkey]]
_DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def judge(verdict: campaign.Verdict) -> None:
    """Every promise by its name; what was seen is printed first, for whoever repeats it."""
    print(verdict)  # noqa: T201  pytest shows it when something failed, and with -s
    assert verdict.sent > 0
    assert verdict.arrived >= verdict.sent, "a mail was lost"
    assert verdict.copies <= verdict.uncertain, "a mail was doubled in silence"
    assert not verdict.dead, "a fault of the surroundings killed a mail"
    assert not verdict.unaccounted
    assert not verdict.unforeseen, "\n".join(verdict.unforeseen[:20])
    assert not verdict.private, "\n".join(verdict.private[:5])


@pytest.mark.timeout(300)
async def test_a_short_campaign_of_faults_loses_no_mail_and_doubles_none_in_silence(own_valkey: OwnServer) -> None:
    judge(await campaign.run(await own_valkey(*_DURABLE), seconds=10, seed=20_261_128))


@pytest.mark.long
@pytest.mark.timeout(2400)
async def test_twenty_minutes_of_faults_lose_no_mail_and_double_none_in_silence(own_valkey: OwnServer) -> None:
    seed = secrets.randbelow(10**9)
    print(f"seed {seed}")  # noqa: T201  as above
    judge(await campaign.run(await own_valkey(*_DURABLE), seconds=1200, seed=seed))
