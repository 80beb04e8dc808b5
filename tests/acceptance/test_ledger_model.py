"""The ledger against sets of what was asked for, under random use: see tests/ledger_model/machine.py.

The ordinary run takes some hundred steps; `./run test --long` tens of thousands, and shows that the machine sees
parts that are broken. A failure prints the shortest steps that show it, or the first ones if no second run shows
it: Redis and Postgres go on by their own clocks. No examples are kept from one run to the next.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from producers.link.script import Script, read_script
from tests.ledger_model.fuse import Way
from tests.ledger_model.lab import Lab
from tests.ledger_model.machine import LedgerMachine, Step
from worker.engine import attempt
from worker.ledger import push, reconcile, recorder, relay, tables_postgres
from worker.ledger.push import SCRIPTS

_ALIKE = settings(
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
settings.register_profile("ledger model", _ALIKE, max_examples=7, stateful_step_count=50)
settings.register_profile("ledger model, long", _ALIKE, max_examples=130, stateful_step_count=80)
settings.register_profile(
    "ledger model, broken", _ALIKE, max_examples=400, stateful_step_count=60, phases=(Phase.generate,)
)

_SEEDS = range(4)
"""Of the long run: 40,000 steps in all, in as many processes as pytest-xdist is given."""


def _run_the_machine(dsn: str, url: str, profile: str, seeded: int | None = None) -> Lab:
    with Lab(dsn, url) as lab:
        machine: Any = partial(LedgerMachine, lab)
        if seeded is not None:
            machine = seed(seeded)(machine)
        try:
            run_state_machine_as_test(machine, settings=settings.get_profile(profile))
        except Exception as error:
            error.add_note(lab.failure)
            raise
    return lab


@pytest.mark.timeout(600)  # a failure takes its time to be made small
async def test_every_job_is_where_the_sets_say_after_every_step(database: str, valkey_url: str) -> None:
    lab = await asyncio.to_thread(_run_the_machine, database, valkey_url, "ledger model")
    assert lab.steps >= 300
    assert lab.taken["relay"] > 0


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("seeded", _SEEDS)
async def test_every_job_is_where_the_sets_say_in_a_long_run(database: str, valkey_url: str, seeded: int) -> None:
    lab = await asyncio.to_thread(_run_the_machine, database, valkey_url, "ledger model, long", seeded)
    told = f"{lab.steps} steps: {dict(lab.taken)}"
    assert lab.steps >= 10_000, told
    for name in ("crash", "fault", "pause", "redis_is_emptied", "redis_goes_back", "search", "retain"):
        assert lab.taken[name] > 0, told


# What the machine notices


def _break_script(name: str, code: str, instead: str) -> Callable[[pytest.MonkeyPatch], None]:
    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        module, attribute = {"push": (push, "_PUSH"), "recorded": (recorder, "_RECORDED")}[name]
        monkeypatch.setattr(module, attribute, Script(_replaced(read_script(SCRIPTS, name), code, instead)))

    return apply


def _break_statement(name: str, code: str, instead: str) -> Callable[[pytest.MonkeyPatch], None]:
    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        whole = tables_postgres._statement
        broken = _replaced(whole(name), code, instead)
        monkeypatch.setattr(tables_postgres, "_statement", lambda one: broken if one == name else whole(one))

    return apply


def _replaced(source: str, code: str, instead: str) -> str:
    if source.count(code) != 1:
        raise LookupError(f"{code!r} has changed; break it at another place")
    return source.replace(code, instead)


def _skip(module: Any, name: str, answer: object = None) -> Callable[[pytest.MonkeyPatch], None]:
    """Have a function of a module do nothing."""

    async def skip(*_: object, **__: object) -> object:
        return answer

    return lambda monkeypatch: monkeypatch.setattr(module, name, skip)


def _lose_some_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis forgets all ends of a page, and Postgres gets all but the first."""
    whole = tables_postgres.write_ends

    async def write(connection: Any, ends: Any) -> None:
        if ends[1:]:
            await whole(connection, ends[1:])

    monkeypatch.setattr(recorder, "write_ends", write)


