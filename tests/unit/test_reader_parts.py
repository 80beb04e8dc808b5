"""The reader's small decisions, without a network."""

import doctest
from types import ModuleType

import pytest
from hypothesis import given, strategies as st

import reader.access
import reader.cache
import reader.cache_control
import reader.cors
import reader.encoding
import reader.freshness
import reader.http.parse
import reader.http.request
import reader.message
import reader.read_your_writes
import sessions.quick_load
from reader.cache import ReplyCache
from reader.encoding import STORED, choose_encoding, takes_json, takes_plain
from reader.read_your_writes import is_visible
from sessions import SessionsUnavailable
from sessions.quick_load import is_due, live_data


@pytest.mark.parametrize(
    "module",
    [
        reader.access,
        reader.cache_control,
        reader.cache,
        reader.cors,
        reader.encoding,
        reader.freshness,
        reader.http.parse,
        reader.http.request,
        reader.message,
        reader.read_your_writes,
        sessions.quick_load,
    ],
)
def test_every_example_in_a_docstring_is_true(module: ModuleType) -> None:
    tried = doctest.testmod(module)
    assert (tried.attempted > 0, tried.failed) == (True, 0)


@given(st.text())
def test_no_header_upsets_the_choice_of_a_form(header: str) -> None:
    assert choose_encoding(header) in {*STORED, ""}
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
    copy, changed = ReplyCache(limit=1500), set[str]()
    for key, part, size in steps:
        if size == 0:
            copy.note_change([key.encode()])
            changed.add(key)
            assert copy.current_entry(key, part) is None
        else:
            copy.keep_reply(key, part, [b"x" * size], size=size)
    kept = [copy.remembered_entry(key, part) for key in "abc" for part in range(4)]
    assert sum(len(values[0]) + 200 for values in kept if values) <= 1500


def test_what_changed_while_it_was_on_its_way_is_a_memory_only() -> None:
    copy = ReplyCache(limit=1000)
    asked_at = copy.generation
    copy.note_change([b"other"])
    copy.keep_reply("key", 1, [b"v"], size=1, asked_at=asked_at, stamp="tree")
    assert copy.current_entry("key", 1) is None
    assert copy.remembered_entry("key", 1) is None, "it may be of a tree that is no more"
    copy.confirm_stamp("key", "tree", at=copy.change_count("key"))
    assert copy.remembered_entry("key", 1) == [b"v"]


@pytest.mark.parametrize(
    ("born", "epoch", "data"),
    [
        (b"0", None, b"{}"),
        (b"3", b"3", b"{}"),
        (b"3", b"4", None),
        (b"0", b"1", None),
        (None, None, None),
    ],
)
def test_a_glance_believes_a_record_of_the_users_epoch(
    born: bytes | None, epoch: bytes | None, data: bytes | None
) -> None:
    assert live_data([born, b"1", b"2", b"3", born and b"{}"], epoch) == data


@pytest.mark.parametrize(
    ("touched", "idle_ms", "slid_ms", "now_ms", "due"),
    [
        (1_000, 43_200_000, 0, 61_000, False),
        (1_000, 43_200_000, 0, 61_001, True),
        (1_000, 43_200_000, 50_000, 61_001, False),
        (1_000, 3_000, 0, 1_101, True),
        (1_000, 3_000, 1_050, 1_101, False),
    ],
)
def test_a_use_is_told_once_a_minute_or_thirtieth_of_the_idle_limit(
    touched: int,
    idle_ms: int,
    slid_ms: int,
    now_ms: int,
    due: bool,  # noqa: FBT001  a column
) -> None:
    record = [b"0", str(touched).encode(), str(idle_ms).encode(), b"9", b"{}"]
    assert is_due(record, slid_ms, now_ms) is due


def test_times_that_are_no_numbers_are_an_error_not_a_login() -> None:
    with pytest.raises(SessionsUnavailable, match="times"):
        is_due([b"0", b"soon", b"2", b"3", b"{}"], 0, 0)
