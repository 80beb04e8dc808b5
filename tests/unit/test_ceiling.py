"""How lanes share a ceiling."""

import pytest
from hypothesis import given, strategies as st

from producers.keys import LaneKeys
from worker.engine.lane import Lane
from worker.engine.shared_slots import SharedSlots, SlotRequest, share_slots

lanes = st.lists(
    st.builds(SlotRequest, running=st.integers(0, 9), most=st.integers(0, 9), weight=st.integers(1, 4)), max_size=5
)


@given(room=st.integers(-3, 30), asking=lanes)
def test_no_slot_is_given_that_is_not_there_or_not_asked_for_and_none_is_kept_back(
    room: int, asking: list[SlotRequest]
) -> None:
    given_out = share_slots(room, asking)
    assert all(0 <= count <= one.most for count, one in zip(given_out, asking, strict=True))
    assert sum(given_out) == max(0, min(room, sum(one.most for one in asking)))


@given(room=st.integers(0, 30), asking=lanes)
def test_nobody_gets_a_slot_before_one_who_has_less_and_could_use_it(room: int, asking: list[SlotRequest]) -> None:
    given_out = share_slots(room, asking)
    for got, one in zip(given_out, asking, strict=True):
        for count, other in zip(given_out, asking, strict=True):
            if got and count < other.most:
                assert (one.running + got - 1) / one.weight <= (other.running + count) / other.weight


@given(flood=st.integers(1, 50), ceiling=st.integers(2, 20))
def test_the_next_free_slot_is_for_the_lane_in_which_nothing_runs(flood: int, ceiling: int) -> None:
    assert share_slots(1, [SlotRequest(ceiling - 1, flood), SlotRequest(0, 1)]) == [0, 1]


def lane(name: str, slots: int, *, has_more: bool = True, rest_until: float = 0) -> Lane:
    it = Lane(LaneKeys(name), slots)
    it.claimable, it.has_more, it.rest_until = False, has_more, rest_until
    return it


def test_what_another_pumps_lanes_are_to_have_is_left_to_them() -> None:
    mail, reports = lane("mail.bulk", 9), lane("reports", 9)
    ceiling = SharedSlots([mail, reports], 8)
    assert ceiling.shares([mail], now=1) == ceiling.shares([reports], now=1) == [2]


def test_a_lane_that_rests_or_wants_nothing_leaves_its_share_to_the_others() -> None:
    mail, broken = lane("mail.bulk", 9), lane("reports", 9, rest_until=5)
    idle = lane("mail.urgent", 9, has_more=False)
    ceiling = SharedSlots([mail, broken, idle], 8)
    assert ceiling.shares([mail, idle], now=1) == [4, 0]


def test_without_a_ceiling_a_lane_asks_for_half_of_its_slots() -> None:
    mail = lane("mail.bulk", 9)
    assert SharedSlots([mail]).shares([mail], now=0) == [5]
    mail.reserved = 7
    assert SharedSlots([mail]).shares([mail], now=0) == [2]


@pytest.mark.parametrize("most", [0, -3])
def test_a_ceiling_below_one_is_refused(most: int) -> None:
    with pytest.raises(ValueError, match="max_running"):
        SharedSlots([], most)
