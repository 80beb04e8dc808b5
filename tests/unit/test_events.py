"""Events are looked up when a module is loaded: a wrong name must not end a task hours later."""

import ast
from pathlib import Path

import pytest

from tests.sources import nodes, parsed
from worker import events

WORKER = Path(events.__file__).parent


def bound() -> set[str]:
    """The names that modules of the worker bind."""
    found = set()
    for file in WORKER.rglob("*.py"):
        for node in nodes(parsed(file)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "event":
                name = node.args[0]
                found |= {str(name.value)} if isinstance(name, ast.Constant) else set()
    return found


def test_an_event_that_the_table_lacks_is_refused_when_it_is_bound() -> None:
    with pytest.raises(ValueError, match=r"event: 'clock.stopped' is not in the table"):
        events.event("clock.stopped")


def test_every_row_of_the_table_is_said_somewhere() -> None:
    outcomes = {name for name in events._EVENTS if name.startswith("job.")}
    assert set(events._EVENTS) - outcomes == bound() - outcomes