def _read_rows_before_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that ended after the read is pushed once more."""

    async def remove(connection: Any, ids: Any) -> None:
        """Wait for no relay that has one of the rows."""

    monkeypatch.setattr(recorder, "remove_pending", remove)


def _hear_of_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "day_of_reply", lambda _: None)


BROKEN = {
    "a push queues what Redis knows": _break_script("push", "is_live[n] or has_ended[n] or ", ""),
    "a push forgets to note a live job": _break_script("push", "call('HSET', live, unpack(rows))", ""),
    "a relay keeps what it handed over": _skip(relay, "remove_pending"),
    "a recorder drops an end": _lose_some_ends,
    "a recorder waits for no relay": _read_rows_before_the_lock,
    "a recorder asks for no lock": _skip(reconcile, "exclude_recorders"),
    "a search finds and returns nothing": _skip(reconcile, "make_pending"),
    "a search reads no second page": _skip(reconcile, "read_live", []),
    "a search takes out nothing that has ended": lambda patch: patch.setattr(
        reconcile.Reconciler, "_remove_ended", _skipped
    ),
    "an effect of a job that has ended begins": _break_statement(
        "write_effects", "ends.state <> 'dead'", "ends.state = ''"
    ),
    "an effect begins though a mark of it stands": _break_statement(
        "write_effects", "effects.attempt >= given.attempt OR NOT effects.counted", "false"
    ),
    "an effect begins though an earlier one was not counted": _break_statement(
        "write_effects", " OR NOT effects.counted", ""
    ),
    "all marks go with one": _break_statement(
        "remove_effects", "AND (effects.id, effects.attempt, ", "OR false AND (effects.id, effects.attempt, "
    ),
    "a mark goes with another lease's": _break_statement(
        "remove_effects", "SELECT id, attempt, token FROM", "SELECT id, attempt, effects.token FROM"
    ),
    "a later end replaces any other": _break_statement("write_ends", "ends.state = 'dead' AND", ""),
    "a relay copies no mark": _skip(relay, "copy_effects"),
    "a mark hears of no row": _hear_of_no_row,
}


async def _skipped(*_: object) -> None:
    """Do nothing."""


# What single steps seldom come to

_ONE = Step(
    "stage", {"number": 0, "jobs": [("mail.normal", None, 0, 0)], "by": "many", "old": False, "commit": True}
)
_RELAY = Step("relay", {"number": 0, "fuse": None})
_RELAYED = [_ONE, _RELAY]
_UNHEARD = Step("stage_unheard", {"number": 0, "job": ("mail.normal", None, 0, 0)})
_SAVED, _BACK = Step("redis_is_saved", {}), Step("redis_goes_back", {})
_RECORDED = Step("record", {"number": 0, "fuse": None})
_LAPSED = Step("time_passes", {"milliseconds": 10_001})
_CANCELLED = Step("cancel", {"place": 0, "fuse": None})


def _claimed(number: int) -> Step:
    return Step("claim", {"number": number, "lane": "mail.normal", "count": 1})


def _begun(number: int, fuse: tuple[int, Way] | None = None) -> Step:
    return Step("begin_effect", {"number": number, "place": 0, "fuse": fuse})


def _finished(number: int, how: str) -> Step:
    drawn = {"number": number, "place": 0, "how": how, "unknown": False, "delay": 0, "fuse": None}
    return Step("finish", drawn)


def _rested(place: tuple[str, int], *, dies: bool, meanwhile: Sequence[str]) -> Step:
    return Step("while_one_rests", {"number": 0, "rests": place, "dies": dies, "meanwhile": meanwhile})


_EMPTIED = [
    *(Step("redis_is_emptied", {}), Step("search", {"number": 0, "periodic": False, "fuse": None}), _RELAY),
    *(_claimed(1), _begun(1)),
]
"""Redis loses all, and what it has lost runs again."""
_ENDED = [*_RELAYED, _claimed(0), _finished(0, "done")]
_REFUSED: tuple[int, Way] = (2, "fault")
"""Postgres does not answer before the first statement for a mark."""
SCENES = {
    "a push queues what Redis knows": [_ONE, _rested(("relay", 3), dies=True, meanwhile=("cancel", "relay"))],
    "a recorder waits for no relay": [
        _ONE,
        _rested(("relay", 3), dies=True, meanwhile=("run", "record", "empty")),
    ],
    "a recorder asks for no lock": [
        *_ENDED,
        _rested(("record", 6), dies=False, meanwhile=("empty", "search", "relay")),
    ],
    "an effect of a job that has ended begins": [
        *(*_RELAYED, _SAVED, _claimed(0), _finished(0, "done"), _RECORDED, _BACK),
        *(_claimed(1), _begun(1)),
    ],
    "an effect begins though a mark of it stands": [
        *(*_RELAYED, _SAVED, _claimed(0), _finished(0, "again"), _claimed(0), _begun(0), _BACK),
        *(_claimed(1), _begun(1)),
    ],
    "an effect begins though an earlier one was not counted": [
        *(*_RELAYED, _claimed(0), _SAVED, _begun(0), _BACK, _LAPSED),
        *(_claimed(1), _begun(1)),
    ],
    "all marks go with one": [
        *(*_RELAYED, _claimed(0), _SAVED, _begun(0), _BACK, _LAPSED),
        *(_claimed(1), _begun(1, _REFUSED), _finished(1, "again"), _claimed(1), _begun(1)),
    ],
    "a mark goes with another lease's": [
        *(*_RELAYED, _SAVED, _claimed(0), _begun(0), _BACK),
        *(_claimed(1), _begun(1, _REFUSED), _finished(1, "again"), _claimed(1), _begun(1)),
    ],
    "a later end replaces any other": [
        *(*_RELAYED, _SAVED, _claimed(0), _finished(0, "done"), _RECORDED, _BACK),
        *(_CANCELLED, _RECORDED),
    ],
    "a relay copies no mark": [_UNHEARD, _claimed(0), _begun(0), _RELAY, *_EMPTIED],
    "a mark hears of no row": [_UNHEARD, _claimed(0), _RELAY, _begun(0), *_EMPTIED],
}


def _play(dsn: str, url: str, what: str) -> None:
    with Lab(dsn, url) as lab:
        machine = LedgerMachine(lab)
        for step in SCENES[what]:
            machine.take(step)
        machine.teardown()


@pytest.mark.parametrize("what", SCENES)
async def test_a_scene_is_played_to_its_end_and_notices_the_part_that_is_broken(
    database: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    await asyncio.to_thread(_play, database, valkey_url, what)
    BROKEN[what](monkeypatch)
    with pytest.raises(AssertionError):
        await asyncio.to_thread(_play, database, valkey_url, what)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", [one for one in BROKEN if one not in SCENES])
async def test_the_machine_notices_a_broken_part(
    database: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    BROKEN[what](monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup)):  # a second run may be luckier
        await asyncio.to_thread(_run_the_machine, database, valkey_url, "ledger model, broken")
