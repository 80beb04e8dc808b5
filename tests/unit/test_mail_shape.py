"""Frozen mails of other languages' producers: one of the wrong shape is dead at once, with the field named."""

from datetime import UTC, datetime

import pytest

from jobs import Attachment, Mail
from worker.engine import GiveUp
from worker.mail.policies import MailPolicies

MAIL = Mail(
    to="ana@example.com",
    subject="Hola",
    text="Buenos días",
    stream="notice",
    account="main",
    unsubscribe="https://example.com/u/1",
    thread="task:1",
    headers={"X-Team": "north"},
    attachments=[
        Attachment(name="a.txt", content=b"x"),
        Attachment(name="b.pdf", ref="b.pdf", sha256="0" * 64, size=3),
    ],
)
REQUIRED = ("message_id", "date", "to", "sender", "sender_name", "reply_to", "subject", "text", "html")
NOT_TEXT = (7, 1.5, True, ["ana@example.com"], {"address": "ana@example.com"})


def frozen(**changes: object) -> dict[str, object]:
    return {**MAIL.compose(job_id="{mail}1", now=datetime.now(UTC)), **changes}


def refusal_of(fields: dict[str, object]) -> str:
    with pytest.raises(GiveUp) as refusal:
        MailPolicies().open_mail(fields, job_id="{mail}1")
    return str(refusal.value)


def test_what_was_composed_here_has_the_right_shape() -> None:
    assert MailPolicies().open_mail(frozen(), job_id="{mail}1").fields["to"] == "ana@example.com"


@pytest.mark.parametrize("value", [7, 1.5, True, {"address": "ana@example.com"}, None])
def test_a_recipient_that_is_no_text_is_refused_without_a_word_of_it(value: object) -> None:
    told = refusal_of(frozen(to=value))
    assert told.startswith("to: is ")
    assert "ana" not in told


@pytest.mark.parametrize("name", [*REQUIRED, "stream", "account", "unsubscribe", "thread"])
def test_every_field_that_is_no_text_is_named(name: str) -> None:
    for value in NOT_TEXT:
        if not (isinstance(value, list) and name in {"to", "reply_to"}):
            assert refusal_of(frozen(**{name: value})).startswith(f"{name}: is ")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_field_that_is_missing_is_named(name: str) -> None:
    fields = frozen()
    del fields[name]
    assert refusal_of(fields).startswith(f"{name}: is missing")


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("headers", {"headers": ["X-Team"]}),
        ("headers['X-Team']", {"headers": {"X-Team": None}}),
        ("to[0]", {"to": ["ana@example.com"]}),
        ("to[1].address", {"to": [{"address": "ana@example.com"}, {"name": "Ana"}]}),
        ("cc", {"cc": {"address": "ana@example.com"}}),
        ("bcc[0].name", {"bcc": [{"address": "ana@example.com", "name": None}]}),
        ("reply_to[0].address", {"reply_to": [{"address": 5}]}),
        ("alternatives[0].content", {"alternatives": [{"type": "text/markdown"}]}),
        ("calendar", {"calendar": ["BEGIN:VCALENDAR"]}),
        ("attachments[0].cid", {"attachments": [{"name": "a", "type": "a/b", "content": "eA==", "cid": 1}]}),
        ("attachments", {"attachments": {"name": "a.txt"}}),
        ("attachments[0]", {"attachments": ["a.txt"]}),
        ("attachments[0].type", {"attachments": [{"name": "a.txt", "content": "eA=="}]}),
        ("attachments[0].content", {"attachments": [{"name": "a.txt", "type": "text/plain", "content": None}]}),
        (
            "attachments[0].size",
            {"attachments": [{"name": "a", "type": "a/b", "ref": "a", "sha256": "", "size": "3"}]},
        ),
    ],
)
def test_what_is_inside_a_field_is_named_too(field: str, changes: dict[str, object]) -> None:
    assert refusal_of(frozen(**changes)).startswith(f"{field}: is ")
