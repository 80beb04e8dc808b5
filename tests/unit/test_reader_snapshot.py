"""What the worker stored is read strictly: never an answer made of half-understood data."""

import json
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from reader.snapshot import ERROR_LENGTH, Head, LastFailure, Meta, SnapshotUnreadable, decode_snapshot, fields_of

HEAD = {"etag": "0123456789abcdef", "path": [1, 4, 17], "as_of_us": 5}
META = {
    "report": "general",
    "gen": 3,
    "as_of_us": 5,
    "verified_us": 6,
    "valid_until_us": None,
    "soft_ms": 30_000,
    "hard_ms": 300_000,
    "cost_ms": 12.5,
    "scopes": 700,
}


def stored(document: object) -> bytes:
    return json.dumps(document).encode()


def test_one_look_asks_for_all_that_belongs_together() -> None:
    assert fields_of("17") == ["17", "head:17", "gone:17", "_meta", "_error"]


def test_all_parts_are_understood() -> None:
    snapshot = decode_snapshot([b"{}", stored(HEAD), b"9", stored(META), stored({"at_us": 8, "error": "no disk"})])
    assert snapshot.body == b"{}"
    assert snapshot.head == Head(etag="0123456789abcdef", path=("1", "4", "17"), as_of_us=5)
    assert snapshot.gone_us == 9
    assert snapshot.meta == Meta(
        gen=3, verified_us=6, valid_until_us=None, soft_ms=30_000, hard_ms=300_000, cost_ms=12.5
    )
    assert snapshot.failure == LastFailure(at_us=8, error="no disk")


def test_what_is_absent_is_none() -> None:
    snapshot = decode_snapshot([None] * 5)
    assert (snapshot.body, snapshot.head, snapshot.gone_us, snapshot.meta, snapshot.failure) == (None,) * 5


def test_of_a_failure_only_its_first_line_is_passed_on() -> None:
    error = "boom\nTraceback (most recent call last):\n  File secret.py" + "x" * 1000
    snapshot = decode_snapshot([None, None, None, None, stored({"at_us": 8, "error": error})])
    assert snapshot.failure == LastFailure(at_us=8, error="boom")
    snapshot = decode_snapshot([None, None, None, None, stored({"at_us": 8, "error": "x" * 1000})])
    assert snapshot.failure == LastFailure(at_us=8, error="x" * ERROR_LENGTH)


@pytest.mark.parametrize(
    "values",
    [
        [None, b"{", None, None, None],
        [None, stored([]), None, None, None],
        [None, stored({**HEAD, "etag": 'x"\r\nset-cookie: a=b'}), None, None, None],
        [None, stored({**HEAD, "path": 5}), None, None, None],
        [None, stored({**HEAD, "as_of_us": "soon"}), None, None, None],
        [None, None, b"yesterday", None, None],
        [None, None, b"9" * 30, None, None],
        [None, None, None, stored({**META, "gen": None}), None],
        [None, None, None, stored({**META, "verified_us": 10**30}), None],
        [None, None, None, stored({key: META[key] for key in META if key != "hard_ms"}), None],
        [None, None, None, None, stored("boom")],
    ],
)
def test_what_is_not_the_format_is_refused(values: Sequence[bytes | None]) -> None:
    with pytest.raises(SnapshotUnreadable):
        decode_snapshot(values)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*HEAD, *META, "at_us", "error"]), inner),
    max_leaves=10,
)


@given(st.lists(st.none() | st.binary() | json_values.map(stored), min_size=5, max_size=5))
def test_whatever_is_stored_is_understood_or_refused(values: list[bytes | None]) -> None:
    with suppress(SnapshotUnreadable):
        decode_snapshot(values)
