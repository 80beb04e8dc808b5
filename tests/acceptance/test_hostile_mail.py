"""No text that anybody typed becomes a header field, a recipient or a part of a mail that was not meant.

Each case is composed with hostile texts in every place that takes one. What is not refused is written, and read
again by three parties that share no code with the writer: Python's own parser, a strict reader in Node
(`tests/read_mail.mjs`) and a mail server.
"""

import asyncio
import json
import shutil
import smtplib
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from jobs import Attachment, Mail, MailError
from jobs.mail.letter import Letter, LetterSender, write_letter
from local.sink.smtp import MailSink

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
COMPANY = LetterSender("momentus@example.com", "Momentus")
READER = Path(__file__).resolve().parents[1] / "read_mail.mjs"
NODE = shutil.which("node")
OURS = ["Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress", "MIME-Version"]
WRITTEN_AT = "Sun, 22 Nov 2026 09:30:00 +0000"

PIECES = [
    "\r\nBcc: evil@example.org", "\nBcc: evil@example.org", "\r\n\r\n<p>", "\r\n.\r\nMAIL FROM:<evil@example.org>",
    "=?utf-8?q?x=0D=0ABcc:_evil=40example.org?=", "=?utf-8?b?DQpCY2M6IHg=?=", "=?", "?=", "=?utf-8?",
    "\0", "\x85", "\u2028", "\ud800", "\t", " ", "  ", '"', "\\", "'", "%", "%0D%0A", "*", "<", ">", ",", ";", ":",
    "@", "(comment)",
    "--=_mail0", "--=_mail0--", "--=_all_mail0", "; filename=evil.exe", 'a"; name="b', "utf-8''x",
    "<evil@example.org>", "evil@example.org", "ñandú", "👩‍👧‍👦", "שלום", "\u202e", "\ufeff", "x" * 80, "ñ" * 60,
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=12), min_size=1, max_size=4).map("".join)
PRINTABLE = st.lists(st.sampled_from([one for one in PIECES if one.isprintable()]), min_size=1, max_size=3).map(
    "".join
)
TEXTS = HOSTILE | PRINTABLE
ADDRESSES = st.one_of(
    st.sampled_from(["o'neil+x@sub.example.com", "ana@münchen.de", "a.b=c@example.com", "{x}|~@example.com"]),
    TEXTS,
    TEXTS.map(lambda text: f"{text}@example.com"),
    TEXTS.map(lambda text: f"ana@{text}.com"),
    TEXTS.map(lambda text: f"ana@example.com{text}"),
)


PLACES: dict[str, st.SearchStrategy[Any]] = {
    "to": ADDRESSES,
    "sender": ADDRESSES,
    "reply_to": ADDRESSES,
    "subject": TEXTS,
    "text": TEXTS,
    "html": TEXTS.map(lambda text: f"<p>{text}</p>"),
    "sender_name": TEXTS,
    "thread": TEXTS,
    "unsubscribe": TEXTS.map(lambda text: f"https://example.com/{text}"),
    "attachments": st.lists(TEXTS, min_size=1, max_size=2).map(
        lambda names: [Attachment(name=name, content=name.encode("utf-8", "replace")) for name in names]
    ),
    "headers": st.dictionaries(st.sampled_from(["X-Note", "Importance"]) | TEXTS, TEXTS, min_size=1, max_size=2),
}


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    """What a caller might hand over: hostile in one place or in several, harmless elsewhere."""
    parts: dict[str, Any] = {"to": "ana@example.com", "subject": "Reunión", "text": "Mañana"}
    for place in draw(st.sets(st.sampled_from(sorted(PLACES)), min_size=1, max_size=3)):
        parts[place] = draw(PLACES[place])
    return parts


def composed(parts: Mapping[str, Any]) -> tuple[Mapping[str, Any], Letter] | None:
    """The frozen mail and its letter; None when it was refused."""
    try:
        frozen = Mail(**parts).compose(job_id="{mail}0", now=NOW)
    except MailError:
        return None
    travelled = json.loads(json.dumps(frozen))
    letter = write_letter(travelled, default_sender=COMPANY)
    assert letter.content == write_letter(travelled, default_sender=COMPANY).content
    return travelled, letter


def meant(frozen: Mapping[str, Any]) -> dict[str, str]:
    """The header fields that the mail is to have, in lower case; those of addresses and of parts aside."""
    address = frozen["sender"] or COMPANY.address
    domain = address.rpartition("@")[2]
    fields = {
        "to": frozen["to"],
        "subject": frozen["subject"],
        "date": WRITTEN_AT,
        "message-id": f"<mail0@{domain}>",
        "auto-submitted": "auto-generated",
        "x-auto-response-suppress": "All",
        "mime-version": "1.0",
    }
    if frozen["reply_to"]:
        fields["reply-to"] = frozen["reply_to"]
    if "thread" in frozen:
        fields["references"] = fields["in-reply-to"] = f"<thread.{frozen['thread']}@{domain}>"
    if "unsubscribe" in frozen:
        fields["list-unsubscribe"] = f"<{frozen['unsubscribe']}>"
        fields["list-unsubscribe-post"] = "List-Unsubscribe=One-Click"
    return fields | {name.lower(): value for name, value in frozen.get("headers", {}).items()}


