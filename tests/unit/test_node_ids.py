"""Ids of nodes are integers, UUIDs or short texts; what is none of these is refused with its fault."""

import re
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, strategies as st

from producers.node_ids import ALLOWED, fault_of, is_node_id
from reports.node_ids import IdKind, IdsChanged, InvalidIds, id_json, read_ids, require_same_kind, stored_id
from sessions.node_ids import is_id_text

ANY_TEXT = st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9._~-]{0,70}", fullmatch=True)
FIELDS = ["_meta", "_error", "_gen", "_as_of", "_costs"]
"""Fields that are stored beside documents, named by their scopes."""


@given(ANY_TEXT | st.sampled_from([".", "..", *FIELDS]))
def test_sessions_and_producers_have_one_rule_for_ids(text: str) -> None:
    assert is_id_text(text) is (fault_of(text) == "") is is_node_id(text)


@given(ANY_TEXT)
def test_an_id_needs_no_escape_in_a_url_and_names_no_other_field(text: str) -> None:
    if not fault_of(text):
        assert re.fullmatch(r"[A-Za-z0-9\-._~]{1,64}", text)
        assert text not in {".", "..", *FIELDS}
        assert ":" not in text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ventas/norte", "contains '/'"),
        ("ventas norte", "contains ' '"),
        ("compañía", "contains '\\xf1'"),
        ("a\n", "contains '\\n'"),
        ("head:1", "contains ':'"),
        ("", "is empty"),
        ("x" * 65, "has 65 characters"),
        ("..", "is reserved"),
        ("_meta", "is reserved"),
    ],
)
def test_a_text_that_is_no_id_is_refused_with_the_column_and_its_fault(text: str, fault: str) -> None:
    assert fault_of(text) == fault
    with pytest.raises(InvalidIds) as refused:
        read_ids(["ventas", text], "id")
    assert str(refused.value).startswith(f"id: {text[:77]!a}")
    assert str(refused.value).endswith(f"{fault}; {ALLOWED}")


def test_all_ids_of_a_column_are_read_as_their_type() -> None:
    one, two = uuid4(), UUID("0B7F0C3E-1D6B-4A53-8A0E-0F3A4F1C9A55")
    assert read_ids([1, None, 2**63 - 1], "id") == (IdKind.INTEGER, [1, None, 2**63 - 1])
    assert read_ids([one, two], "id") == (IdKind.UUID, [str(one), "0b7f0c3e-1d6b-4a53-8a0e-0f3a4f1c9a55"])
    assert read_ids(["b", "A-1"], "id") == (IdKind.TEXT, ["b", "A-1"])
    assert read_ids([None], "id") == (None, [None])


@pytest.mark.parametrize("odd", [Decimal(1), 1.0, True, b"1", [1], "1", uuid4()])
def test_ids_of_other_types_or_of_two_types_are_refused(odd: Any) -> None:
    with pytest.raises(InvalidIds, match=r"^scope: "):
        read_ids([1, odd], "scope")


@given(st.integers(1, 2**63 - 1) | st.from_regex(r"[A-Za-z0-9]{1,64}", fullmatch=True))
def test_an_id_is_read_from_its_stored_name_as_it_was_written(node_id: Any) -> None:
    kind = IdKind.INTEGER if isinstance(node_id, int) else IdKind.TEXT
    assert stored_id(str(node_id).encode(), kind) == node_id
    assert id_json(node_id) == (str(node_id) if kind is IdKind.INTEGER else f'"{node_id}"').encode()


def test_a_change_of_the_type_is_an_error_that_says_what_to_do() -> None:
    require_same_kind(IdKind.UUID, IdKind.UUID)
    with pytest.raises(IdsChanged, match=r"were integer and are now uuid.*reports forget"):
        require_same_kind(IdKind.INTEGER, IdKind.UUID)
