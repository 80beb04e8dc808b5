"""A message of the standard library becomes a mail with all that it says, or is refused by what cannot go."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.mime.base import MIMEBase
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from jobs import InvalidAddress, InvalidAttachment, InvalidPart, Mail, MailError, UnsafeHeader, UnusedImage
from jobs.mail.letter import LetterSender, write_letter

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
COMPANY = LetterSender("no-reply@momentus.example")
INVITATION = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n"


def message(**fields: str) -> EmailMessage:
    made = EmailMessage()
    given = {"From": "Luis <luis@example.com>", "To": "ana@example.com", "Subject": "Cierre", **fields}
    for name, value in given.items():
        if value:
            made[name.replace("_", "-")] = value
    made.set_content("Buenos días")
    return made


def written(mail: Mail) -> EmailMessage:
    letter = write_letter(mail.compose(job_id="{mail}1", now=NOW), default_sender=COMPANY)
    read = message_from_bytes(letter.content, policy=policy.default)
    assert isinstance(read, EmailMessage)
    return read


def shape(part: Message) -> object:
    """The types of a message's parts, nested."""
    kind = part.get_content_type()
    parts: Any = part.get_payload()
    return (kind, [shape(one) for one in parts]) if part.is_multipart() else kind


def test_recipients_keep_their_names_and_bcc_is_in_the_envelope_alone() -> None:
    made = message(
        To='"Ruiz, Ana" <ana@example.com>, luis@example.com', Cc="José Núñez <jose@example.com>",
        Bcc="secret@example.com", Reply_To="Ayuda <help@example.com>, more@example.com",
    )  # fmt: skip
    mail = Mail.from_email_message(made)
    letter = write_letter(mail.compose(job_id="{mail}1", now=NOW), default_sender=COMPANY)
    assert letter.recipients == (
        "ana@example.com", "luis@example.com", "jose@example.com", "secret@example.com",
    )  # fmt: skip
    assert b"secret" not in letter.content
    read = written(mail)
    for name in ("From", "To", "Cc", "Reply-To"):
        assert read[name].addresses == made[name].addresses, name


def test_bodies_images_an_invitation_and_files_have_the_structure_that_mail_programs_expect() -> None:
    made = message()
    made.add_alternative('<img src="cid:logo@example.com">', subtype="html")
    html: Any = made.get_payload(1)
    html.add_related(b"picture", "image", "png", cid="<logo@example.com>", filename="logo.png")
    made.add_alternative(INVITATION, subtype="calendar", params={"method": "REQUEST"})
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="año.pdf")
    read = written(Mail.from_email_message(made, alternatives={"text/markdown": "# Cierre"}))
    assert shape(read) == ("multipart/mixed", [
        ("multipart/alternative", [
            "text/plain",
            "text/markdown",
            ("multipart/related", ["text/html", "image/png"]),
            "text/calendar",
        ]),
        "application/pdf",
    ])  # fmt: skip
    parts = {part.get_content_type(): part for part in read.walk()}
    assert parts["image/png"]["Content-ID"] == "<logo@example.com>"
    assert parts["image/png"].get_content_disposition() == "inline"
    assert parts["text/calendar"].get_param("method") == "REQUEST"
    assert parts["application/pdf"].get_filename() == "año.pdf"


