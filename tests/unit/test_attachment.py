"""An attachment arrives under its name and with its octets, or is refused where it was asked for."""

import hashlib
import subprocess
import sys
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from jobs import Attachment, BodyTooLarge, InvalidAttachment, Mail, MailError, UnsafeHeader
from jobs.mail.letter import LetterSender, write_letter

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
COMPANY = LetterSender("momentus@example.com", "Momentus")
SHA = "a" * 64
PRIVATE = "secretary"


def frozen(*attachments: Attachment, **parts: Any) -> dict[str, Any]:
    mail = Mail(**{"to": "ana@example.com", "subject": "Hola", "text": "Va", "attachments": attachments, **parts})
    return dict(mail.compose(job_id="{mail}0", now=NOW))


def files(mail: dict[str, Any], attached: dict[str, bytes] | None = None) -> list[tuple[str | None, str, bytes]]:
    letter = write_letter(mail, default_sender=COMPANY, attached=attached)
    message = message_from_bytes(letter.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not [part.defects for part in message.walk() if part.defects]
    found = list(message.iter_attachments())
    assert all(one.get_content_disposition() == "attachment" for one in found)
    return [(one.get_filename(), one.get_content_type(), one.get_payload(decode=True)) for one in found]


def test_small_files_travel_in_the_job_and_arrive_as_they_were() -> None:
    octets = bytes(range(256)) * 200
    mail = frozen(Attachment(name="informe.pdf", content=octets), Attachment(name="a.bin", content=b"."))
    assert files(mail) == [("informe.pdf", "application/pdf", octets), ("a.bin", "application/octet-stream", b".")]
    assert mail["attachments"][0]["sha256"] == hashlib.sha256(octets).hexdigest()


def test_a_reference_travels_without_the_octets_which_the_worker_brings() -> None:
    mail = frozen(Attachment(name="informe.csv", ref="2026/11/x", sha256=SHA, size=3, type="text/csv"))
    assert mail["attachments"] == [
        {"name": "informe.csv", "type": "text/csv", "sha256": SHA, "size": 3, "ref": "2026/11/x"}
    ]
    assert files(mail, {"2026/11/x": b"a;b"}) == [("informe.csv", "text/csv", b"a;b")]
    with pytest.raises(KeyError, match="2026/11/x"):
        write_letter(mail, default_sender=COMPANY)


def test_text_html_and_files_are_one_mail_whose_octets_are_always_the_same() -> None:
    mail = frozen(Attachment(name="ñ.pdf", content=b"%PDF"), html="<p>Va</p>")
    one, two = (write_letter(mail, default_sender=COMPANY).content for _ in range(2))
    assert one == two
    message = message_from_bytes(one, policy=policy.default)
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/pdf",
    ]


NAMES = st.text(min_size=1, max_size=255) | st.sampled_from(
    [
        '"; filename=evil.txt',
        "a\\b",
        "%41.pdf",
        "x'y''z.pdf",
        "=?utf-8?q?x?=",
        "a\r\nBcc: x",
        "👩‍👧 niña.pdf",
        "a;b=c.txt",
    ]
)


@given(NAMES)
@example("ñ" * 127)
@example("👩" * 63)
@example('a"b.pdf')
def test_whatever_name_is_accepted_is_the_name_that_arrives(name: str) -> None:
    try:
        mail = frozen(Attachment(name=name, content=b"x"))
    except MailError:
        return
    ((arrived, _, _),) = files(mail)
    assert arrived == name
    assert max(map(len, write_letter(mail, default_sender=COMPANY).content.split(b"\r\n"))) <= 998


