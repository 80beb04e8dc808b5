"""DKIM: signatures that others accept, and that no attempt changes."""

import re
from datetime import UTC, datetime
from importlib.util import find_spec

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from hypothesis import given, settings, strategies as st

from jobs import Mail
from jobs.mail.dkim import InvalidDkimKey, Signer, load_signer, relaxed_body
from jobs.mail.letter import Letter, LetterSender, write_letter
from tests.dkim_verifier import verifies

RSA, ED25519 = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
WHEN = datetime(2026, 11, 23, 3, 25, 17, tzinfo=UTC)


def pem(key: PrivateKeyTypes) -> str:
    pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, none).decode()


def signer(key: PrivateKeyTypes = ED25519) -> Signer:
    return load_signer(pem(key), domain="momentus.example", selector="s1")


def letter(**parts: str) -> Letter:
    mail = Mail(to="ana@example.com", **{"subject": "Hola", "text": "Buenos días", **parts})  # type: ignore[arg-type]
    frozen = mail.compose(job_id="{mail}1", now=WHEN)
    return write_letter(frozen, default_sender=LetterSender("no-reply@momentus.example", "Momentus"))


EXAMPLE = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
"""RFC 8463, appendix A.3."""
EXAMPLE_KEY = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def test_the_verifier_accepts_the_example_of_the_standard_and_nothing_else() -> None:
    assert verifies(EXAMPLE, EXAMPLE_KEY)
    assert not verifies(EXAMPLE.replace(b"dinner", b"supper"), EXAMPLE_KEY)
    assert not verifies(EXAMPLE.replace(b"hungry", b"thirsty"), EXAMPLE_KEY)


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"subject": "Reunión del jueves, con un título que se dobla en varias líneas: " + "mañana " * 20},
        {"html": "<p>Hola</p>", "text": "a  b \n\n\n"},
        {"sender_name": "José Ñandú", "reply_to": "luz@example.com"},
    ],
)
def test_a_verifier_by_the_standard_accepts_our_signature(key: PrivateKeyTypes, parts: dict[str, str]) -> None:
    assert verifies(signer(key).sign(letter(**parts)).content, signer(key).public_text)


@pytest.mark.skipif(find_spec("dkim") is None, reason="dkimpy is not installed here")
def test_dkimpy_accepts_our_signature() -> None:
    import dkim  # noqa: PLC0415  it has no wheel, so it is not among the pinned packages

    for key in (RSA, ED25519):
        octets = signer(key).sign(letter(html="<p>Hola</p>")).content
        record = signer(key).public_text.encode()
        assert dkim.verify(octets, dnsfunc=lambda _name, timeout=5, record=record: record if timeout else b"")


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
def test_the_same_mail_has_the_same_signature_at_every_attempt(key: PrivateKeyTypes) -> None:
    first = signer(key).sign(letter())
    assert first == signer(key).sign(letter())
    assert f"t={int(WHEN.timestamp())};".encode() in first.content


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b"Subject: Hola", b"Subject: Adios"),
        (b"To: ana@", b"To: eva@"),
        (b"From: ", b"From: eve@example.org\r\nFrom: "),
        (b"Subject: ", b"Subject: more\r\nSubject: "),
        (b"QnVlbm9z", b"QnVlbm9a"),
    ],
)
def test_a_changed_mail_is_no_longer_accepted(part: bytes, instead: bytes) -> None:
    octets = signer().sign(letter()).content
    assert part in octets
    assert not verifies(octets.replace(part, instead, 1), signer().public_text)


def test_a_mail_of_another_domain_is_left_as_it_is() -> None:
    other = write_letter(
        Mail(to="ana@example.com", subject="Hola", text="x").compose(job_id="{mail}1", now=WHEN),
        default_sender=LetterSender("no-reply@notmomentus.example"),
    )
    assert signer().sign(other) is other
    assert signer().signs_for("x@news.Momentus.example")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"pem": "not a key"}, "DKIM_KEY"),
        ({"pem": pem(RSA)[:300]}, "DKIM_KEY"),
        ({"pem": pem(ec.generate_private_key(ec.SECP256R1()))}, "neither an RSA nor an Ed25519 key"),
        ({"domain": "exa mple"}, "DKIM_DOMAIN"),
        ({"selector": "s1;"}, "DKIM_SELECTOR"),
    ],
)
def test_what_cannot_sign_is_refused_with_the_name_of_its_setting(arguments: dict[str, str], says: str) -> None:
    wanted = {"pem": pem(ED25519), "domain": "momentus.example", "selector": "s1", **arguments}
    with pytest.raises(InvalidDkimKey, match=says):
        load_signer(wanted.pop("pem"), **wanted)


@pytest.mark.parametrize(
    ("body", "relaxed"),
    [(b"", b""), (b"\r\n\r\n", b""), (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"), (b"a", b"a\r\n")],
)
def test_bodies_are_relaxed_as_the_standard_says(body: bytes, relaxed: bytes) -> None:
    assert relaxed_body(body) == relaxed


def line_by_line(body: bytes) -> bytes:
    """RFC 6376, 3.4.4, word for word."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


@settings(max_examples=500)
@given(parts=st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"\r", b"\n", b"  "]), max_size=20))
def test_the_form_that_is_hashed_is_the_standards(parts: list[bytes]) -> None:
    body = b"".join(parts)
    assert relaxed_body(body) == line_by_line(body)
