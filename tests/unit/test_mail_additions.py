"""What a caller adds to a mail's header reaches it as it was meant, and nothing else can be added."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest

from jobs import InvalidPart, Mail, MailError, UnsafeHeader
from jobs.mail.letter import LetterSender, write_letter

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
PRIVATE = "secretary"
LINK = "https://example.com/u/abc?x=%C3%B1"


def compose(**parts: Any) -> dict[str, Any]:
    mail = Mail(**{"to": "ana@example.com", "subject": "Hola", "text": "Va", **parts})
    return dict(mail.compose(job_id="{mail}0", now=NOW))


def header(**parts: Any) -> dict[str, str]:
    letter = write_letter(compose(**parts), default_sender=LetterSender("momentus@example.com"))
    assert b"\r\n " not in letter.content.partition(b"\r\n\r\n")[0].partition(b"List-Unsubscribe")[2]
    return {name: str(value) for name, value in message_from_bytes(letter.content, policy=policy.default).items()}


def test_the_link_to_unsubscribe_is_one_click_and_on_one_line() -> None:
    long = f"{LINK}&{'t' * 800}"
    fields = header(unsubscribe=long)
    assert fields["List-Unsubscribe"] == f"<{long}>"
    assert fields["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "List-Unsubscribe" not in header()


def test_mails_of_one_thread_answer_the_same_id_which_tells_nothing() -> None:
    one, two, other = (header(thread=name) for name in ("task:123", "task:123", "task:124"))
    assert one["References"] == one["In-Reply-To"] == two["References"] != other["References"]
    assert one["References"].startswith("<thread.")
    assert one["References"].endswith("@example.com>")
    assert "123" not in compose(thread="task:123")["thread"][:3]


def test_allowed_fields_arrive_and_free_text_is_encoded() -> None:
    fields = header(headers={"X-Ticket": "Reunión", "Importance": "high", "List-Id": "<tasks.example.com>"})
    assert (fields["X-Ticket"], fields["Importance"]) == ("Reunión", "high")
    assert fields["List-Id"] == "<tasks.example.com>"


def test_stream_and_account_travel_and_are_no_header() -> None:
    frozen = compose(stream="notice", account="main")
    assert (frozen["stream"], frozen["account"]) == ("notice", "main")
    assert not {"stream", "account"} & {name.lower() for name in header(stream="notice", account="main")}


def test_what_is_not_used_does_not_travel() -> None:
    assert set(compose()) == {
        "message_id", "date", "to", "sender", "sender_name", "reply_to", "subject", "text", "html"
    }  # fmt: skip


def test_a_mail_that_machines_must_not_answer_says_so() -> None:
    fields = header()
    assert fields["Auto-Submitted"] == "auto-generated"
    assert fields["X-Auto-Response-Suppress"] == "All"


FORBIDDEN = [
    "From", "to", "BCC", "Cc", "Sender", "Message-ID", "Date", "Subject", "DKIM-Signature", "Content-Type",
    "MIME-Version", "Received", "Return-Path", "Reply-To", "List-Unsubscribe", "list-unsubscribe-post",
    "Auto-Submitted", "X-Auto-Response-Suppress", "Resent-To", "Disposition-Notification-To",
]  # fmt: skip
BAD_NAMES = ["", "X-a:", "X a", "X-a\r\nBcc", "X-ñ", "X-" + "a" * 70]
BAD_VALUES: list[tuple[str, Any, type[MailError]]] = [
    ("X-A", "", InvalidPart),
    ("X-A", f" {PRIVATE}", InvalidPart),
    ("X-A", 5, InvalidPart),
    ("X-A", PRIVATE * 101, InvalidPart),
    ("Importance", f"ñ{PRIVATE}", InvalidPart),
    ("List-Id", f"<a>  {PRIVATE}", InvalidPart),
    ("X-A", f"{PRIVATE}\r\nBcc: evil@example.org", UnsafeHeader),
    ("X-A", f"{PRIVATE}\0", UnsafeHeader),
    ("X-A", f"=?utf-8?q?{PRIVATE}=0ABcc:_x?=", UnsafeHeader),
]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_field_that_is_not_the_caller_s_is_refused(name: str) -> None:
    with pytest.raises(InvalidPart) as refusal:
        compose(headers={"X-Fine": "a", name: PRIVATE})
    assert refusal.value.field == f"headers.{name}"
    assert PRIVATE not in str(refusal.value)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_name_of_a_field_is_refused_without_repeating_it(name: str) -> None:
    with pytest.raises(InvalidPart, match=r"^headers: contain an invalid field name"):
        compose(headers={name: "a"})


@pytest.mark.parametrize(("name", "value", "error"), BAD_VALUES)
def test_a_value_that_is_no_plain_text_is_refused(name: str, value: Any, error: type[MailError]) -> None:
    with pytest.raises(error) as refusal:
        compose(headers={name: value})
    assert refusal.value.field == f"headers.{name}"
    assert PRIVATE not in str(refusal.value)


@pytest.mark.parametrize(
    ("parts", "error", "field"),
    [
        ({"headers": "X-A: b"}, InvalidPart, "headers"),
        ({"headers": {"X-A": "a", "x-a": "b"}}, InvalidPart, "headers"),
        ({"headers": {f"X-{n}": "a" for n in range(21)}}, InvalidPart, "headers"),
        ({"headers": {"References": "<a@b>"}, "thread": "x"}, InvalidPart, "headers.References"),
        ({"thread": ""}, InvalidPart, "thread"),
        ({"thread": 5}, InvalidPart, "thread"),
        ({"thread": "x" * 901}, InvalidPart, "thread"),
        ({"stream": "Notice"}, InvalidPart, "stream"),
        ({"stream": "a b"}, InvalidPart, "stream"),
        ({"stream": 5}, InvalidPart, "stream"),
        ({"account": "a" * 33}, InvalidPart, "account"),
        ({"stream": "bulk"}, InvalidPart, "unsubscribe"),
        ({"unsubscribe": "http://example.com/u"}, InvalidPart, "unsubscribe"),
        ({"unsubscribe": "mailto:x@example.com"}, InvalidPart, "unsubscribe"),
        ({"unsubscribe": "https:///u"}, InvalidPart, "unsubscribe"),
        ({"unsubscribe": "https://[::1"}, InvalidPart, "unsubscribe"),
        ({"unsubscribe": "https://example.com/a b"}, InvalidPart, "unsubscribe"),
        ({"unsubscribe": "https://example.com/ñ"}, InvalidPart, "unsubscribe"),
        ({"unsubscribe": "https://example.com/>,<mailto:x@y.z"}, InvalidPart, "unsubscribe"),
        ({"unsubscribe": f"https://example.com/{'x' * 900}"}, InvalidPart, "unsubscribe"),
        ({"unsubscribe": "https://example.com/\r\nBcc: x"}, UnsafeHeader, "unsubscribe"),
        ({"unsubscribe": 5}, InvalidPart, "unsubscribe"),
    ],
)
def test_what_cannot_be_added_is_refused_by_field(
    parts: dict[str, Any], error: type[MailError], field: str
) -> None:
    with pytest.raises(error) as refusal:
        compose(**parts)
    assert refusal.value.field == field


def test_a_stream_that_people_may_leave_goes_out_with_a_link() -> None:
    assert compose(stream="bulk", unsubscribe=LINK)["unsubscribe"] == LINK
