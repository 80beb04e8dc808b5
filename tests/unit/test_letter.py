"""Whatever a mail says, its octets are one mail: our header fields once each, its own words, no bare CR or LF."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from jobs import Mail, MailError, UnsafeHeader
from jobs.mail.letter import Letter, LetterSender, write_letter

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
JOB = "{mail}019a0b1c-0000-7000-8000-000000000000"
COMPANY = LetterSender("momentus@example.com", "Momentus")
OURS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
]

HOSTILE = st.lists(
    st.text(max_size=30)
    | st.sampled_from(
        [
            "\r\nBcc: evil@example.org",
            "\n.\r\nMAIL FROM:<evil@example.org>",
            "=?utf-8?q?x=0D=0ABcc:_evil?=",
            "=?",
            "?=",
            '"',
            "\\",
            "<evil@example.org>",
            ",",
            "  ",
            "ñandú 👩‍👧 " * 8,
            "x" * 90,
        ]
    ),
    max_size=6,
).map("".join)


@pytest.mark.parametrize(
    ("origin", "fields"),
    [
        ("auto-generated", {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}),
        ("auto-replied", {"Auto-Submitted": "auto-replied", "X-Auto-Response-Suppress": "All"}),
        ("no", {}),
    ],
)
def test_a_mail_says_of_its_origin_what_its_stream_says(origin: Any, fields: dict[str, str]) -> None:
    frozen = Mail(to="ana@example.com", subject="x", text="x").compose(job_id=JOB, now=NOW)
    message = read(write_letter(frozen, default_sender=COMPANY, auto_submitted=origin))
    names = ("Auto-Submitted", "X-Auto-Response-Suppress")
    assert {name: message[name] for name in names if name in message} == fields


def write(**parts: Any) -> Letter:
    mail = Mail(**{"to": "ana@example.com", "subject": "Hola", "text": "Buenos días", **parts})
    return write_letter(mail.compose(job_id=JOB, now=NOW), default_sender=COMPANY)


def read(letter: Letter) -> EmailMessage:
    message = message_from_bytes(letter.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not [part.defects for part in message.walk() if part.defects]
    return message


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def sender_of(letter: Letter) -> tuple[str, str]:
    """By the older parser: the newer one puts a space between encoded-words of a name (RFC 2047, 6.2: none)."""
    name, address = parseaddr(message_from_bytes(letter.content)["From"].replace("\r\n", ""))
    return str(make_header(decode_header(name))), address


def as_lines(text: str) -> str:
    return re.sub(r"\r\n?", "\n", text)


@given(subject=HOSTILE, name=HOSTILE)
@example(subject="=? a ?=", name='"\\"')
@example(subject="x" * 255, name='"' * 255)
@example(subject="ñ" * 255, name="👩" * 255)
def test_whatever_is_accepted_has_our_fields_once_each_and_reads_as_it_was_written(
    subject: str, name: str
) -> None:
    try:
        letter = write(subject=subject, sender="jefe@example.com", sender_name=name, reply_to="otro@example.com")
    except MailError:
        return
    message = read(letter)
    assert sorted(message.keys()) == sorted([*OURS, "Reply-To", "Content-Type", "Content-Transfer-Encoding"])
    assert message["Subject"] == subject.strip()
    assert sender_of(letter) == (name, "jefe@example.com")
    assert (message["To"], message["Reply-To"]) == ("ana@example.com", "otro@example.com")


@given(text=HOSTILE, html=HOSTILE)
@example(text=".\r\n..\r\n", html="")
@example(text="x" * 5000, html="\r\r\n\n")
@example(text="a\0b", html="\x85\u2028")
def test_bodies_arrive_as_they_were_written(text: str, html: str) -> None:
    try:
        letter = write(text=text, html=html)
    except MailError:
        return
    message = read(letter)
    for kind, written in (("plain", text), ("html", html)):
        if written.strip():
            assert body(message, kind) == as_lines(written)


@given(subject=HOSTILE, text=HOSTILE, html=HOSTILE)
def test_every_line_ends_with_cr_lf_and_is_short_ascii(subject: str, text: str, html: str) -> None:
    try:
        letter = write(subject=subject, text=text, html=html)
    except MailError:
        return
    assert letter.content.endswith(b"\r\n")
    lines = letter.content.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines)
    assert letter.content.isascii()
    assert not any(line.startswith(b".") for line in lines)


def test_a_line_with_an_encoded_word_is_no_longer_than_rfc_2047_allows() -> None:
    letter = write(subject="ñ" * 255, sender="x" * 60 + "@example.com", sender_name="👩" * 255)
    assert max(len(line) for line in letter.content.split(b"\r\n") if b"=?" in line) <= 76


def test_the_same_mail_gives_the_same_octets() -> None:
    parts = {"subject": "Reunión", "text": "Mañana", "html": "<p>Mañana</p>", "sender_name": "Álvaro"}
    assert write(**parts) == write(**parts)


def test_who_a_mail_is_from_is_the_default_or_what_the_mail_says() -> None:
    written = {
        (): "Momentus <momentus@example.com>",
        ("sender_name",): "Ana <momentus@example.com>",
        ("sender",): "ana@example.org",
        ("sender", "sender_name"): "Ana <ana@example.org>",
    }
    values = {"sender": "ana@example.org", "sender_name": "Ana"}
    for named, expected in written.items():
        letter = write(**{name: values[name] for name in named})
        assert str(read(letter)["From"]) == expected
        assert letter.sender == expected.rpartition("<")[2].rstrip(">")


def test_the_message_id_is_the_job_and_the_date_is_when_it_was_asked_for() -> None:
    message = read(write(sender="ana@example.org"))
    assert message["Message-ID"] == "<mail019a0b1c-0000-7000-8000-000000000000@example.org>"
    assert message["Date"].datetime == NOW


@pytest.mark.parametrize("field", ["to", "reply_to", "sender", "date", "message_id"])
def test_a_frozen_mail_that_was_tampered_with_does_not_leave(field: str) -> None:
    frozen = {**Mail(to="ana@example.com", subject="a", text="b").compose(job_id=JOB, now=NOW)}
    frozen[field] = "x@example.com\r\nBcc: evil@example.org"
    with pytest.raises(UnsafeHeader):
        write_letter(frozen, default_sender=COMPANY)
