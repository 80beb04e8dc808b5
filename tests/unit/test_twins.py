"""What a class offers with asyncio it offers without, word for word."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from producers import Producer, SyncProducer
from producers.testing import RecordingProducer, SyncRecordingProducer
from sessions import Sessions, SyncSessions
from tests import twins

PAIRS = [(Producer, SyncProducer), (Sessions, SyncSessions), (RecordingProducer, SyncRecordingProducer)]


@pytest.mark.parametrize("source", twins.TWINS)
def test_the_calls_without_asyncio_are_those_with_it(source: str) -> None:
    twin = twins.TWINS[source]
    stands = ast.parse((twins.ROOT / twin).read_text(encoding="utf-8"))
    written = ast.parse(twins.written(twin, twins.calls_of(source)))
    assert ast.dump(stands) == ast.dump(written), "run: .venv/bin/python -m tests.twins, then ruff format"


def public(kind: type) -> dict[str, Callable[..., Any]]:
    """The methods that a caller may use, and how one is made."""
    return {
        name: method
        for name, method in inspect.getmembers(kind, callable)
        if name == "__init__" or not name.startswith("_")
    }


def shape(method: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults of the parameters."""
    return [(one.name, one.kind, one.default) for one in inspect.signature(method).parameters.values()]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda one: one.__name__)
def test_both_have_the_same_methods_with_the_same_parameters_and_defaults(one: type, other: type) -> None:
    with_asyncio, without = public(one), public(other)
    assert with_asyncio.keys() == without.keys()
    for name, method in with_asyncio.items():
        assert shape(method) == shape(without[name]), name


@pytest.mark.parametrize(("one", "other"), PAIRS[:2], ids=lambda one: one.__name__)
def test_a_call_is_described_by_the_same_words(one: type, other: type) -> None:
    apart = {"__init__", "connect", "close"}
    for name, method in public(one).items():
        if name not in apart:
            told, told_without = inspect.getdoc(method), inspect.getdoc(getattr(other, name))
            assert twins.without_asyncio(told or "") == told_without, name


def test_a_gap_between_both_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more call, as somebody adds it to the one and forgets the other."""
    (tmp_path / "producers").mkdir()
    for path in ("producers/producer.py", "producers/sync.py"):
        (tmp_path / path).write_text((twins.ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    more = textwrap.indent('async def peek(self) -> None:\n    """Look."""\n    await self.close()\n', "    ")
    with (tmp_path / "producers/producer.py").open("a", encoding="utf-8") as source:
        source.write(f"\n{more}")
    monkeypatch.setattr(twins, "ROOT", tmp_path)
    with pytest.raises(AssertionError, match=r"tests\.twins"):
        test_the_calls_without_asyncio_are_those_with_it("producers/producer.py")
