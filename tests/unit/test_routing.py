"""Which of the accounts that may send a mail it waits for."""

from datetime import timedelta

import pytest

from producers.limits.hold import Hold
from producers.limits.limits import LimitState
from worker.mail.accounts.routing import choose_limit

CLOSED = Hold(until=None, reason="closed")


def state(key: str, *, room: int | None = None, blocked: int = 0, held: Hold | None = None) -> LimitState:
    return LimitState(
        key=key,
        limit=None,
        readable=True,
        pace=1.0,
        held=held,
        room=0 if held else room,
        free_in=timedelta(0),
        blocked=blocked,
        running=0,
    )


@pytest.mark.parametrize(
    ("states", "chosen"),
    [
        ([state("a"), state("b")], "a"),
        ([state("a", held=CLOSED), state("b")], "b"),
        ([state("a", room=0), state("b", room=1)], "b"),
        ([state("a", room=3, blocked=3), state("b", room=1)], "b"),
        ([state("a", room=0, blocked=7), state("b", room=0, blocked=2)], "b"),
        ([state("a", held=CLOSED), state("b", room=0, blocked=9)], "b"),
        ([state("a", held=CLOSED), state("b", held=CLOSED)], "a"),
    ],
    ids=[
        "the first of those with room",
        "not one that is closed",
        "not one that is used up",
        "not one whose room others wait for",
        "where fewest wait, when all are used up",
        "rather a long wait than a closed one",
        "the first, when all are closed",
    ],
)
def test_a_mail_waits_for_the_account_that_will_have_room_for_it(states: list[LimitState], chosen: str) -> None:
    assert choose_limit(states) == chosen