REFUSED: list[tuple[dict[str, Any], type[MailError], str]] = [
    ({"name": ""}, InvalidAttachment, "name"),
    ({"name": "  "}, InvalidAttachment, "name"),
    ({"name": None}, InvalidAttachment, "name"),
    ({"name": "x" * 256}, InvalidAttachment, "name"),
    ({"name": f"{PRIVATE}/../x.pdf"}, InvalidAttachment, "name"),
    ({"name": f"C:\\{PRIVATE}.pdf"}, InvalidAttachment, "name"),
    ({"name": ".."}, InvalidAttachment, "name"),
    ({"name": f" {PRIVATE}.pdf"}, InvalidAttachment, "name"),
    ({"name": f"{PRIVATE}.exe"}, InvalidAttachment, "name"),
    ({"name": f"{PRIVATE}.pdf.JS"}, InvalidAttachment, "name"),
    ({"name": f"{PRIVATE}.exe. ."}, InvalidAttachment, "name"),
    ({"type": PRIVATE}, InvalidAttachment, "type"),
    ({"type": "text/plain; charset=utf-8"}, InvalidAttachment, "type"),
    ({"type": "text/plain\r\nBcc: x@example.com"}, InvalidAttachment, "type"),
    ({"type": "multipart/mixed"}, InvalidAttachment, "type"),
    ({"type": "message/partial"}, InvalidAttachment, "type"),
    ({"type": 5}, InvalidAttachment, "type"),
    ({"content": PRIVATE}, InvalidAttachment, "content"),
    ({"content": b""}, InvalidAttachment, "content"),
    ({"content": b"x" * (64 * 1024 + 1)}, BodyTooLarge, "content"),
    ({"content": b"x", "ref": PRIVATE}, InvalidAttachment, "ref"),
    ({"content": None}, InvalidAttachment, "ref"),
]
REFUSED += [
    ({"name": f"{PRIVATE}{odd}.pdf"}, UnsafeHeader, "name")
    for odd in ("\r", "\n", "\0", "\t", "\x85", "\u2028", "\ud800", "=?utf-8?q?x?=")
]
REFERENCE: dict[str, Any] = {"content": None, "ref": "a/b.pdf", "sha256": SHA, "size": 1}
BAD: list[tuple[dict[str, Any], str]] = [
    *(({"ref": ref}, "ref") for ref in ("/etc/passwd", "../x", "a/../b", "a//b", "./a", "a\\b", "s3://x", "a\nb")),
    ({"ref": ""}, "ref"),
    ({"ref": b"a"}, "ref"),
    ({"sha256": None}, "sha256"),
    ({"sha256": SHA.upper()}, "sha256"),
    ({"sha256": SHA[1:]}, "sha256"),
    ({"size": None}, "size"),
    ({"size": 0}, "size"),
    ({"size": True}, "size"),
    ({"size": 1.5}, "size"),
]
REFUSED += [({**REFERENCE, **change}, InvalidAttachment, field) for change, field in BAD]


@pytest.mark.parametrize(("change", "error", "field"), REFUSED)
def test_what_cannot_be_attached_is_refused_by_place_and_field_and_without_its_text(
    change: dict[str, Any], error: type[MailError], field: str
) -> None:
    good = Attachment(name="a.pdf", content=b"x")
    with pytest.raises(error) as refusal:
        frozen(good, Attachment(**{"name": "a.pdf", "content": b"x", **change}))
    assert refusal.value.field == f"attachments[1].{field}"
    assert PRIVATE not in str(refusal.value)


def many(number: int, **parts: Any) -> list[Attachment]:
    return [Attachment(name="a.bin", **parts)] * number


@pytest.mark.parametrize(
    ("attachments", "error", "words"),
    [
        (many(21, content=b"x"), InvalidAttachment, "at most 20"),
        (many(4, content=b"x" * 50_000), BodyTooLarge, "give references"),
        (many(2, ref="a", sha256=SHA, size=10_000_000), BodyTooLarge, "at most 25000000"),
        ([b"x"], InvalidAttachment, "must be an Attachment, not bytes"),
        ("informe.pdf", InvalidAttachment, "must be a list"),
        (5, InvalidAttachment, "must be a list"),
    ],
)
def test_too_much_or_something_else_is_refused(attachments: Any, error: type[MailError], words: str) -> None:
    with pytest.raises(error, match=words) as refusal:
        frozen(attachments=attachments)
    assert refusal.value.field.startswith("attachments")


def test_another_content_or_name_makes_another_mail_of_it() -> None:
    fingerprints = {
        Mail(to="a@example.com", attachments=attachments).fingerprint()
        for attachments in (
            None,
            [Attachment(name="a", content=b"x")],
            [Attachment(name="a", content=b"y")],
            [Attachment(name="b", content=b"x")],
            [Attachment(name="a", ref="x", sha256=SHA, size=1)],
        )
    }
    assert len(fingerprints) == 5


def test_a_frozen_attachment_that_was_tampered_with_does_not_leave() -> None:
    for change in ({"type": "a/b\r\nBcc: x"}, {"name": 'a"\r\nBcc: x'}, {"content": "é"}):
        mail = frozen(Attachment(name="a.pdf", content=b"x"))
        mail["attachments"][0] |= change
        try:
            ((name, kind, _),) = files(mail)
        except ValueError:
            continue
        assert (name, kind) == (change.get("name"), "application/pdf"), "percent-encoded, it is only a name"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
        ("a.odt", "application/vnd.oasis.opendocument.text"),
        ("a.ods", "application/vnd.oasis.opendocument.spreadsheet"),
        ("a.ics", "text/calendar"),
        ("a.vcf", "text/vcard"),
        ("a.csv", "text/csv"),
        ("a.webp", "image/webp"),
        ("a.heic", "image/heic"),
        ("a.svg", "image/svg+xml"),
        ("a.json", "application/json"),
        ("a.zip", "application/zip"),
        ("a.7z", "application/x-7z-compressed"),
        ("a.tar.gz", "application/gzip"),
        ("a.mp4", "video/mp4"),
        ("ÁREA.JPG", "image/jpeg"),
        ("data:x.pdf", "application/pdf"),
        ("eml", "application/octet-stream"),
        ("a.unheard", "application/octet-stream"),
    ],
)
def test_a_file_s_type_is_that_of_its_ending(name: str, kind: str) -> None:
    assert frozen(Attachment(name=name, content=b"\xff"))["attachments"][0]["type"] == kind