def bodies(frozen: Mapping[str, Any]) -> list[tuple[str, str | None, bytes]]:
    """Type, name and octets of each part."""
    texts = [("text/plain", frozen["text"]), ("text/html", frozen["html"])]
    parts: list[tuple[str, str | None, bytes]] = [
        (kind, None, "\r\n".join(body.replace("\r\n", "\n").replace("\r", "\n").split("\n")).encode())
        for kind, body in texts
        if body.strip()
    ]
    return parts + [(one["type"], one["name"], b64decode(one["content"])) for one in frozen.get("attachments", [])]


def check_with_python(frozen: Mapping[str, Any], letter: Letter) -> None:
    assert letter.recipients == (frozen["to"],)
    assert letter.sender == (frozen["sender"] or COMPANY.address)
    message = message_from_bytes(letter.content, policy=policy.default.clone(max_line_length=None))
    of_parts = {"content-type", "content-transfer-encoding"}
    fields = meant(frozen)
    assert sorted({*of_parts, *map(str.lower, message.keys())}) == sorted({*of_parts, "from", *fields})
    assert len(message.keys()) == len(set(map(str.lower, message.keys())))
    assert message["From"].addresses[0].addr_spec == letter.sender
    assert len(message["From"].addresses) == len(message["To"].addresses) == 1
    for name in ("to", "date", "message-id", "reply-to", "list-unsubscribe"):
        if name in fields:
            assert message_from_bytes(letter.content)[name] == fields[name]
    leaves = [part for part in message.walk() if not part.is_multipart()]
    assert [part.get_payload(decode=True) for part in leaves] == [octets for _, _, octets in bodies(frozen)]


def check_with_node(cases: list[tuple[Mapping[str, Any], Letter]]) -> None:
    """All of them in one process."""
    if NODE is None:
        pytest.skip("node is not here")
    lines = b"\n".join(b64encode(letter.content) for _, letter in cases)
    told = subprocess.run([NODE, str(READER)], input=lines, capture_output=True, check=True).stdout.splitlines()
    assert len(told) == len(cases)
    for (frozen, letter), line in zip(cases, told, strict=True):
        found = json.loads(line)
        assert "error" not in found, (found, letter.content)
        fields = {name.lower(): value for name, value in found["fields"]}
        assert len(fields) == len(found["fields"])
        author = fields.pop("from")
        assert author.removesuffix(">").endswith(letter.sender), author
        for name in ("content-type", "content-transfer-encoding"):
            fields.pop(name, None)
        assert fields == meant(frozen)
        parts = [(one["type"], one["name"], b64decode(one["content"])) for one in found["parts"]]
        assert parts == bodies(frozen)


def hunt(examples: int) -> list[tuple[Mapping[str, Any], Letter]]:
    """Hypothesis over the whole of compose; what got through, after Python's parser agreed."""
    passed: list[tuple[Mapping[str, Any], Letter]] = []

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(asked())
    def one(parts: dict[str, Any]) -> None:
        if (case := composed(parts)) is not None:
            check_with_python(*case)
            passed.append(case)

    one()
    return passed


def test_whatever_was_asked_for_only_that_is_in_the_mail() -> None:
    passed = hunt(250)
    assert len(passed) > 20, "nearly all was refused: the cases prove nothing"
    check_with_node(passed)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(10))
def test_whatever_was_asked_for_only_that_is_in_the_mail_in_a_hundred_thousand_cases(part: int) -> None:
    del part  # ten times ten thousand, so that they are spread over processes
    passed = hunt(10_000)
    assert len(passed) > 1000
    check_with_node(passed)


async def test_a_server_sees_the_recipients_that_were_meant_and_no_others(smtp_sink: MailSink) -> None:
    cases = hunt(60)

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", smtp_sink.port) as server:
            for _, letter in cases:
                server.sendmail(letter.sender, list(letter.recipients), letter.content)

    await asyncio.to_thread(send)
    kept = smtp_sink.mailbox.mails
    assert len(kept) == len(cases)
    for mail, (frozen, letter) in zip(kept, cases, strict=True):
        assert mail.recipients == (frozen["to"],)
        assert mail.raw.rstrip(b"\r\n") == letter.content.rstrip(b"\r\n")
