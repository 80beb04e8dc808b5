"""`ops jobs`: list jobs by state and filter, or group them by error; the console shows the same list."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict

from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.jobs.error_groups import group_jobs
from ops.jobs.filter import FIELDS, STATES, FilterRefused, JobFilter, read_filter
from ops.jobs.listing import JobList, ListedJob, list_jobs
from ops.language import Language
from ops.table import table

_MOST = 1000
_MOST_GROUPED = 10_000
_SECONDS = 30.0
HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("ID", "LANE", "AT (UTC)", "KIND", "DOMAIN", "ATTEMPT", "REASON"),
    "es": ("ID", "CARRIL", "CUÁNDO (UTC)", "TIPO", "DOMINIO", "INTENTO", "MOTIVO"),
}
WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "No jobs match.",
        "more": "\nThere may be more; see --limit.",
        "grouped": "\nThere are more; the first {count} are grouped.",
    },
    "es": {
        "none": "Ningún trabajo coincide.",
        "more": "\nPuede haber más; véase --limit.",
        "grouped": "\nHay más; se agrupan los {count} primeros.",
    },
}
GROUP_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("LANE", "KIND", "ERROR", "JOBS", "ATTEMPTS", "NEXT (UTC)", "FIRST"),
    "es": ("CARRIL", "TIPO", "ERROR", "TRABAJOS", "INTENTOS", "PRÓXIMO (UTC)", "PRIMERO"),
}


async def _jobs(tools: Tools, args: argparse.Namespace) -> CommandResult:
    try:
        wanted = read_filter({name: getattr(args, name) or "" for name in FIELDS})
    except FilterRefused as refusal:
        raise CommandRefused(str(refusal)) from None
    if args.by_error:
        return await _groups(tools, wanted)
    found = await list_jobs(tools.redis, wanted, limit=args.limit, seconds=_SECONDS)
    facts = {"jobs": [asdict(one) for one in found.jobs], "more": bool(found.cursor)}
    return CommandResult(_text(found, tools.language), facts)


async def _groups(tools: Tools, wanted: JobFilter) -> CommandResult:
    found = await list_jobs(tools.redis, wanted, limit=_MOST_GROUPED, seconds=_SECONDS)
    groups = group_jobs(found.jobs)
    facts = {"groups": [asdict(one) for one in groups], "jobs": len(found.jobs), "more": bool(found.cursor)}
    if not groups:
        return CommandResult(WORDS[tools.language]["none"], facts)
    rows = [
        [
            *(one.lane, one.kind or "-", one.error or "-", str(one.count), str(one.attempts or "-")),
            *(f"{one.next:%Y-%m-%d %H:%M:%S}", one.example),
        ]
        for one in groups
    ]
    text = table(GROUP_HEADS[tools.language], rows, left={0, 1, 2, 5, 6})
    more = WORDS[tools.language]["grouped"].format(count=len(found.jobs)) if found.cursor else ""
    return CommandResult(text + more, facts)


def _text(found: JobList, language: Language) -> str:
    if not found.jobs:
        return WORDS[language]["none"]
    text = table(HEADS[language], [_row(one) for one in found.jobs], left={0, 1, 2, 3, 4, 6})
    return text + (WORDS[language]["more"] if found.cursor else "")


def _row(one: ListedJob) -> list[str]:
    reason = one.reason.partition("Traceback (most recent call last):")[0]
    at = f"{one.at:%Y-%m-%d %H:%M:%S}"
    return [one.id, one.lane, at, one.kind or "-", one.domain or "-", str(one.attempt or "-"), reason]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", choices=STATES, default="dead", help="of the jobs (default dead)")
    parser.add_argument("--lane", metavar="LANE", help="one lane (default: all)")
    parser.add_argument("--kind", metavar="KIND", help="a whole kind, like mail.send")
    parser.add_argument("--domain", metavar="DOMAIN", help="a recipient's domain")
    parser.add_argument("--error", metavar="TEXT", help="a text within the reason of the last attempt")
    parser.add_argument("--older", metavar="TIME", help="longer in this state than that: 90s, 10m, 2h, 1d")
    parser.add_argument("--newer", metavar="TIME", help="less long in this state than that")
    parser.add_argument(
        "--by-error", action="store_true", help="count them by lane, kind and class of error instead"
    )
    parser.add_argument("--limit", type=_limit, default=20, metavar="N", help="at most N jobs (default 20)")


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; give a whole number from 1 to {_MOST}")
    return int(text)


JOBS = Command(
    "jobs",
    "list jobs by state, lane, kind, recipient domain, error and age",
    "jobs --state dead --domain example.com --error 550 --older 2h",
    _arguments,
    _jobs,
)
