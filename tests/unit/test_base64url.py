"""Base64url: the worker reads and refuses what the standard library does, with which backends seal."""

import base64

from hypothesis import given, strategies as st

from worker.mail.base64url import decode_base64url

_ALPHABET = "ABCDZabcdz0189-_"
TEXTS = st.text(_ALPHABET, max_size=40) | st.text(_ALPHABET + "+/=\n \té\0~", max_size=40)


def standard_decode(text: str) -> bytes | type[Exception]:
    """What the standard library makes of a text, or the class of its refusal."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return ValueError


def our_decode(text: str) -> bytes | type[Exception]:
    try:
        return decode_base64url(text)
    except ValueError:
        return ValueError


@given(TEXTS)
def test_a_text_is_read_or_refused_as_the_standard_library_does(text: str) -> None:
    assert our_decode(text) == standard_decode(text)


@given(TEXTS, st.integers(0, 12_000))
def test_a_long_text_with_a_fault_anywhere_is_read_or_refused_as_the_standard_library_does(
    fault: str, place: int
) -> None:
    text = "Q2FuYXJpb" * 1300
    changed = text[:place] + fault + text[place:]
    assert our_decode(changed) == standard_decode(changed)


@given(st.binary(max_size=200))
def test_what_a_backend_wrote_is_read(content: bytes) -> None:
    assert decode_base64url(base64.urlsafe_b64encode(content).decode().rstrip("=")) == content
