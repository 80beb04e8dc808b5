"""The gate of a mail account, shared by all workers: permits for connections, and the breaker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from redis.asyncio import Redis

from producers.keys import mail_account, mail_permits
from producers.limits.limit import Limit
from producers.limits.limits import Limits
from producers.link import Link
from tests.support import OwnValkey, eventually
from worker.mail.accounts.gate import PAUSES, AccountClosed, Gate, GateTimes, Pause
from worker.mail.smtp.verdict import Trouble

pytestmark = pytest.mark.on_cluster_too

AN_HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=1)
LONG = Pause(1, AN_HOUR, 4 * AN_HOUR)
SHORT = Pause(1, SOON, SOON)
TIMES = GateTimes(linger=timedelta(0), pauses={**PAUSES, "login": LONG, "fault": Pause(3, AN_HOUR, AN_HOUR)})
PASSING = replace(TIMES, pauses={**PAUSES, "login": SHORT, "throttle": SHORT, "connections": SHORT})
HOLDS = "momentus:{mail}:holds"
ACCOUNT = "limit:account:main"


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[Link]:
    link = Link(valkey_url, "{mail}")
    yield link
    await link.close()


def workers(link: Link, count: int, *, connections: int = 3, times: GateTimes = TIMES) -> list[Gate]:
    return [Gate(link, "main", connections=connections, times=times) for _ in range(count)]


async def proven(gates: list[Gate]) -> list[Gate]:
    """The same, once one connection has worked and ended."""
    await gates[0]._link.call("HSET", mail_account("main"), "proven_ms", 2**52)
    return gates


async def taken(gates: list[Gate], each: int) -> int:
    return sum(await asyncio.gather(*(gate.take_permit() for gate in gates for _ in range(each))))


def probing(gate: Gate) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        try:
            return await gate.take_permit()
        except AccountClosed:
            return False

    return probe


async def held(redis: Redis) -> dict[str, object] | None:
    octets = await redis.hget(HOLDS, ACCOUNT)
    return orjson.loads(octets) if octets else None


async def test_three_workers_together_get_no_more_permits_than_the_account_has(link: Link) -> None:
    gates = await proven(workers(link, 3))
    assert await taken(gates, each=5) == 3
    for gate in gates:
        for _ in range(5):
            await gate.return_permit()

    async def all_free() -> bool:
        return await taken(gates, each=1) > 0

    await eventually(all_free)


async def test_an_account_without_a_number_gives_permits_without_end(link: Link) -> None:
    assert await taken(await proven(workers(link, 3, connections=0)), each=10) == 30


async def test_a_permit_that_nobody_renews_lapses(link: Link) -> None:
    dead, alive = await proven(workers(link, 2, connections=1, times=replace(TIMES, life=SOON)))
    assert await dead.take_permit()
    await eventually(alive.take_permit)


async def test_a_permit_in_use_is_renewed_for_as_long_as_it_is(link: Link, redis: Redis) -> None:
    times = replace(TIMES, life=timedelta(seconds=30), renew_every=timedelta(milliseconds=5))
    one, other = await proven(workers(link, 2, connections=1, times=times))
    keeping = asyncio.create_task(one.keep_permits())
    assert await one.take_permit()
    ((_, before),) = await redis.zrange(mail_permits("main"), 0, -1, withscores=True)

    async def renewed() -> bool:
        ((_, after),) = await redis.zrange(mail_permits("main"), 0, -1, withscores=True)
        return after > before

    await eventually(renewed)
    assert not await other.take_permit()
    keeping.cancel()


async def test_a_lapsed_permit_is_not_brought_back(link: Link, redis: Redis) -> None:
    one, other = await proven(workers(link, 2, connections=1, times=replace(TIMES, renew_every=SOON)))
    assert await one.take_permit()
    await redis.delete(mail_permits("main"))
    assert await other.take_permit()
    await one.return_permit()
    assert await redis.zcard(mail_permits("main")) == 1


async def test_a_permit_given_back_lingers_while_the_server_may_still_count_the_connection(link: Link) -> None:
    one, other = await proven(workers(link, 2, connections=1, times=replace(TIMES, linger=AN_HOUR)))
    assert await one.take_permit()
    await one.return_permit()
    assert not await other.take_permit()


async def test_a_refused_login_closes_the_account_for_everybody_and_says_why(link: Link, redis: Redis) -> None:
    one, other = workers(link, 2)
    assert await one.report_trouble("login", "535: check the password of main") == AN_HOUR
    with pytest.raises(AccountClosed):
        await other.take_permit()
    hold = await held(redis)
    assert hold
    assert hold["reason"] == "535: check the password of main"


async def test_many_reports_of_one_misfortune_are_one_step(link: Link, redis: Redis) -> None:
    gates = workers(link, 3)
    await asyncio.gather(*(gate.report_trouble("login", "535") for gate in gates for _ in range(10)))
    assert await redis.hget(mail_account("main"), "step") == b"1"


async def test_a_few_connection_faults_in_a_row_close_the_account_and_fewer_do_not(link: Link) -> None:
    one, other = workers(link, 2)
    assert await one.report_trouble("fault", "refused") is None
    assert await other.report_trouble("fault", "refused") is None
    assert await one.report_trouble("fault", "refused") == AN_HOUR


async def test_faults_that_are_far_apart_or_parted_by_a_success_are_not_in_a_row(link: Link) -> None:
    (one,) = workers(link, 1)
    await one.report_trouble("fault", "refused")
    await one.report_trouble("fault", "refused")
    await one.report_success()
    assert await one.report_trouble("fault", "refused") is None
    (hasty,) = workers(link, 1, times=replace(TIMES, row=timedelta(milliseconds=-1)))
    assert [await hasty.report_trouble("fault", "refused") for _ in range(5)] == [None] * 5


async def test_the_first_connection_of_the_whole_fleet_goes_alone_until_it_worked(link: Link) -> None:
    gates = workers(link, 3, connections=10)
    assert await taken(gates, each=5) == 1
    for gate in gates:
        await gate.report_success()
    assert await taken(gates, each=5) == 9


async def test_who_tries_and_dies_makes_place_for_another(link: Link) -> None:
    dead, alive = workers(link, 2, times=replace(TIMES, life=SOON))
    assert await dead.take_permit()
    await eventually(alive.take_permit)


async def test_after_the_pause_one_connection_of_the_whole_fleet_is_let_through(link: Link) -> None:
    gates = await proven(workers(link, 3, times=PASSING))
    await gates[0].report_trouble("login", "535")
    granted = 0

    async def probe() -> bool:
        nonlocal granted
        answers = await asyncio.gather(
            *(gate.take_permit() for gate in gates for _ in range(4)), return_exceptions=True
        )
        granted += sum(answer is True for answer in answers)
        return granted > 0

    await eventually(probe)
    assert granted == 1


async def test_a_probe_that_fails_makes_the_next_pause_longer_and_one_that_works_opens_the_account(
    link: Link, redis: Redis
) -> None:
    steps = replace(TIMES, pauses={**PAUSES, "login": Pause(1, timedelta(milliseconds=20), AN_HOUR)})
    gate, other = workers(link, 2, times=steps)

    probe = probing(gate)
    pauses = []
    for _ in range(4):
        pauses.append(await gate.report_trouble("login", "535"))
        await eventually(probe)
        await gate.return_permit()
    assert pauses == [timedelta(milliseconds=20 * factor) for factor in (1, 2, 4, 8)]
    await eventually(probe)
    await gate.report_success()
    assert await redis.hget(mail_account("main"), "step") is None
    assert await other.take_permit()


async def test_a_mail_that_was_on_its_way_does_not_end_the_pause(link: Link) -> None:
    one, other = workers(link, 2)
    await one.report_trouble("login", "535")
    await one.report_success()
    with pytest.raises(AccountClosed):
        await other.take_permit()


async def test_a_hold_that_people_made_is_left_alone(link: Link, redis: Redis) -> None:
    (gate,) = workers(link, 1)
    await redis.hset(HOLDS, ACCOUNT, '{"until_ms":null,"reason":"people"}')
    await gate.report_trouble("login", "535")
    assert await held(redis) == {"until_ms": None, "reason": "people"}


async def test_too_many_connections_makes_them_fewer_until_it_is_quiet(link: Link) -> None:
    (gate,) = workers(link, 1, times=PASSING)
    await gate.report_trouble("connections", "432")
    await eventually(probing(gate))
    await gate.report_success()
    await gate.return_permit()
    assert await taken([gate], each=5) == 2


async def test_a_throttle_halves_the_pace_and_quiet_time_brings_it_back_step_by_step(
    link: Link, redis: Redis
) -> None:
    times = replace(PASSING, quiet=timedelta(0), renew_every=timedelta(milliseconds=1))
    (gate,) = workers(link, 1, times=times)
    await gate.report_trouble("throttle", "454 Throttling failure")
    assert await redis.hget("momentus:{mail}:limits", "slow:account:main") == b"0.5"
    keeping = asyncio.create_task(gate.keep_permits())

    async def whole() -> bool:
        return await redis.hget("momentus:{mail}:limits", "slow:account:main") == b"1.0"

    await eventually(whole)
    keeping.cancel()


async def test_without_redis_no_connection_is_opened_and_nothing_hangs(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    link = Link(valkey.url)
    gate = Gate(link, "main", connections=3, times=TIMES)
    assert await gate.take_permit()
    await valkey.kill()
    with pytest.raises(AccountClosed):
        await gate.take_permit()
    assert await gate.report_trouble("login", "535") is not None
    await gate.report_success()
    await gate.return_permit()
    await link.close()


# Handing on


async def test_who_has_a_permit_hears_that_another_worker_wants_one_and_for_how_important_a_mail(
    link: Link,
) -> None:
    one, other, third = await proven(workers(link, 3, connections=1))
    assert await one.take_permit(2)
    assert not await other.take_permit(1)
    assert not await third.take_permit(2)
    assert await one.count_waiting() == 2
    assert await one.count_waiting(2) == 1
    assert await one.count_waiting(1) == 0
    assert await other.count_waiting() == 1, "its own wish is not somebody else's"


async def test_a_permit_that_falls_free_goes_to_the_most_important_mail(link: Link) -> None:
    times = replace(TIMES, want=timedelta(hours=1))
    one, bulk, urgent = await proven(workers(link, 3, connections=1, times=times))
    assert await one.take_permit(1)
    assert not await bulk.take_permit(2)
    assert not await urgent.take_permit(0)
    await one.return_permit()
    assert not await bulk.take_permit(2)
    await eventually(lambda: urgent.take_permit(0))
    assert await one.count_waiting(1) == 0, "who has got one wants none"


async def test_a_wish_that_nobody_repeats_is_forgotten(link: Link) -> None:
    one, dead = await proven(workers(link, 2, connections=1, times=replace(TIMES, want=SOON)))
    assert await one.take_permit(2)
    assert not await dead.take_permit(0)

    async def forgotten() -> bool:
        return await one.count_waiting() == 0

    await eventually(forgotten)


async def test_an_account_without_a_number_has_nothing_to_hand_on(link: Link) -> None:
    one, other = await proven(workers(link, 2, connections=0))
    assert not one.bounded
    assert await one.take_permit()
    assert await other.take_permit()
    assert await one.count_waiting() == 0


async def test_a_pause_that_the_server_names_counts_at_once_and_beyond_the_longest(link: Link) -> None:
    one, other = workers(link, 2, times=PASSING)
    assert await one.report_trouble("throttle", "slower", asked=AN_HOUR) == AN_HOUR
    with pytest.raises(AccountClosed):
        await other.take_permit()
    fresh = Gate(link, "fresh", times=TIMES)
    assert await fresh.report_trouble("fault", "busy for an hour", asked=2 * AN_HOUR) == 2 * AN_HOUR


async def test_what_may_be_about_one_mail_alone_closes_an_account_by_which_others_go_only_in_a_row(
    link: Link, redis: Redis
) -> None:
    (one,) = workers(link, 1)
    one.tempo.record_acceptance()
    assert await one.report_trouble("relay", "refused", of_a_mail=True) is None
    await one.report_success()
    assert await one.report_trouble("relay", "refused", of_a_mail=True) is None
    assert await one.report_trouble("relay", "refused", of_a_mail=True) is None
    assert await one.report_trouble("relay", "refused", of_a_mail=True)
    hold = await held(redis)
    assert hold
    assert hold["reason"] == "refused"
    untried = Gate(link, "untried", times=TIMES)
    assert await untried.report_trouble("relay", "refused", of_a_mail=True)


@pytest.mark.parametrize("trouble", ["relay", "blocked", "client", "auth", "day", "throttle"])
async def test_a_login_that_is_taken_says_nothing_of_what_comes_after_it(
    trouble: Trouble, link: Link, redis: Redis
) -> None:
    times = replace(TIMES, pauses=dict.fromkeys(PAUSES, SHORT))
    (one,) = workers(link, 1, times=times)
    await one.report_trouble(trouble, "no")
    await eventually(probing(one))
    one.report_opening()
    await asyncio.gather(*one._reports)
    assert await redis.hget(mail_account("main"), "step") == b"1"
    await one.report_success()
    assert not await redis.hexists(mail_account("main"), "step")


async def test_a_pace_is_learned_by_all_workers_lowered_raised_and_forgotten(link: Link) -> None:
    times = replace(PASSING, quiet=timedelta(0), renew_every=SOON)
    unlimited = Limit("account:main", concurrency=3)
    one, other = (Gate(link, "main", times=times, unlimited=unlimited) for _ in range(2))
    limits = Limits(link, "{mail}")
    await proven([one])
    assert await one.take_permit()
    assert await other.take_permit()
    for _ in range(100):
        one.tempo.record_acceptance()

    async def rate() -> int:
        limit = (await limits.state("account:main")).limit
        return limit.rates[0].count if limit and limit.rates else 0

    await one.report_trouble("throttle", "slower")
    learned = await rate()
    assert learned == one.tempo.per_minute  # half of what two together sent
    await one.return_permit()

    async def lowered() -> bool:
        await one.report_trouble("throttle", "slower")
        return 0 < await rate() < learned

    await eventually(lowered)
    keeping = asyncio.create_task(one.keep_permits())

    async def forgotten() -> bool:
        return await rate() == 0

    await eventually(forgotten)
    keeping.cancel()
    limit = (await limits.state("account:main")).limit
    assert limit is not None
    assert limit.concurrency == 3