def test_no_table_of_this_machine_changes_a_type() -> None:
    program = (
        "import mimetypes; mimetypes.init(); mimetypes.add_type('text/x-odd', '.xlsx')\n"
        "from jobs.mail.file_types import type_of; print(type_of('a.xlsx'))"
    )
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert out == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet\n"


def content_types(*attachments: Attachment) -> list[str]:
    letter = write_letter(frozen(*attachments), default_sender=COMPANY)
    message = message_from_bytes(letter.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return [str(part["Content-Type"]) for part in message.iter_attachments()]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({"content": "año;1".encode()}, 'text/csv; charset="utf-8"'),
        ({"content": "\ufeffaño;1".encode()}, 'text/csv; charset="utf-8"'),
        ({"content": "año;1".encode("utf-16")}, 'text/csv; charset="utf-16"'),
        ({"content": "año;1".encode("cp1252")}, "text/csv"),
        ({"content": "año;1".encode("cp1252"), "charset": "windows-1252"}, 'text/csv; charset="windows-1252"'),
        ({"content": b"<a/>", "name": "a.xml", "charset": "iso-8859-1"}, 'application/xml; charset="iso-8859-1"'),
        ({"content": b"a", "name": "a.pdf"}, "application/pdf"),
        (
            {"content": b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n", "name": "a.ics"},
            'text/calendar; charset="utf-8"; method="REQUEST"',
        ),
        ({"content": b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "name": "a.ics"}, 'text/calendar; charset="utf-8"'),
    ],
)
def test_a_text_says_which_characters_it_is_written_in(given: dict[str, Any], written: str) -> None:
    assert content_types(Attachment(**{"name": "a.csv", **given})) == [written]


def test_a_text_that_the_worker_reads_says_so_too() -> None:
    mail = frozen(Attachment(name="a.csv", ref="a.csv", sha256=SHA, size=3))
    octets = write_letter(mail, default_sender=COMPANY, attached={"a.csv": "ñ;".encode()}).content
    assert b"Content-Type: text/csv; charset=utf-8\r\n" in octets


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"charset": "hex"}, "name of a character set"),
        ({"charset": "punycode"}, "name of a character set"),
        ({"charset": "utf-8; x=y"}, "name of a character set"),
        ({"charset": 5}, "name of a character set"),
        ({"charset": "us-ascii"}, "does not match the content .us-ascii"),
        ({"charset": "utf-8", "name": "a.pdf"}, "text and XML only"),
    ],
)
def test_a_charset_that_is_none_or_not_the_file_s_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidAttachment, match=words) as refusal:
        frozen(Attachment(**{"name": "a.txt", "content": "año".encode(), **change}))
    assert refusal.value.field == "attachments[0].charset"


def test_a_charset_makes_another_mail_of_it_and_none_makes_the_mail_that_it_was() -> None:
    bare, named = (Attachment(name="a.txt", content=b"x", charset=one) for one in (None, "utf-8"))
    prints = {
        Mail(to="a@example.com", subject="x", text="x", attachments=[one]).fingerprint() for one in (bare, named)
    }
    assert len(prints) == 2
    assert Mail(to="a@example.com", subject="x", text="x", attachments=[bare]).fingerprint() == (
        "123f01db2213723517758b5ca3a817c1bcc27676971b3213dff59b4ed41ebb71"  # of the release before charsets
    )


MAIL_FILE = b"From: a@example.com\nSubject: x\n\n.\n--y\nFrom here\n"


def test_an_attached_mail_is_a_mail_for_its_reader() -> None:
    letter = write_letter(frozen(Attachment(name="x.eml", content=MAIL_FILE)), default_sender=COMPANY)
    message = message_from_bytes(letter.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    (part,) = message.iter_attachments()
    assert (part.get_content_type(), part["Content-Transfer-Encoding"]) == ("message/rfc822", "7bit")
    assert part.get_filename() == "x.eml"
    inner = part.get_content()
    assert (inner["Subject"], inner.get_payload()) == ("x", ".\r\n--y\r\nFrom here\r\n")
    assert b"\n" not in letter.content.replace(b"\r\n", b"")


@pytest.mark.parametrize("content", ["Subject: ñ\n\nñ\n".encode(), b"x\n" + b"y" * 999, b"a\rb\n", b"a\0b"])
def test_a_mail_that_smtp_would_change_goes_as_the_file_that_it_is(content: bytes) -> None:
    mail = frozen(Attachment(name="x.eml", content=content))
    assert files(mail) == [("x.eml", "application/octet-stream", content)]


def test_an_attached_mail_cannot_end_the_mail_around_it() -> None:
    content = b"Subject: x\n\n--=_all_mail0--\n\nhidden\n"
    assert files(frozen(Attachment(name="x.eml", content=content))) == [
        ("x.eml", "application/octet-stream", content)
    ]
