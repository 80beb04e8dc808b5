"""Who waits for a connection, who takes one over that is not free yet, and how lanes share them."""

from collections import Counter

import pytest

from worker.mail.smtp.shares import BULK, NORMAL, PRIORITIES, URGENT, Shares
from worker.mail.smtp.waiting import WaitingMails


async def test_the_urgent_come_first_and_within_a_lane_the_first_come() -> None:
    waiting: WaitingMails[str] = WaitingMails()
    bulk, normal, second, urgent = (waiting.add(one) for one in (BULK, NORMAL, NORMAL, URGENT))
    served = [waiting.take_next(urgent_only=False) for _ in range(5)]
    assert served == [(urgent, URGENT), (normal, NORMAL), (bulk, BULK), (second, NORMAL), None]


async def test_who_wants_it_alone_is_passed_by_nobody_and_takes_nothing_that_is_not_free() -> None:
    waiting: WaitingMails[str] = WaitingMails()
    burnt, other = waiting.add(NORMAL, alone=True), waiting.add(NORMAL)
    assert waiting.take_next(urgent_only=False, alone=False) is None, (
        "it would be put behind another mail once more"
    )
    assert waiting.take_next(urgent_only=False) == (burnt, NORMAL)
    assert waiting.take_next(urgent_only=False, alone=False) == (other, NORMAL)
    burnt.set_result("")
    other.set_result("")


async def test_who_has_left_is_not_served() -> None:
    waiting: WaitingMails[str] = WaitingMails()
    left, stays = waiting.add(NORMAL), waiting.add(NORMAL)
    left.cancel()
    assert waiting.remove(left, NORMAL) is None
    assert waiting.count(others=5) == 1
    assert waiting.take_next(urgent_only=False, alone=False) == (stays, NORMAL)


async def test_only_the_urgent_are_served_from_the_reserve() -> None:
    waiting: WaitingMails[str] = WaitingMails()
    waiting.add(BULK)
    assert waiting.take_next(urgent_only=True) is None
    urgent = waiting.add(URGENT)
    assert waiting.take_next(urgent_only=True) == (urgent, URGENT)
    assert waiting.first_priority == BULK


def saturated(weights: tuple[int, ...], *, connections: int, mails: int) -> tuple[Counter[int], list[int]]:
    """All lanes want more than there is; each mail takes as long as another.

    Returns:
        What each lane has in use at the end, and the lanes in the order in which they were served.
    """
    shares, busy, served = Shares(weights), list[int](), list[int]()
    for lane in PRIORITIES:
        shares.record_first_waiting(lane)
    for _ in range(mails):
        if len(busy) == connections:
            shares.in_use[busy.pop(0)] -= 1
        lane = shares.choose_lane(PRIORITIES)
        shares.record_service(lane, PRIORITIES)
        busy.append(lane)
        served.append(lane)
    return Counter(busy), served


@pytest.mark.parametrize(
    ("weights", "connections", "share"),
    [((10, 20, 10), 20, (5, 10, 5)), ((1, 1, 1), 9, (3, 3, 3)), ((10, 20, 0), 31, (10, 20, 1))],
)
def test_under_saturation_each_lane_has_its_share_of_the_connections_and_of_the_mails(
    weights: tuple[int, ...], connections: int, share: tuple[int, ...]
) -> None:
    in_use, served = saturated(weights, connections=connections, mails=10 * connections)
    assert tuple(in_use[lane] for lane in PRIORITIES) == share
    assert tuple(served.count(lane) for lane in PRIORITIES) == tuple(10 * one for one in share)


def test_of_a_single_connection_each_fifth_mail_is_another_lanes_and_these_take_turns_by_weight() -> None:
    _, served = saturated((10, 20, 10), connections=1, mails=150)
    assert served[:5] == [URGENT] * 4 + [NORMAL]
    assert [served.count(lane) for lane in PRIORITIES] == [120, 20, 10]


def test_what_a_lane_did_not_use_is_not_made_up_for_later() -> None:
    shares = Shares()
    for _ in range(50):
        shares.record_service(NORMAL, (NORMAL, BULK))
        shares.in_use[NORMAL] -= 1
    for lane in (BULK, NORMAL):
        shares.record_first_waiting(lane)
    served = []
    for _ in range(10):
        lane = shares.choose_lane((NORMAL, BULK))
        shares.record_service(lane, (NORMAL, BULK))
        shares.in_use[lane] -= 1
        served.append(lane)
    assert 4 <= served.count(BULK) <= 6
