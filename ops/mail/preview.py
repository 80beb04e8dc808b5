"""`ops mail preview`: fill a template and write a file for a browser or a mail program. Nothing is sent.

It composes with the same code as a backend, so it refuses the same input.
"""

import argparse
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import orjson

from jobs import LostStyle, Mail, MailError, Templates
from jobs.mail.letter import LetterSender, write_letter
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.mail.words import PREVIEW

_EXAMPLE_ADDRESS = "someone@example.com"
_JOB = "{mail}00000000-0000-7000-8000-000000000000"


async def _preview(tools: Tools, args: argparse.Namespace) -> CommandResult:
    folder = args.templates or tools.mail.get("templates")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            mail = Mail(
                to=_EXAMPLE_ADDRESS,
                template=args.template,
                locale=args.locale,
                values=_values(args.values),
                templates=Templates(folder, default_locale=args.default_locale),
            )
            frozen = mail.compose(job_id=_JOB, now=datetime.now(UTC))
        except MailError as refusal:
            raise CommandRefused(str(refusal)) from None
    content = _content(frozen, args.out, str(tools.mail.get("sender", "")))
    facts = {
        "subject": frozen["subject"],
        "text": frozen["text"],
        "html": frozen["html"],
        "warnings": [str(one.message) for one in warned if _is_about(one.message, args.template)],
        "out": None if args.out is None else str(args.out),
    }
    if args.out is not None:
        _write(args.out, content)
    return CommandResult(_text(facts, PREVIEW[tools.language]), facts)


def _is_about(warning: Warning | str, template: str) -> bool:
    """Return True if a warning concerns this template; warnings about styles may concern others."""
    return not isinstance(warning, LostStyle) or warning.template == template


def _content(frozen: Any, out: Path | None, sender: str) -> bytes:  # noqa: ANN401  a frozen mail is JSON
    """Return the file's content: the whole mail for FILE.eml, else the HTML part, or the text without one."""
    if out is not None and out.suffix == ".eml":
        name, address = parseaddr(sender)
        return write_letter(frozen, default_sender=LetterSender(address or _EXAMPLE_ADDRESS, name)).content
    return str(frozen["html"] or frozen["text"]).encode()


def _values(given: str | None) -> dict[str, Any]:
    """Read JSON, or the file of this name that holds it."""
    if given is None:
        return {}
    try:
        text = given.encode() if given.lstrip().startswith("{") else Path(given).read_bytes()
        values = orjson.loads(text)
    except OSError as error:
        raise CommandRefused(
            f"--values: {given} is neither a JSON object nor a readable file: {error.strerror}"
        ) from None
    except ValueError as error:
        raise CommandRefused(f"--values: is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise CommandRefused('--values: must be one JSON object, like \'{"task": "Cierre", "due": "hoy"}\'')
    return values


def _write(out: Path, content: bytes) -> None:
    try:
        out.write_bytes(content)
    except OSError as error:
        raise CommandRefused(f"--out: {out} cannot be written: {error.strerror}") from None


def _text(facts: dict[str, Any], words: Mapping[str, str]) -> str:
    warned = "".join(words["warning"].format(warning=one) for one in facts["warnings"])
    written = words["written"].format(out=facts["out"]) if facts["out"] else ""
    return words["mail"].format(subject=facts["subject"], text=facts["text"]) + warned + written


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("template", help="the template's name")
    parser.add_argument("--values", help="the template's values: a JSON object, or a file with one")
    parser.add_argument("--locale", help="the language, like pt-BR (default es)")
    parser.add_argument("--default-locale", help="the language to use if the template lacks the requested one")
    parser.add_argument("--out", type=Path, help="file for the HTML; FILE.eml for the whole mail")
    parser.add_argument("--templates", type=Path, help="your own folder (default MOMENTUS_MAIL__TEMPLATES)")


COMMANDS = (
    Command(
        "preview",
        "fill a template and show the mail; nothing is sent",
        """mail preview task_assigned --values '{"task": "Cierre", "due": "hoy"}' --locale es --out task.html""",
        _arguments,
        _preview,
        needs_redis=False,
    ),
)
