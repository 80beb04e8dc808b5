"""`ops audit`: list the latest changes that operators made on the console."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict

from ops.audit.log import ENTRIES_KEPT, AuditEntry, list_entries
from ops.command import Command, CommandResult, Tools
from ops.language import Language
from ops.table import table

HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("AT (UTC)", "WHO", "ROLE", "ACTION", "TARGET", "OUTCOME", "WHY"),
    "es": ("CUÁNDO (UTC)", "QUIÉN", "ROL", "ACCIÓN", "OBJETO", "RESULTADO", "MOTIVO"),
}
WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "The audit log is empty.",
        "begun": "outcome unknown",
        "done": "done",
        "nothing": "nothing to do",
        "refused": "refused",
        "stopped": "stopped before its end",
    },
    "es": {
        "none": "El registro de auditoría está vacío.",
        "begun": "resultado desconocido",
        "done": "hecho",
        "nothing": "nada que hacer",
        "refused": "rechazado",
        "stopped": "detenido antes de acabar",
    },
}


async def _audit(tools: Tools, args: argparse.Namespace) -> CommandResult:
    found = await list_entries(tools.redis, limit=args.limit)
    facts = {"audit": [asdict(one) for one in found]}
    if not found:
        return CommandResult(WORDS[tools.language]["none"], facts)
    rows = [_row(one, tools.language) for one in found]
    return CommandResult(table(HEADS[tools.language], rows, left=set(range(7))), facts)


def _row(one: AuditEntry, language: Language) -> list[str]:
    outcome = WORDS[language].get(one.outcome, one.outcome)
    return [f"{one.at:%Y-%m-%d %H:%M:%S}", one.who, one.role, one.action, one.target, outcome, one.why]


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= ENTRIES_KEPT:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; give a whole number from 1 to {ENTRIES_KEPT}")
    return int(text)


def _add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=_limit, default=20, metavar="N", help="at most N of the latest (default 20)"
    )


AUDIT = Command(
    "audit",
    "list the latest changes on the console: who, what and why",
    "audit --limit 100",
    _add_limit,
    _audit,
)
