"""Who waits for a connection, and who takes one over that is not free yet."""

from worker.mail.waiting import BULK, NORMAL, URGENT, Waiting


async def test_the_urgent_come_first_and_the_others_as_they_came() -> None:
    waiting: Waiting[str] = Waiting()
    bulk, normal, second, urgent = (waiting.add(one) for one in (BULK, NORMAL, NORMAL, URGENT))
    assert [waiting.next(urgent_only=False) for _ in range(5)] == [urgent, normal, second, bulk, None]


async def test_who_wants_it_alone_is_passed_by_nobody_and_takes_nothing_that_is_not_free() -> None:
    waiting: Waiting[str] = Waiting()
    burnt, other = waiting.add(NORMAL, alone=True), waiting.add(NORMAL)
    assert waiting.next(urgent_only=False, alone=False) is None, "it would be put behind another mail once more"
    assert waiting.next(urgent_only=False) is burnt
    assert waiting.next(urgent_only=False, alone=False) is other
    burnt.set_result("")
    other.set_result("")


async def test_who_has_left_is_not_served() -> None:
    waiting: Waiting[str] = Waiting()
    left, stays = waiting.add(NORMAL), waiting.add(NORMAL)
    left.cancel()
    assert waiting.leave(left, NORMAL) is None
    assert waiting.count(others=5) == 1
    assert waiting.next(urgent_only=False, alone=False) is stays
