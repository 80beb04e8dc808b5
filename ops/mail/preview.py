"""`ops mail preview`: a template with values, as a file to open in a browser or a mail program. Nothing is sent.

It composes by the same code as a backend, so that it refuses what a backend would be refused.
"""

import argparse
import warnings
from datetime import UTC, datetime
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import orjson

from jobs import LostStyle, Mail, MailError, Templates
from jobs.mail.letter import LetterSender, write_letter
from ops.command import Command, CommandRefused, CommandResult, Tools

_NOBODY = "someone@example.com"
_JOB = "{mail}00000000-0000-7000-8000-000000000000"


async def _preview(tools: Tools, asked: argparse.Namespace) -> CommandResult:
    folder = asked.templates or tools.mail.get("templates")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            mail = Mail(
                to=_NOBODY,
                template=asked.template,
                locale=asked.locale,
                values=_values(asked.values),
                templates=Templates(folder, default_locale=asked.default_locale),
            )
            frozen = mail.compose(job_id=_JOB, now=datetime.now(UTC))
        except MailError as refusal:
            raise CommandRefused(str(refusal)) from None
    octets = _octets(frozen, asked.out, str(tools.mail.get("sender", "")))
    facts = {
        "subject": frozen["subject"],
        "text": frozen["text"],
        "html": frozen["html"],
        "warnings": [str(one.message) for one in warned if _is_about(one.message, asked.template)],
        "out": None if asked.out is None else str(asked.out),
    }
    if asked.out is not None:
        _write(asked.out, octets)
    return CommandResult(_text(facts), facts)


def _is_about(warning: Warning | str, template: str) -> bool:
    """Tell whether a warning is to be shown: a style only if it is of the template that was asked for."""
    return not isinstance(warning, LostStyle) or warning.template == template


def _octets(frozen: Any, out: Path | None, sender: str) -> bytes:  # noqa: ANN401  a frozen mail is JSON
    """What the file holds: the whole mail for a mail program, else the HTML part, or the text if there is none."""
    if out is not None and out.suffix == ".eml":
        name, address = parseaddr(sender)
        return write_letter(frozen, default_sender=LetterSender(address or _NOBODY, name)).content
    return str(frozen["html"] or frozen["text"]).encode()


def _values(given: str | None) -> dict[str, Any]:
    """JSON, or the name of a file that holds it."""
    if given is None:
        return {}
    try:
        text = given.encode() if given.lstrip().startswith("{") else Path(given).read_bytes()
        values = orjson.loads(text)
    except OSError as error:
        raise CommandRefused(
            f"--values: {given} is neither JSON nor a file that can be read: {error.strerror}"
        ) from None
    except ValueError as error:
        raise CommandRefused(f"--values: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise CommandRefused('--values: must be one JSON object, like \'{"task": "Cierre", "due": "hoy"}\'')
    return values


def _write(out: Path, octets: bytes) -> None:
    try:
        out.write_bytes(octets)
    except OSError as error:
        raise CommandRefused(f"--out: {out} cannot be written: {error.strerror}") from None


def _text(facts: dict[str, Any]) -> str:
    warned = "".join(f"\nwarning: {one}" for one in facts["warnings"])
    written = f"\nwritten to {facts['out']}" if facts["out"] else ""
    return f"Subject: {facts['subject']}\n\n{facts['text']}{warned}{written}"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("template", help="its name")
    parser.add_argument("--values", help="what fills its holes: a JSON object, or a file with one")
    parser.add_argument("--locale", help="its language, like pt-BR; es when left out")
    parser.add_argument("--default-locale", help="the language for those that it is not written in")
    parser.add_argument("--out", type=Path, help="where to write the HTML; FILE.eml holds the whole mail")
    parser.add_argument("--templates", type=Path, help="your own folder; else MOMENTUS_MAIL__TEMPLATES")


COMMANDS = (
    Command(
        "preview",
        "fill a template and look at it; nothing is sent",
        """mail preview task_assigned --values '{"task": "Cierre", "due": "hoy"}' --locale es --out task.html""",
        _arguments,
        _preview,
        needs_redis=False,
    ),
)
