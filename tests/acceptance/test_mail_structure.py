"""Mails with names, images and an invitation, read by a parser in Node that shares no code with the writer."""

import json
import shutil
import subprocess
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from jobs import Attachment, Mail, MailError
from jobs.mail.letter import LetterSender, write_letter

READER = Path(__file__).resolve().parents[1] / "read_mail.mjs"
NODE = shutil.which("node")
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
INVITATION = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n"
PIECES = [
    "\r\nBcc: evil@example.org", "\n ", "=?utf-8?q?x=0D=0ABcc:_x?=", "\0", "\u2028", "\ud800", '"', "\\", "<", ">",
    ",", ";", ":", "(", "@", "Ana", " ", "ñandú", "<evil@example.org>,", "x" * 80, "ñ" * 60,
]  # fmt: skip
NAMES = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)


@dataclass
class Named:
    """An address with whatever name a caller may hand over; the standard library's own refuses some."""

    addr_spec: str
    display_name: str


BOXES = st.lists(st.builds(Named, st.sampled_from(["ana@example.com", "o'neil+x@example.org"]), NAMES), max_size=3)


def mails(examples: int) -> list[dict[str, Any]]:
    """What was not refused, frozen."""
    passed: list[dict[str, Any]] = []

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(to=BOXES, cc=BOXES, bcc=st.booleans(), calendar=st.booleans(), cid=st.sampled_from(["", "logo", "a@b"]))
    def one(to: list[Named], cc: list[Named], bcc: bool, calendar: bool, cid: str) -> None:  # noqa: FBT001  drawn
        image = [Attachment(name="logo.png", content=b"x", cid=cid)] if cid else None
        mail = Mail(
            to=to, cc=cc, bcc="secret@example.com" if bcc else None, subject="Hola", text="Hola",
            html=f'<img src="cid:{cid}">' if cid else None, attachments=image,
            alternatives={"text/markdown": "# Hola"}, calendar=INVITATION if calendar else None,
        )  # fmt: skip
        try:
            passed.append(dict(mail.compose(job_id="{mail}0", now=NOW)))
        except MailError:
            return

    one()
    return passed


def shown(addresses: list[dict[str, str]] | str) -> list[tuple[str, str]]:
    """Names and addresses of a frozen field."""
    if isinstance(addresses, str):
        return [("", addresses)]
    return [(one.get("name", ""), one["address"]) for one in addresses]


def text_of(boxes: list[tuple[str, str]]) -> str:
    """A field as the reader tells it: quotes as they are written, encoded-words decoded."""
    written = []
    for name, address in boxes:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        phrase = name if not name.isascii() or "=?" in name else f'"{quoted}"'
        written.append(f"{phrase} <{address}>" if name else address)
    return ", ".join(written) or "undisclosed-recipients:;"


def test_names_images_and_invitations_are_where_they_were_meant_and_nothing_else_is() -> None:
    if NODE is None:
        pytest.skip("node is not here")
    frozen = mails(150)
    assert len(frozen) > 20, "nearly all was refused: the cases prove nothing"
    letters = [write_letter(one, default_sender=LetterSender("momentus@example.com")) for one in frozen]
    lines = b"\n".join(b64encode(one.content) for one in letters)
    told = subprocess.run([NODE, str(READER)], input=lines, capture_output=True, check=True).stdout.splitlines()
    for mail, letter, line in zip(frozen, letters, told, strict=True):
        found = json.loads(line)
        assert "error" not in found, (found, letter.content)
        fields = dict(found["fields"])
        assert len(fields) == len(found["fields"])
        assert set(fields) - {"Content-Type"} == {
            *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress"),
            *("MIME-Version", *(["Cc"] if "cc" in mail else [])),
        }
        assert fields["To"] == text_of(shown(mail["to"]))
        assert fields.get("Cc", "") == (text_of(shown(mail["cc"])) if "cc" in mail else "")
        assert b"secret" not in letter.content
        image = [("image/png", f"<{one['cid']}>") for one in mail.get("attachments", [])]
        html = [("text/html", None)] if mail["html"] else []
        invitation = [("text/calendar", None)] if "calendar" in mail else []
        parts = [("text/plain", None), ("text/markdown", None), *html, *image, *invitation]
        assert [(one["type"], one["cid"]) for one in found["parts"]] == parts
        if invitation:
            assert b64decode(found["parts"][-1]["content"]).decode() == INVITATION.replace("\n", "\r\n")
