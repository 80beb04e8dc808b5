"""An envelope carries JSON and nothing that only looks like it, and reads nothing else."""

import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, strategies as st

from producers import InvalidRequest, PayloadTooLarge
from producers.envelope import MARK, SIZE_LIMIT, UnreadableEnvelope, read_envelope, write_envelope

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_whatever_goes_in_comes_out(payload: dict[str, Any]) -> None:
    octets = write_envelope("note.take", payload, enqueued_ms=7)
    assert octets.startswith(MARK)
    envelope = read_envelope(octets)
    assert (envelope.kind, envelope.arguments, envelope.payload, envelope.enqueued_ms) == (
        "note.take",
        [],
        payload,
        7,
    )


def test_a_delay_travels_and_none_is_none() -> None:
    assert read_envelope(write_envelope("note.take", {}, enqueued_ms=7, delay_ms=9)).delay_ms == 9
    assert read_envelope(write_envelope("note.take", {}, enqueued_ms=7)).delay_ms == 0


def cycle() -> list[object]:
    inner: list[object] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        datetime(2026, 1, 1, tzinfo=UTC),
        UUID(int=1),
        Decimal(1),
        b"x",
        {1},
        {1: "a"},
        object(),
        2**64,
        "\ud800",
        {"\ud800": 1},
        [[{"deep": float("-inf")}]],
        cycle(),
    ],
)
def test_a_value_that_json_does_not_have_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequest, match="payload"):
        write_envelope("note.take", {"value": value}, enqueued_ms=0)


def test_the_guilty_part_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"^payload\.due: "):
        write_envelope("note.take", {"task": "x", "due": {1}}, enqueued_ms=0)


def test_the_limit_holds_to_the_octet() -> None:
    bare = len(write_envelope("note.take", {"text": ""}, enqueued_ms=0))
    write_envelope("note.take", {"text": "x" * (SIZE_LIMIT - bare)}, enqueued_ms=0)
    with pytest.raises(PayloadTooLarge, match=str(SIZE_LIMIT + 1)):
        write_envelope("note.take", {"text": "x" * (SIZE_LIMIT - bare + 1)}, enqueued_ms=0)


OURS: Mapping[str, object] = {"v": 1, "f": "note.take", "t": None, "a": [], "k": {}, "et": 0}


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"7",
        b'{"f": NaN}',
        pickle.dumps(OURS),
        orjson.dumps({**OURS, "v": 2}),
        orjson.dumps({**OURS, "v": None}),
        orjson.dumps({**OURS, "a": None}),
        orjson.dumps({**OURS, "k": ["ab", 5]}),
        orjson.dumps({**OURS, "et": "soon"}),
        *(
            orjson.dumps({key: value for key, value in OURS.items() if key != gone})
            for gone in ("f", "a", "k", "et")
        ),
    ],
)
def test_octets_that_are_no_job_are_unreadable_and_no_pickle_is_read(octets: bytes) -> None:
    with pytest.raises(UnreadableEnvelope):
        read_envelope(octets)


def test_a_job_that_arq_wrote_as_json_is_read() -> None:
    octets = orjson.dumps({"t": None, "f": "note.take", "a": [1], "k": {"x": 2}, "et": 5})
    assert read_envelope(octets).arguments == [1]
