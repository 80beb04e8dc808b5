"""The reader's small decisions, without a network."""

import doctest
from types import ModuleType

import pytest
from hypothesis import given, strategies as st

import reader.access
import reader.bounds
import reader.copy
import reader.cors
import reader.encoding
import reader.freshness
import reader.message
import reader.visible
import sessions.glance
from reader.copy import Copy
from reader.encoding import STORED, choose, takes_json, takes_plain
from reader.visible import is_visible
from sessions.glance import judge


@pytest.mark.parametrize(
    "module",
    [
        reader.access,
        reader.bounds,
        reader.copy,
        reader.cors,
        reader.encoding,
        reader.freshness,
        reader.message,
        reader.visible,
        sessions.glance,
    ],
)
def test_every_example_in_a_docstring_is_true(module: ModuleType) -> None:
    tried = doctest.testmod(module)
    assert (tried.attempted > 0, tried.failed) == (True, 0)


@given(st.text())
def test_no_header_upsets_the_choice_of_a_form(header: str) -> None:
    assert choose(header) in {*STORED, ""}
    assert isinstance(takes_plain(header), bool)
    assert isinstance(takes_json(header), bool)


@given(
    xmin=st.integers(1, 20),
    span=st.integers(0, 20),
    running=st.sets(st.integers(1, 40)),
    xid=st.integers(1, 60),
)
def test_a_write_is_visible_exactly_when_its_transaction_had_ended(
    xmin: int, span: int, running: set[int], xid: int
) -> None:
    xmax = xmin + span
    listed = sorted(one for one in running if xmin <= one < xmax)
    ended = {one for one in range(1, xmax) if one not in listed}
    assert is_visible(xid, f"{xmin}:{xmax}:{','.join(map(str, listed))}") == (xid in ended)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 400))))
def test_a_copy_never_grows_beyond_its_limit_and_believes_nothing_that_changed(
    steps: list[tuple[str, int, int]],
) -> None:
    copy, changed = Copy(octets=1500), set[str]()
    for key, part, size in steps:
        if size == 0:
            copy.changed([key.encode()])
            changed.add(key)
            assert copy.current(key, part) is None
        else:
            copy.keep(key, part, [b"x" * size], size=size)
    kept = [copy.remembered(key, part) for key in "abc" for part in range(4)]
    assert sum(len(values[0]) + 200 for values in kept if values) <= 1500


def test_what_changed_while_it_was_on_its_way_is_a_memory_only() -> None:
    copy = Copy(octets=1000)
    asked_at = copy.generation
    copy.changed([b"other"])
    copy.keep("key", 1, [b"v"], size=1, asked_at=asked_at)
    assert copy.current("key", 1) is None
    assert copy.remembered("key", 1) == [b"v"]


@pytest.mark.parametrize(
    ("record", "epoch", "data"),
    [
        ([b"0", b"1000", b"60000", b"{}"], None, b"{}"),
        ([b"1", b"1000", b"60000", b"{}"], b"1", b"{}"),
        ([b"0", b"1000", b"60000", b"{}"], b"1", None),
        ([None, None, None, None], None, None),
        ([b"0", b"1000", b"1000", b"{}"], None, None),
    ],
)
def test_a_glance_believes_a_record_of_the_users_epoch_until_its_limit_is_to_slide(
    record: list[bytes | None], epoch: bytes | None, data: bytes | None
) -> None:
    assert judge(record, epoch, 1500) == data
