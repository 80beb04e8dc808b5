"""Every refusal of a mail is typed, names its field and repeats nothing of the mail; what passes is frozen."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.headerregistry import Address
from typing import Any

import pytest

from jobs import (
    Attachment,
    BodyTooLarge,
    EmptyBody,
    InvalidAddress,
    InvalidAttachment,
    InvalidPart,
    Mail,
    MailError,
    MissingValue,
    UnknownTemplate,
    UnsafeHeader,
)

PRIVATE = "secretary"
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
JOB = "{mail}019a0b1c-0000-7000-8000-000000000000"
READY: Mapping[str, Any] = {"subject": PRIVATE, "text": PRIVATE}
TASK: Mapping[str, Any] = {"template": "task_assigned", "values": {"task": PRIVATE, "due": PRIVATE}}


def compose(**parts: Any) -> Mapping[str, object]:
    return Mail(**{"to": f"{PRIVATE}@example.com", **parts}).compose(job_id=JOB, now=NOW)


def with_task(task: object) -> dict[str, Any]:
    return {"template": "task_assigned", "values": {"task": task, "due": "hoy"}}


INVITATION = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
SHOWN = '<img src="cid:logo">'


def logo(cid: str = "logo") -> Attachment:
    return Attachment(name="logo.png", content=b"x", cid=cid)


REFUSED: list[tuple[dict[str, Any], type[MailError], str]] = [
    ({**READY, "to": f"Ana <{PRIVATE}@example.com>"}, InvalidAddress, "to"),
    ({**READY, "to": None}, InvalidAddress, "to"),
    ({**READY, "to": [f"{PRIVATE}@example.com", f"Ana <{PRIVATE}@example.com>"]}, InvalidAddress, "to[1]"),
    ({**READY, "to": [PRIVATE.encode()]}, InvalidAddress, "to[0]"),
    ({**READY, "to": []}, InvalidPart, "to"),
    ({**READY, "to": [f"{PRIVATE}{n}@example.com" for n in range(300)]}, InvalidPart, "to"),
    ({**READY, "cc": [f"{PRIVATE}{n}@example.com" for n in range(100)]}, InvalidPart, "cc"),
    ({**READY, "bcc": f"{PRIVATE}, b@example.com"}, InvalidAddress, "bcc[0]"),
    ({**READY, "cc": Address(f"{PRIVATE}\x07", "a", "example.com")}, UnsafeHeader, "cc[0]"),
    ({**READY, "reply_to": [f"{PRIVATE}@x"]}, InvalidAddress, "reply_to[0]"),
    (
        {**READY, "cc": f"{PRIVATE}@example.com", "unsubscribe": "https://example.com/u"},
        InvalidPart,
        "unsubscribe",
    ),
    ({**READY, "calendar": PRIVATE}, InvalidPart, "calendar"),
    ({**READY, "calendar": "BEGIN:VCALENDAR\nEND:VCALENDAR"}, InvalidPart, "calendar"),
    ({**READY, "calendar": f"BEGIN:VCALENDAR\nMETHOD:{PRIVATE}\nEND:VCALENDAR"}, InvalidPart, "calendar"),
    ({**READY, "calendar": f"{INVITATION}{INVITATION}"}, InvalidPart, "calendar"),
    ({**READY, "calendar": INVITATION.replace("METHOD", f"X-A:{PRIVATE * 9}\nMETHOD")}, InvalidPart, "calendar"),
    ({**READY, "calendar": INVITATION.replace("METHOD", "X-A:\x07\nMETHOD")}, InvalidPart, "calendar"),
    ({**READY, "alternatives": {"text/html": PRIVATE}}, InvalidPart, "alternatives.text/html"),
    ({**READY, "alternatives": {"application/pdf": PRIVATE}}, InvalidPart, "alternatives"),
    ({**READY, "alternatives": {"text/markdown": PRIVATE * 30_000}}, BodyTooLarge, "alternatives"),
    ({**READY, "html": '<img src="cid:logo">'}, InvalidPart, "html"),
    ({**READY, "attachments": [logo()]}, InvalidAttachment, "attachments[0].cid"),
    ({**READY, "html": SHOWN, "attachments": [logo(), logo()]}, InvalidAttachment, "attachments[1].cid"),
    ({**READY, "html": SHOWN, "attachments": [logo("<logo>")]}, InvalidAttachment, "attachments[0].cid"),
    ({**READY, "to": f"{PRIVATE}@example.com, b@example.com"}, InvalidAddress, "to"),
    ({**READY, "to": f"ñ{PRIVATE}@example.com"}, InvalidAddress, "to"),
    ({**READY, "to": f"{PRIVATE * 8}@example.com"}, InvalidAddress, "to"),
    ({**READY, "to": f"a@{PRIVATE * 30}.com"}, InvalidAddress, "to"),
    ({**READY, "sender": PRIVATE}, InvalidAddress, "sender"),
    ({**READY, "reply_to": f"{PRIVATE}@x"}, InvalidAddress, "reply_to"),
    ({"subject": PRIVATE}, EmptyBody, "text"),
    ({"subject": PRIVATE, "text": " \r\n", "html": "\t"}, EmptyBody, "text"),
    ({"text": PRIVATE}, EmptyBody, "subject"),
    ({"text": PRIVATE, "subject": " \t "}, EmptyBody, "subject"),
    ({**READY, "subject": PRIVATE * 29}, InvalidPart, "subject"),
    ({**READY, "sender_name": PRIVATE * 29}, InvalidPart, "sender_name"),
    ({**READY, "subject": 5}, InvalidPart, "subject"),
    ({**READY, "text": PRIVATE.encode()}, InvalidPart, "text"),
    ({**READY, "html": [PRIVATE]}, InvalidPart, "html"),
    ({**READY, "sender_name": 5}, InvalidPart, "sender_name"),
    ({**READY, "text": f"{PRIVATE}\ud800"}, InvalidPart, "text"),
    ({**READY, "html": f"{PRIVATE}\udfff"}, InvalidPart, "html"),
    ({**READY, "text": PRIVATE * 30_000}, BodyTooLarge, "text"),
    ({**READY, "html": PRIVATE * 30_000}, BodyTooLarge, "html"),
    ({**READY, "text": "ñ" * (128 * 1024)}, BodyTooLarge, "text"),
    ({**READY, **TASK}, InvalidPart, "subject"),
    ({**TASK, "html": PRIVATE}, InvalidPart, "html"),
    ({**TASK, "template": "task_asigned"}, UnknownTemplate, "template"),
    ({**TASK, "template": "../mail/templates/digest"}, UnknownTemplate, "template"),
    ({**TASK, "template": ""}, UnknownTemplate, "template"),
    ({**TASK, "template": ["digest"]}, InvalidPart, "template"),
    ({**TASK, "locale": "fr"}, UnknownTemplate, "locale"),
    ({**TASK, "locale": "../es"}, UnknownTemplate, "locale"),
    ({**TASK, "locale": 5}, InvalidPart, "locale"),
    ({"template": "task_assigned", "values": {"task": PRIVATE}}, MissingValue, "values.due"),
    ({"template": "digest"}, MissingValue, "values.tasks"),
    ({"template": "digest", "values": {"tasks": 5}}, InvalidPart, "values.tasks"),
    ({"template": "digest", "values": {"tasks": PRIVATE}}, InvalidPart, "values.tasks"),
    ({**TASK, "values": None}, InvalidPart, "values"),
    ({**TASK, "values": [PRIVATE]}, InvalidPart, "values"),
    ({**TASK, "values": {"task": PRIVATE, "due": "hoy", 5: PRIVATE}}, InvalidPart, "values"),
    (with_task(None), InvalidPart, "values.task"),
    (with_task({"name": PRIVATE}), InvalidPart, "values.task"),
    (with_task([[PRIVATE]]), InvalidPart, "values.task[0]"),
    (with_task([PRIVATE]), InvalidPart, "values"),
    (with_task(object()), InvalidPart, "values.task"),
    (with_task(f"{PRIVATE}\ud800"), UnsafeHeader, "values.task"),
    (with_task([PRIVATE, f"{PRIVATE}\0"]), UnsafeHeader, "values.task[1]"),
    (with_task(f"{PRIVATE}\n{PRIVATE}"), UnsafeHeader, "subject"),
    (with_task(PRIVATE * 29), InvalidPart, "subject"),
]
ODD = ("\r", "\0", "\x1b", "\x85", "\u2028", "\u2029", "=?utf-8?q?x=0ABcc:_y?=")
REFUSED += [(with_task(f"{PRIVATE}{odd}x"), UnsafeHeader, "values.task") for odd in ODD]
REFUSED += [
    ({**READY, name: f"{PRIVATE}{odd}@example.com"}, UnsafeHeader, name)
    for name in ("to", "sender", "reply_to", "subject", "sender_name")
    for odd in ODD
]


@pytest.mark.parametrize(("parts", "error", "field"), REFUSED)
def test_what_cannot_be_sent_is_refused_by_field_and_without_its_text(
    parts: dict[str, Any], error: type[MailError], field: str
) -> None:
    with pytest.raises(error) as refusal:
        compose(**parts)
    assert refusal.value.field == field
    assert str(refusal.value).startswith(f"{field}: ")
    assert PRIVATE not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_misspelt_template_gets_a_suggestion_and_an_unknown_language_the_known_ones() -> None:
    with pytest.raises(UnknownTemplate, match="did you mean 'task_assigned'"):
        compose(**{**TASK, "template": "task_asigned"})
    with pytest.raises(UnknownTemplate, match="available: en, es"):
        compose(**{**TASK, "locale": "fr"})


@pytest.mark.parametrize("urgency", ["Urgent", "", None, []])
def test_an_unknown_urgency_is_refused(urgency: Any) -> None:
    with pytest.raises(InvalidPart, match=r"^urgency: must be urgent, normal or bulk"):
        _ = Mail(to="ana@example.com", urgency=urgency, **READY).lane


def test_a_mail_at_every_limit_is_composed() -> None:
    text = "x" * (256 * 1024 - 255)
    frozen = compose(subject="x" * 255, text=text, sender_name="ñ" * 255)
    assert frozen["text"] == text


def test_the_frozen_mail_holds_all_that_the_octets_are_made_of() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=-5)))
    mail = Mail(
        to="Ana@EXAMPLE.com", subject=" Hola ", text="b", sender="x@ñ.es", sender_name="X", reply_to="y@a.co"
    )
    frozen = mail.compose(job_id=JOB, now=local)
    assert frozen == {
        "message_id": "mail019a0b1c-0000-7000-8000-000000000000",
        "date": "Sun, 22 Nov 2026 09:30:00 +0000",
        "to": "Ana@example.com",
        "sender": "x@xn--ida.es",
        "sender_name": "X",
        "reply_to": "y@a.co",
        "subject": "Hola",
        "text": "b",
        "html": "",
    }
    assert json.loads(json.dumps(frozen)) == frozen


ASKED: dict[str, Any] = {"to": "ana@example.com", **with_task("a")}
OTHERS: list[dict[str, Any]] = [
    {"to": "bob@example.com"},
    {"template": "digest"},
    {"locale": "en"},
    {"sender": "x@example.com"},
    {"sender_name": "X"},
    {"reply_to": "x@example.com"},
    {"urgency": "bulk"},
    {"subject": ""},
    {"text": ""},
    {"html": ""},
    with_task("b"),
    with_task(["a"]),
    with_task(1),
]


@pytest.mark.parametrize("other", OTHERS)
def test_any_difference_in_what_is_asked_makes_another_fingerprint(other: dict[str, Any]) -> None:
    assert Mail(**ASKED).fingerprint() != Mail(**{**ASKED, **other}).fingerprint()


def test_the_order_of_values_makes_no_difference_to_the_fingerprint() -> None:
    amount = Decimal("1.50")
    one = Mail(to="a@example.com", template="x", values={"a": amount, "b": NOW})
    two = Mail(to="a@example.com", template="x", values={"b": NOW, "a": amount})
    assert one.fingerprint() == two.fingerprint()


def test_a_mail_of_an_own_class_has_a_fingerprint_of_all_its_parts() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Reminder(Mail):
        number: int = 1

    fingerprints = {
        Reminder(to="a@example.com", text=text, number=n).fingerprint() for text in "ab" for n in (1, 2)
    }
    assert len(fingerprints) == 4
