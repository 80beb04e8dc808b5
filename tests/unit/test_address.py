"""Addresses are checked strictly, never repaired in silence, and never repeated in an error."""

import pytest
from hypothesis import given, settings, strategies as st

from jobs import InvalidAddress, MailError, UnsafeHeader
from jobs.mail.address import normal_address

PRIVATE = "secretary"

NO_ADDRESSES = [
    "",
    PRIVATE,
    f"{PRIVATE}@",
    f"@{PRIVATE}.com",
    f"{PRIVATE}@localhost",
    f"{PRIVATE}@{PRIVATE}.test",
    f"{PRIVATE}@{PRIVATE}..com",
    f"{PRIVATE}@-{PRIVATE}.com",
    f"{PRIVATE}@{PRIVATE}_.com",
    f"{PRIVATE}@{PRIVATE}.c0m-",
    f"{PRIVATE}@{PRIVATE}.com.",
    f"{PRIVATE}@{PRIVATE}☃.com",
    f"{PRIVATE}@[127.0.0.1]",
    f"{PRIVATE}@example.com@{PRIVATE}.com",
    f"{PRIVATE}@example.com,bob@{PRIVATE}.com",
    f"{PRIVATE}@example.com;bob@{PRIVATE}.com",
    f"{PRIVATE}@example.com ",
    f" {PRIVATE}@example.com",
    f"{PRIVATE} @example.com",
    f".{PRIVATE}@example.com",
    f"{PRIVATE}..x@example.com",
    f"{PRIVATE}(comment)@example.com",
    f'"{PRIVATE} x"@example.com',
    f"<{PRIVATE}@example.com>",
    f"Ana <{PRIVATE}@example.com>",
    f"{PRIVATE}ñ@example.com",
    f"{PRIVATE}\u200b@example.com",
    f"{PRIVATE}\uff20example.com",
    f"{PRIVATE}{'x' * 60}@example.com",
    f"{PRIVATE}@{'x' * 64}.com",
    f"{PRIVATE}@{('x' * 60 + '.') * 5}com",
]


@pytest.mark.parametrize("value", NO_ADDRESSES)
def test_what_is_no_address_is_refused_without_being_repeated(value: str) -> None:
    with pytest.raises(InvalidAddress) as refusal:
        normal_address(value, field="to")
    assert refusal.value.field == "to"
    assert PRIVATE not in str(refusal.value)


@pytest.mark.parametrize("odd", ["\r\n", "\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"])
def test_a_control_character_anywhere_is_refused(odd: str) -> None:
    for value in (f"{odd}ana@example.com", f"ana{odd}@example.com", f"ana@example.com{odd}"):
        with pytest.raises(UnsafeHeader, match="control character"):
            normal_address(value, field="reply_to")


def test_an_encoded_word_is_refused() -> None:
    with pytest.raises(UnsafeHeader, match="encoded-word"):
        normal_address("=?utf-8?q?ana?=@example.com", field="to")


@pytest.mark.parametrize("value", [None, 5, b"ana@example.com", ["ana@example.com"]])
def test_what_is_no_text_is_refused_by_its_type(value: object) -> None:
    with pytest.raises(InvalidAddress, match=type(value).__name__):
        normal_address(value, field="to")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("Ana@EXAMPLE.Com", "Ana@example.com"),
        ("ana@münchen.de", "ana@xn--mnchen-3ya.de"),
        ("ana+tag@sub.example.co", "ana+tag@sub.example.co"),
        ("o'neil!#$%&*/=?^_`{|}~-@example.com", "o'neil!#$%&*/=?^_`{|}~-@example.com"),
        (f"{'x' * 64}@example.com", f"{'x' * 64}@example.com"),
    ],
)
def test_an_address_comes_out_in_the_form_of_the_wire(value: str, normal: str) -> None:
    assert normal_address(value, field="to") == normal


@settings(deadline=None)
@given(
    st.text() | st.builds("{}@{}".format, st.text(max_size=10), st.sampled_from(["example.com", "ñ.es", "a b.c"]))
)
def test_whatever_passes_is_one_word_of_ascii_and_passes_again(value: str) -> None:
    try:
        normal = normal_address(value, field="to")
    except MailError:
        return
    assert normal.isascii()
    assert normal.isprintable()
    assert not set(normal) & set(' <>(),;:"\\')
    assert normal_address(normal, field="to") == normal
