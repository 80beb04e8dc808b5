"""No text that a user typed can become a header, whatever Python's own parser would make of it."""

from email.header import decode_header, make_header

import pytest
from hypothesis import example, given, strategies as st

from jobs import UnsafeHeader
from jobs.mail.header import encode_text, refuse_unsafe
from jobs.mail.header_block import header_block

CONTROLS = ["\r\n", "\n", "\r", "\0", "\t", "\x0b", "\x1f", "\x7f", "\x85", "\x9f", "\u2028", "\u2029", "\ud800"]
PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]))


@pytest.mark.parametrize("odd", CONTROLS)
def test_a_control_character_is_refused_with_its_place_and_without_the_text(odd: str) -> None:
    with pytest.raises(UnsafeHeader) as refusal:
        refuse_unsafe(f"private{odd}words", field="subject")
    assert refusal.value.field == "subject"
    assert f"U+{ord(odd[0]):04X} at position 7" in refusal.value.reason
    assert "private" not in str(refusal.value)


@pytest.mark.parametrize(
    "word",
    [
        "=?utf-8?q?x=0AReply-To:_evil=40example.org?=",  # CVE-2024-6923
        "=?UTF-8?B?DQpCY2M6?=",
        "=?utf-8*es?Q?x?=",
        "=??q??=",
        "x =?iso-8859-1?b?never closed",
    ],
)
def test_an_encoded_word_is_refused(word: str) -> None:
    with pytest.raises(UnsafeHeader, match="encoded-word"):
        refuse_unsafe(word, field="subject")


@pytest.mark.parametrize("text", ["", "Cierre mensual", "¿Qué? = 5 ?=", "=? no word", "a=?b", "👩‍👩‍👧", "שלום"])
def test_ordinary_text_passes(text: str) -> None:
    refuse_unsafe(text, field="subject")


@given(PRINTABLE)
@example("=?utf-8?q?an_encoded-word?=")
@example("x" * 2000)
def test_encoded_text_is_printable_ascii_and_reads_as_the_text(text: str) -> None:
    encoded = encode_text(text)
    lines = encoded.split("\r\n ")
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert str(make_header(decode_header(encoded))) == text


@given(PRINTABLE)
@example("ñ👩" * 100)
def test_every_encoded_word_holds_whole_characters(text: str) -> None:
    encoded = encode_text(text + "ñ")
    for word in encoded.split("\r\n "):
        ((octets, _),) = decode_header(word)
        assert octets.decode("utf-8") in text + "ñ"


@pytest.mark.parametrize(
    "value",
    [
        "a@example.com\r\nBcc: evil@example.org",
        "a\r\n\r\nbody",
        "a\nBcc: evil",
        "a\rBcc: evil",
        "a\r\n ",
        "a\r\n \tb",
        "a\0b",
        "ñ",
        "",
        "x" * 995,
    ],
)
def test_a_field_that_is_more_than_itself_does_not_leave(value: str) -> None:
    with pytest.raises(UnsafeHeader) as refusal:
        header_block([("From", "a@example.com"), ("To", value)])
    assert refusal.value.field == "To"
    assert "evil" not in str(refusal.value)


def test_a_folded_field_and_one_of_the_longest_line_pass() -> None:
    block = header_block([("A", "x\r\n y"), ("B", "x" * 995)])
    assert block == b"A: x\r\n y\r\nB: " + b"x" * 995 + b"\r\n"
