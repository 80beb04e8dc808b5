"""Stored reports against a slow computation, under random use: see tests/reports_model/machine.py.

A failure prints the shortest steps that show it. No examples are kept from one run to the next.
"""

import asyncio
from collections.abc import Collection
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import run_state_machine_as_test

from reports import load_reports
from tests.reports_model.expected import ORACLES
from tests.reports_model.interrupt import interrupted
from tests.reports_model.lab import Lab
from tests.reports_model.machine import STARTS, ReportsMachine
from tests.reports_model.standby import StandbyLab, StandbyMachine
from tests.standby import standby

_ALIKE = settings(
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
settings.register_profile("reports model", _ALIKE, max_examples=12, stateful_step_count=50)
settings.register_profile("standby", _ALIKE, max_examples=5, stateful_step_count=25)
settings.register_profile("standby, long", _ALIKE, max_examples=100, stateful_step_count=50)
settings.register_profile("reports model, long", _ALIKE, max_examples=140, stateful_step_count=100)
settings.register_profile(
    "reports model, broken", _ALIKE, max_examples=40, stateful_step_count=50, phases=(Phase.generate,)
)


_SEEDS = range(8)
"""Of the long run: 100,000 steps in all, in as many processes as pytest-xdist is given."""


_ENOUGH = 20
"""Computations of a kind that a run must exceed to have tried it."""
_MOST_ROUNDS = 6
"""One round in ten has too few refreshes of some nodes alone, by chance; hardly two in a row."""


def _run_the_machine(dsn: str, url: str, profile: str, seeded: int | None = None) -> Lab:
    declared = load_reports()
    with Lab(dsn, url, {name: declared[name] for name in ORACLES}) as lab:
        machine: Any = partial(ReportsMachine, lab)
        if seeded is not None:
            machine = seed(seeded)(machine)
        for _ in range(_MOST_ROUNDS if seeded is None else 1):
            run_state_machine_as_test(machine, settings=settings.get_profile(profile))
            if min(lab.computed["nodes"], lab.computed["unmarked"]) > _ENOUGH:
                break
    return lab


@pytest.mark.timeout(600)  # a failure takes its time to be made small
async def test_stored_reports_are_what_the_slow_computation_says_after_every_step(
    database: str, valkey_url: str
) -> None:
    lab = await asyncio.to_thread(_run_the_machine, database, valkey_url, "reports model")
    assert lab.steps >= 300
    assert lab.refreshes > 0
    assert lab.computed["nodes"] > _ENOUGH
    assert lab.computed["unmarked"] > _ENOUGH


@pytest.mark.timeout(600)
async def test_what_a_standby_shows_is_true_of_what_it_has_replayed_after_every_step(valkey_url: str) -> None:
    async with standby() as (primary, second):
        lab = await asyncio.to_thread(_run_on_a_standby, primary, second, valkey_url, "standby")
    assert min(lab.steps, lab.refreshes) > 0


@pytest.mark.long
@pytest.mark.timeout(1_200)
async def test_what_a_standby_shows_is_true_of_what_it_has_replayed_in_a_long_run(valkey_url: str) -> None:
    async with standby() as (primary, second):
        lab = await asyncio.to_thread(_run_on_a_standby, primary, second, valkey_url, "standby, long")
    assert lab.steps >= 3_000


def _run_on_a_standby(primary: str, second: str, url: str, profile: str) -> StandbyLab:
    with StandbyLab(primary, second, url) as lab:
        machine: Any = partial(StandbyMachine, lab)
        run_state_machine_as_test(machine, settings=settings.get_profile(profile))
    return lab


async def test_an_instant_that_comes_ends_what_was_proved_though_nobody_wrote_anything(
    database: str, valkey_url: str
) -> None:
    """Somebody leaves on Friday, a blocker is planned to end: the row was written long before."""
    await asyncio.to_thread(_let_instants_come, database, valkey_url)


def _let_instants_come(dsn: str, url: str) -> None:
    declared = load_reports()
    with Lab(dsn, url, {name: declared[name] for name in ORACLES}) as lab:
        for table in ("employees", "blockers", "tasks", "checkins"):
            for begins, ends in ((45, 0), (-90, 45)):
                machine = ReportsMachine(lab)
                machine.begin(STARTS[0])
                machine.time_passes(30_000)
                machine.a_row_comes(0, table, begins, ends)
                machine.refresh(0, watched=True)
                machine.all_is_as_it_must_be()
                machine.time_passes(2_760)
                machine.probe(watched=True)
                machine.all_is_as_it_must_be()
                machine.teardown()


async def test_a_worker_that_stood_still_since_its_transaction_began_brings_no_earlier_state_back(
    database: str, valkey_url: str
) -> None:
    """Its first query takes the state when it is parsed, and runs when another worker has stored a later one."""
    await asyncio.to_thread(_let_old_workers_wake, database, valkey_url)


def _let_old_workers_wake(dsn: str, url: str) -> None:
    declared = load_reports()
    with Lab(dsn, url, {name: declared[name] for name in ORACLES}) as lab:
        for watched in (True, False):
            for at in range(5, 11):
                machine = ReportsMachine(lab)
                machine.begin(STARTS[0])
                machine.refresh(0, watched=watched)
                machine.an_old_worker_wakes(0, watched=watched, at=at, place=0)
                machine.all_is_as_it_must_be()
                machine.teardown()


async def test_a_clock_that_is_set_while_a_state_is_taken_brings_no_earlier_state_back_and_makes_no_age_wrong(
    database: str, valkey_url: str
) -> None:
    """The worker stands still where its transaction has begun, and its first query has not run."""
    await asyncio.to_thread(_set_the_clock_of_a_state, database, valkey_url)


def _set_the_clock_of_a_state(dsn: str, url: str) -> None:
    declared = load_reports()
    places = [(True, at) for at in (5, 6, 7)] + [(False, at) for at in (7, 8)]
    with Lab(dsn, url, {name: declared[name] for name in ORACLES}) as lab:
        for (watched, at), minutes, is_written in product(places, (-600, -1, 600), (True, False)):
            machine = ReportsMachine(lab)
            machine.begin(STARTS[0])
            machine.refresh(0, watched=watched)
            machine.refresh_and_something_happens(0, watched=watched, at=at, way="pause", place=0)
            if not is_written:
                machine.time_passes(60)
            machine.the_database_s_clock_is_set(minutes)
            if is_written:
                machine.a_row_comes(0, "blockers", -1, 0)
                machine.refresh(1, watched=False)
            machine.all_is_as_it_must_be()
            machine.the_paused_goes_on()
            machine.all_is_as_it_must_be()
            machine.teardown()


async def test_a_timeout_of_a_worker_that_is_interrupted_neither_ends_the_interruption_nor_is_lost() -> None:
    said: list[str] = []

    async def meanwhile() -> None:
        for _ in range(9):
            await asyncio.sleep(0)
        said.append("meanwhile")

    async def work() -> None:
        try:
            async with asyncio.timeout(0):  # as a client of Redis looks whether a connection has ended
                await asyncio.Event().wait()
        except TimeoutError:
            said.append("timeout")

    both: Any = interrupted(work(), at=1, meanwhile=meanwhile)
    await both
    assert said == ["meanwhile", "timeout"]


async def test_a_refresh_that_postgres_ends_and_a_clock_of_redis_that_is_set_back_delay_no_later_refresh(
    database: str, valkey_url: str
) -> None:
    await asyncio.to_thread(_set_clocks, database, valkey_url, ends_at=(2, 8), set_at=())


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_clocks_that_are_set_around_a_refresh_that_is_interrupted_anywhere_harm_no_other(
    database: str, valkey_url: str
) -> None:
    """An hour that passes between the question for a clock and its answer makes no age too young, either."""
    await asyncio.to_thread(_set_clocks, database, valkey_url, ends_at=range(1, 40), set_at=range(1, 40))


def _set_clocks(dsn: str, url: str, *, ends_at: Collection[int], set_at: Collection[int]) -> None:
    """Interrupt a refresh at these places, by the end of its connection or by an hour that passes."""
    declared = load_reports()
    with Lab(dsn, url, {name: declared[name] for name in ORACLES}) as lab:
        for at, way in [(at, "postgres") for at in ends_at] + [(at, "clock") for at in set_at]:
            machine = ReportsMachine(lab)
            machine.begin(STARTS[0])
            machine.refresh(0, watched=False)
            if way == "clock":
                machine.the_database_s_clock_is_set(-3_000)
            machine.refresh_and_something_happens(0, watched=False, at=at, way=way, place=1)
            machine.all_is_as_it_must_be()
            if way == "postgres":
                machine.redis_s_clock_is_set(-7_200)
            machine.refresh(0, watched=False)
            machine.all_is_as_it_must_be()
            machine.teardown()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("script", "code", "instead"),
    [
        ("publish.lua", "if stored[1] and tonumber(stored[1]) >= tonumber(ARGV[2]) then", "if false then"),
        ("publish.lua", "redis.call('HDEL', snapshot, 'gone:' .. scope)", ""),
    ],
    ids=["an older set is stored", "a tombstone stays behind"],
)
async def test_the_machine_notices_a_broken_script(
    database: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch, script: str, code: str, instead: str
) -> None:
    read_text = Path.read_text

    def read_broken(self: Path, encoding: str | None = None) -> str:
        source = read_text(self, encoding=encoding)
        assert self.name != script or source.count(code) == 1, f"{script} has changed; break it at another place"
        return source.replace(code, instead) if self.name == script else source

    monkeypatch.setattr(Path, "read_text", read_broken)
    with pytest.raises((AssertionError, FlakyFailure)):  # instants are the server's: a second run may be luckier
        await asyncio.to_thread(_run_the_machine, database, valkey_url, "reports model, broken")


@pytest.mark.long
@pytest.mark.timeout(1_200)  # two minutes as a rule; a failure takes its time to be made small
@pytest.mark.parametrize("seeded", _SEEDS)
async def test_stored_reports_are_what_the_slow_computation_says_in_a_long_run(
    database: str, valkey_url: str, seeded: int
) -> None:
    lab = await asyncio.to_thread(_run_the_machine, database, valkey_url, "reports model, long", seeded)
    told = f"{lab.steps} steps, {lab.refreshes} refreshes, {lab.crashes} interrupted, {lab.proofs} proofs"
    assert lab.steps >= 100_000 / len(_SEEDS), told
    assert min(lab.refreshes, lab.crashes, lab.proofs) > 0, told
    print(told)  # noqa: T201  the figure for docs/benchmarks.md
