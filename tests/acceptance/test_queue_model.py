"""The queue's scripts against a model of the queue, under random use: see tests/model/machine.py.

The ordinary run takes more than a thousand steps; `./run test --long` a hundred thousand, and shows that the
machine notices scripts that are broken. A failure prints the shortest steps that show it. No examples are kept
from one run to the next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis.exceptions import ResponseError

from producers import operation
from producers.entry import JobEntry
from producers.keys import LaneKeys
from producers.link.script import SCRIPTS, Script, read_script
from tests.model import product
from tests.model.clock import step_clock
from tests.model.machine import DAY, HOUR, LEASE, QueueMachine, Step
from tests.model.product import Product
from tests.model.server import Server
from tests.model.wire import OURS, Wire
from tests.support import OwnValkey
from worker.engine import store

Start = Callable[..., Awaitable[OwnValkey]]

_ALIKE = settings(
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
settings.register_profile("queue model", _ALIKE, max_examples=20, stateful_step_count=60)
settings.register_profile("queue model, long", _ALIKE, max_examples=560, stateful_step_count=100)
settings.register_profile(
    "queue model, broken",
    _ALIKE,
    max_examples=1_000,
    stateful_step_count=60,
    phases=(Phase.generate,),
    report_multiple_bugs=False,
)

LANE = LaneKeys("mail.normal")


async def _run_the_machine(own_valkey: Start, profile: str) -> Server:
    """In a thread, while this loop keeps the server, which the machine kills now and then."""
    running = await own_valkey("--enable-debug-command", "local")
    loop = asyncio.get_running_loop()
    wire = Wire(running.port)
    server = Server(wire, kill=lambda: asyncio.run_coroutine_threadsafe(running.restart(), loop).result())
    try:
        make: Any = partial(QueueMachine, server)
        await asyncio.to_thread(run_state_machine_as_test, make, settings=settings.get_profile(profile))
    finally:
        wire.close()
    return server


@pytest.mark.timeout(600)  # a failure takes its time to be made small
async def test_the_queue_does_what_its_model_says(own_valkey: Start) -> None:
    server = await _run_the_machine(own_valkey, "queue model")
    assert server.steps > 1_000


def _claim(count: int) -> tuple[str, dict[str, Any]]:
    return "claim", {"worker": 0, "lane": LANE.lane, "count": count, "is_heard": True}


def _play(wire: Wire, *steps: tuple[str, dict[str, Any]]) -> None:
    machine = QueueMachine(Server(wire, kill=lambda: None))
    for name, drawn in steps:
        machine.take(Step(name, drawn))
    machine.teardown()


@pytest.mark.parametrize("place", range(5))
def test_a_job_keeps_its_place_in_the_line_when_another_vanishes_in_the_same_claim(wire: Wire, place: int) -> None:
    _play(
        wire,
        ("enqueue", {"lane": LANE.lane, "asked": [(0, "", 0, "customer:a")] * 6}),
        _claim(2),
        ("lose_a_payload", {"place": place, "dead": False}),
    )


def test_a_claim_comes_to_the_next_job_of_a_limit_when_another_vanishes_in_it(wire: Wire) -> None:
    asked = (0, "", 0, "customer:b")  # of which two may run
    _play(
        wire,
        ("enqueue", {"lane": LANE.lane, "asked": [asked] * 3}),
        _claim(3),
        ("time_passes", {"milliseconds": LEASE + 1}),
        ("enqueue", {"lane": LANE.lane, "asked": [asked]}),
        ("lose_a_payload", {"place": 3, "dead": False}),
        _claim(3),
    )


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("half", ["one half", "the other half"])  # side by side, each with its own server
async def test_the_queue_does_what_its_model_says_for_a_hundred_thousand_steps(
    own_valkey: Start, half: str
) -> None:
    server = await _run_the_machine(own_valkey, "queue model, long")
    assert server.steps >= 50_000, half


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("script", "code", "instead"),
    [
        pytest.param("finish", "token == ARGV[at + 1] and 1 or 0", "1", id="takes an outcome from anybody"),
        pytest.param(
            "renew", "redis.call('GET', 'arq:in-progress:' .. id) == token", "true", id="renews a lost lease"
        ),
        pytest.param(
            "claim", "redis.call('SET', 'arq:retry:' .. id, attempt)", "", id="counts no lapse as attempt"
        ),
        pytest.param(
            "take_out", "redis.call('DEL', 'arq:job:' .. id, ", "redis.call('DEL', ", id="keeps a payload"
        ),
        pytest.param("claim", "if suspect and does_suspect_run()", "if false", id="runs suspects together"),
        pytest.param("enqueue", "'accepted:' .. lane, added)", "'accepted:' .. lane, 0)", id="counts nothing"),
    ],
)
async def test_the_machine_notices_a_broken_script(
    own_valkey: Start, monkeypatch: pytest.MonkeyPatch, script: str, code: str, instead: str
) -> None:
    def read_broken(folder: Path, name: str) -> str:
        source = read_script(folder, name)
        if name != script:
            return source
        if source.count(code) != 1:
            raise LookupError(f"{script}.lua has changed; break it at another place")
        return source.replace(code, instead)

    script_named = cache(lambda name: Script(read_broken(SCRIPTS, name)))
    for module in (operation, product):  # what operators do, and what the steps do
        monkeypatch.setattr(module, "script_named", script_named)
    monkeypatch.setattr(store, "read_script", read_broken)
    with pytest.raises(AssertionError):
        await _run_the_machine(own_valkey, "queue model, broken")


# The clock that the machine steps


@pytest.fixture
def wire(valkey_url: str) -> Iterator[Wire]:
    wire = Wire(urlsplit(valkey_url).port or 0)
    yield wire
    wire.close()


def _claimed(product: Product, number: int) -> list[str]:
    claims, _ = product.claim("w", number, LANE.lane, 10)
    return [one.id for one in claims]


def test_a_job_for_the_next_hour_is_due_when_an_hour_has_passed(wire: Wire) -> None:
    product = Product(wire, lease=LEASE, crash_limit=3)
    product.enqueue(LANE.lane, [JobEntry("{mail}1", OURS, HOUR)])
    step_clock(wire, HOUR - 60_000)
    assert _claimed(product, 1) == []
    step_clock(wire, 60_000)
    assert _claimed(product, 2) == ["{mail}1"]


def test_a_lease_is_over_when_its_time_has_passed(wire: Wire) -> None:
    product = Product(wire, lease=LEASE, crash_limit=3)
    product.enqueue(LANE.lane, [JobEntry("{mail}1", OURS, 0)])
    claims, _ = product.claim("w", 1, LANE.lane, 1)
    step_clock(wire, LEASE)
    assert product.finish(LANE.lane, [(claims[0], "done", 0, b"")]) == [0]
    assert _claimed(product, 2) == ["{mail}1"]


def test_a_hold_ends_when_its_time_has_passed(wire: Wire) -> None:
    product = Product(wire, lease=LEASE, crash_limit=3)
    product.enqueue(LANE.lane, [JobEntry("{mail}1", OURS, 0)])
    product.hold(LANE.lane, 3_600)
    assert _claimed(product, 1) == []
    step_clock(wire, HOUR)
    assert _claimed(product, 2) == ["{mail}1"]


def test_a_key_ends_with_its_window_once_its_job_is_over(wire: Wire) -> None:
    product = Product(wire, lease=LEASE, crash_limit=3)
    name = b"momentus:{mail}:unique:key"
    product.enqueue(LANE.lane, [JobEntry("{mail}1", OURS, 0, "key", "0" * 64, 7 * DAY)])
    claims, _ = product.claim("w", 1, LANE.lane, 1)
    assert product.finish(LANE.lane, [(claims[0], "done", 0, b"")]) == [1]
    step_clock(wire, 7 * DAY - HOUR)
    assert name in wire.picture
    step_clock(wire, HOUR)
    assert name not in wire.picture


def test_a_key_outlives_its_window_while_its_job_may_still_run(wire: Wire) -> None:
    product = Product(wire, lease=LEASE, crash_limit=3)
    name = b"momentus:{mail}:unique:key"
    product.enqueue(LANE.lane, [JobEntry("{mail}1", OURS, 30 * DAY, "key", "0" * 64, 7 * DAY)])
    step_clock(wire, 30 * DAY)
    assert name in wire.picture
    claims, _ = product.claim("w", 1, LANE.lane, 1)
    assert product.finish(LANE.lane, [(claims[0], "done", 0, b"")]) == [1]
    assert name not in wire.picture


def test_a_key_of_which_the_clock_knows_nothing_is_refused(wire: Wire) -> None:
    wire.step(("SET", "momentus:{mail}:novelty", "1795404317562"))
    with pytest.raises(ResponseError, match=r"momentus:\{mail\}:novelty"):
        step_clock(wire, 1)
