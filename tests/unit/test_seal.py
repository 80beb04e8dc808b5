"""Sealing: what is private cannot be read, changed or moved; keys are rotated without losing a mail."""

import base64
import re

import pytest
from hypothesis import given, strategies as st

from jobs.mail.seal import BrokenSeal, InvalidKeyRing, KeyRing, UnknownSealKey, is_sealed, key_id_of

OLD, NEW = (base64.b64encode(bytes([letter]) * 32).decode() for letter in b"on")
JOB = "{mail}0199-a"
FROZEN = {
    "message_id": "mail0199-a",
    "date": "Mon, 23 Nov 2026 03:25:17 +0000",
    "stream": "notice",
    "to": "canary@example.com",
    "subject": "Canario amarillo",
    "text": "Hola\n",
    "html": None,
}


def sealed_by(ring: KeyRing) -> dict[str, object]:
    return dict(ring.seal(FROZEN, kind="mail.send", job_id=JOB))


def test_a_sealed_mail_shows_its_ids_and_nothing_else() -> None:
    sealed = sealed_by(KeyRing(f"new:{NEW}"))
    assert set(sealed) == {"message_id", "date", "stream", "sealed"}
    assert "canary" not in repr(sealed)
    assert is_sealed(sealed)
    assert key_id_of(sealed) == "new"
    assert sealed != sealed_by(KeyRing(f"new:{NEW}")), "a nonce is never used twice"


@given(st.dictionaries(st.text(max_size=8), st.none() | st.text(max_size=30) | st.lists(st.integers(0, 9))))
def test_what_was_sealed_comes_back_as_it_was(fields: dict[str, object]) -> None:
    ring, frozen = KeyRing(f"new:{NEW}"), {**fields, "message_id": "x"}
    frozen.pop("sealed", None)
    assert ring.open(ring.seal(frozen, kind="mail.send", job_id=JOB), kind="mail.send", job_id=JOB) == frozen


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    before = sealed_by(KeyRing(f"old:{OLD}"))
    ring = KeyRing(f"new:{NEW}, old:{OLD}")
    assert ring.open(before, kind="mail.send", job_id=JOB) == FROZEN
    assert key_id_of(sealed_by(ring)) == "new"


def test_a_key_that_is_not_in_the_ring_is_named_and_the_mail_is_not_broken() -> None:
    with pytest.raises(UnknownSealKey, match="'old'") as unknown:
        KeyRing(f"new:{NEW}").open(sealed_by(KeyRing(f"old:{OLD}")), kind="mail.send", job_id=JOB)
    assert unknown.value.key_id == "old"


@pytest.mark.parametrize(
    "change",
    [
        lambda sealed: {**sealed, "sealed": str(sealed["sealed"])[:-6] + "AAAAAA"},
        lambda sealed: {**sealed, "sealed": str(sealed["sealed"])[:-30]},
        lambda sealed: {**sealed, "sealed": "1.new."},
        lambda sealed: {**sealed, "sealed": "1.new.$$$"},
        lambda sealed: {**sealed, "sealed": "2.new.AAAA"},
        lambda sealed: {**sealed, "sealed": None},
    ],
)
def test_a_changed_seal_is_never_opened(change: "object") -> None:
    ring = KeyRing(f"new:{NEW}")
    with pytest.raises(BrokenSeal):
        ring.open(change(sealed_by(ring)), kind="mail.send", job_id=JOB)  # type: ignore[operator]


@pytest.mark.parametrize(("kind", "job_id"), [("mail.send", "{mail}other"), ("other.kind", JOB)])
def test_a_seal_belongs_to_one_job_of_one_kind(kind: str, job_id: str) -> None:
    ring = KeyRing(f"new:{NEW}")
    with pytest.raises(BrokenSeal):
        ring.open(sealed_by(ring), kind=kind, job_id=job_id)


def test_kinds_without_private_texts_and_sealed_mails_are_left_as_they_are() -> None:
    ring = KeyRing(f"new:{NEW}")
    assert ring.seal({"report": "r"}, kind="report.refresh", job_id="{reports}x") == {"report": "r"}
    sealed = sealed_by(ring)
    assert ring.seal(sealed, kind="mail.send", job_id=JOB) is sealed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "id:base64"),
        ("nokey", "id:base64"),
        ("a b:" + OLD, "id:base64"),
        ("short:AAAA", "32 bytes"),
        ("x:not base64", "32 bytes"),
        (f"a:{OLD},a:{NEW}", "twice"),
    ],
)
def test_a_ring_that_cannot_be_read_is_refused_without_showing_a_key(text: str, says: str) -> None:
    with pytest.raises(InvalidKeyRing, match=says) as refusal:
        KeyRing(text)
    assert OLD not in str(refusal.value)


def test_a_ring_shows_ids_and_no_key() -> None:
    ring = KeyRing(f"new:{NEW}\nold:{OLD.rstrip('=')}\n")
    assert repr(ring) == "KeyRing(new, old)"
    assert ring.key_ids == ("new", "old")
    assert KeyRing.optional(" ") is None
    assert re.search("new", repr(KeyRing.optional(f"new:{NEW}")))