def test_a_message_of_the_older_classes_is_read_too() -> None:
    made = MIMEMultipart("mixed")
    made["From"] = Header("José Núñez", "utf-8").encode() + " <jose@example.com>"
    made["To"] = "ana@example.com"
    made["Subject"] = Header("Reunión", "utf-8")  # type: ignore[assignment]  # the stub knows texts only
    made["List-Unsubscribe"] = "<https://example.com/u/1>"
    made["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    made["X-Team"] = "=?utf-8?q?ni=C3=B1os?="
    related = MIMEMultipart("related")
    related.attach(MIMEText('<img src="cid:logo">', "html", "utf-8"))
    image = MIMEImage(b"picture", "png")
    image["Content-ID"] = "<logo>"
    image.add_header("Content-Disposition", "inline", filename="logo.png")
    related.attach(image)
    made.attach(related)
    text = MIMEText("a;b\n1;ñ", "csv", "iso-8859-1")
    text.add_header("Content-Disposition", "attachment", filename="a.csv")
    made.attach(text)
    mail = Mail.from_email_message(made)
    assert (mail.sender, mail.sender_name, mail.subject) == ("jose@example.com", "José Núñez", "Reunión")
    assert mail.unsubscribe == "https://example.com/u/1"
    assert mail.headers == {"X-Team": "niños"}
    read = written(mail)
    csv = next(part for part in read.walk() if part.get_content_type() == "text/csv")
    assert csv.get_payload(decode=True) == "a;b\n1;ñ".encode("iso-8859-1")
    assert csv.get_content_charset() == "iso-8859-1"


REFUSED: list[tuple[dict[str, str], type[MailError], str]] = [
    ({"Received": "from a by b"}, InvalidPart, "headers.Received"),
    ({"Return_Path": "<a@example.com>"}, InvalidPart, "headers.Return-Path"),
    ({"DKIM_Signature": "v=1"}, InvalidPart, "headers.DKIM-Signature"),
    ({"Resent_To": "eva@example.com"}, InvalidPart, "headers.Resent-To"),
    ({"Sender": "eva@example.com"}, InvalidPart, "headers.Sender"),
    ({"Precedence": "bulk"}, InvalidPart, "headers.Precedence"),
    ({"Auto_Submitted": "auto-replied"}, InvalidPart, "headers.Auto-Submitted"),
    ({"List_Unsubscribe": "<mailto:u@example.com>"}, InvalidPart, "headers.List-Unsubscribe"),
    ({"From": "a@example.com, b@example.com"}, InvalidAddress, "sender"),
    ({"To": "Todos: ana@example.com, luis@example.com;"}, InvalidAddress, "to"),
    ({"To": "Ana <ana@example.com"}, InvalidAddress, "to"),
    ({"To": '"ana b"@example.com'}, InvalidAddress, "to[0]"),
    ({"To": "", "Cc": ""}, InvalidPart, "to"),
    ({"To": ", ".join(f"u{n}@example.com" for n in range(300))}, InvalidPart, "to"),
]


@pytest.mark.parametrize(("fields", "error", "field"), REFUSED)
def test_a_header_field_that_cannot_be_carried_is_refused_by_its_name(
    fields: dict[str, str], error: type[MailError], field: str
) -> None:
    with pytest.raises(error) as refusal:
        Mail.from_email_message(message(**fields)).compose(job_id="{mail}1", now=NOW)
    assert refusal.value.field == field


def test_three_hundred_recipients_are_refused_with_the_limit_and_the_remedy() -> None:
    made = message(To=", ".join(f"u{number}@example.com" for number in range(300)))
    with pytest.raises(InvalidPart, match=r"300 recipients; at most 100 .* send several mails"):
        Mail.from_email_message(made).compose(job_id="{mail}1", now=NOW)


@pytest.mark.parametrize("name", ["Subject", "To", "X-Team", "Cc"])
def test_a_line_break_in_a_header_field_makes_no_other_field(name: str) -> None:
    made = Message()
    made["From"] = "luis@example.com"
    made[name] = "ana@example.com\nBcc: evil@example.org"
    made.set_payload("Hola")
    with pytest.raises(UnsafeHeader):
        Mail.from_email_message(made)


def test_a_line_break_hidden_in_an_encoded_word_is_refused() -> None:
    made = Message()
    made["To"], made["Subject"] = "ana@example.com", "=?utf-8?q?x=0D=0ABcc:_evil=40example.org?="
    made.set_payload("Hola")
    with pytest.raises(UnsafeHeader):
        Mail.from_email_message(made).compose(job_id="{mail}1", now=NOW)


def _signed() -> Message:
    made = MIMEMultipart("signed")
    made.attach(MIMEText("Hola"))
    return made


def _nameless() -> Message:
    made = MIMEMultipart("mixed")
    made.attach(MIMEText("Hola"))
    made.attach(MIMEBase("application", "pdf"))
    return made


def _flowed() -> Message:
    made = MIMEText("Hola")
    made.set_param("format", "flowed")
    return made


def _described() -> Message:
    made = MIMEMultipart("mixed")
    made.attach(MIMEText("Hola"))
    file = MIMEText("a", "csv")
    file.add_header("Content-Disposition", "attachment", filename="a.csv")
    file["Content-Description"] = "a table"
    made.attach(file)
    return made


def _binary() -> Message:
    made = MIMEBase("application", "pdf")
    made.set_payload(b"%PDF")
    return made


def _wrong_charset() -> Message:
    made = message()
    made.set_payload("ñ".encode("latin-1").decode("ascii", "surrogateescape"))
    made.replace_header("Content-Transfer-Encoding", "8bit")
    return made


@pytest.mark.parametrize(
    ("made", "error", "field"),
    [
        (_signed(), InvalidPart, "content_type"),
        (_binary(), InvalidPart, "content_type"),
        (_nameless(), InvalidAttachment, "attachments[0].name"),
        (_described(), InvalidPart, "attachments[0].headers.Content-Description"),
        (_flowed(), InvalidPart, "text"),
        (_wrong_charset(), InvalidPart, "text"),
    ],
    ids=["signed", "binary", "nameless", "described", "flowed", "charset"],
)
def test_a_part_that_cannot_be_carried_is_refused_by_its_name(
    made: Message, error: type[MailError], field: str
) -> None:
    with pytest.raises(error) as refusal:
        Mail.from_email_message(made)
    assert refusal.value.field == field


def test_an_image_that_is_not_shown_causes_a_warning() -> None:
    made = message()
    made.add_alternative("<p>Hola</p>", subtype="html")
    html: Any = made.get_payload(1)
    html.add_related(b"x", "image", "png", cid="<logo>", filename="logo.png", disposition="inline")
    with pytest.warns(UnusedImage, match=r"attachments\[0\]\.cid"):
        Mail.from_email_message(made).compose(job_id="{mail}1", now=NOW)


def test_a_mail_to_one_plain_address_is_what_it_was_and_any_other_needs_a_newer_worker() -> None:
    plain = Mail(to="ana@example.com", subject="Hola", text="Hola")
    listed = Mail(to=["ana@example.com"], subject="Hola", text="Hola")
    assert plain.version == listed.version == 1
    assert plain.compose(job_id="{mail}1", now=NOW) == listed.compose(job_id="{mail}1", now=NOW)
    assert plain.fingerprint() == "4e6fb51f995a79509cec766f519bd3e62e74e34278d5efc1c619956f51c6713b"
    named = Mail(to=Address("Ana", addr_spec="ana@example.com"), subject="Hola", text="Hola")
    assert named.version == 2
    assert Mail(to=[], bcc="ana@example.com", subject="Hola", text="Hola").version == 2


def unspaced(name: str) -> str:
    """A name without spaces: Python puts one between two encoded-words of a name, against RFC 2047, 6.2."""
    return "".join(name.split())


NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cn", "Co")), min_size=1, max_size=40
).filter(lambda name: name.strip() == name and "=?" not in name)
BOXES = st.builds(
    lambda name, user, domain: Address(name, addr_spec=f"{user}@{domain}"),
    NAMES | st.just(""),
    st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True),
    st.sampled_from(["example.com", "sub.example.org"]),
)
LISTS = st.lists(BOXES, min_size=1, max_size=6, unique_by=lambda one: one.addr_spec)


@settings(max_examples=60, deadline=None)
@given(to=LISTS, cc=LISTS, subject=NAMES, text=st.text(min_size=1).filter(str.strip), name=NAMES)
def test_what_a_message_says_comes_out_again(
    to: list[Address], cc: list[Address], subject: str, text: str, name: str
) -> None:
    made = EmailMessage()
    made["From"], made["To"], made["Cc"] = Address(name, addr_spec="luis@example.com"), to, cc
    made["Subject"] = subject
    try:
        made.set_content(text)
        mail = Mail.from_email_message(made)
        read = written(mail)
    except (MailError, UnicodeEncodeError):  # refused, with a name
        return
    assert [(unspaced(one.display_name), one.addr_spec) for one in read["To"].addresses] == [
        (unspaced(one.display_name), one.addr_spec) for one in to
    ]
    assert [one.addr_spec for one in read["Cc"].addresses] == [one.addr_spec for one in cc]
    assert unspaced(read["From"].addresses[0].display_name) == unspaced(name)
    assert read["Subject"] == subject
    body = read.get_body()
    assert body is not None
    assert body.get_content().split() == text.split()
