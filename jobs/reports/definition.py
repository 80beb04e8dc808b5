"""A report: one SQL file whose head says what its columns mean and how fresh it must be.

The head is TOML in SQL comments between two ``-- +++`` lines. The query returns one row per node with that
node's **direct** rows only; the worker rolls the measures up over the tree:

| roll-up      | the subtree's value is                                              |
|--------------|---------------------------------------------------------------------|
| ``sum``      | the sum                                                             |
| ``min/max``  | the smallest or largest; NULL counts as absent                      |
| ``any``      | true if any is                                                      |
| ``distinct`` | how many different ids: the column is an array, which adds up as a set |
| ``of X``     | the value that stands beside the chosen ``min`` or ``max`` of column X |

Parameters of the query: ``:now`` (the instant the report is true for), ``:day_start`` and ``:day_end``
(the organisation's calendar day around it, 23 to 25 hours long).
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches

from ..errors import JobError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\Z")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_PARAMETER = re.compile(
    r"""--[^\n]*|/\*.*?\*/|'[^']*'|"[^"]*"|(?<![:\w]):([a-z_]+)\b""",
    re.DOTALL,
)
"""A parameter; before it, so that they are stepped over, comments, texts and quoted names."""
_HEAD = re.compile(r"-- \+\+\+\n((?:--.*\n)*?)-- \+\+\+\n")
_KEYS = {"name", "title", "scope", "tree", "every", "freshness", "rollup", "valid_until"}
_FRESHNESS = {"soft", "hard", "debounce"}
_PLAIN_ROLLUPS = {"sum", "min", "max", "any", "distinct"}
PARAMETERS = ("now", "day_start", "day_end")


class ReportError(JobError):
    """A report file that cannot be used; ``field`` is the key or the line at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A declared report.

    Attributes:
        name: the wire name, in URLs and keys.
        sql: the query with ``$1``, ``$2``, … in place of its parameters.
        parameters: their names, in that order.
        scope: the column that holds the node's id.
        tree: the query of the tree that the measures are rolled up over: id, parent_id, name, kind.
        rollup: measure to roll-up, in the order in which documents show them.
        every: how often the clock asks for a refresh.
        soft, hard: younger than soft is fresh; older than hard is not served.
        debounce: how long changes are collected before a refresh.
        next_midnight: whether the numbers change by themselves at the organisation's midnight.
    """

    name: str
    title: str
    sql: str
    parameters: tuple[str, ...]
    scope: str
    tree: str
    rollup: Mapping[str, str]
    every: timedelta
    soft: timedelta
    hard: timedelta
    debounce: timedelta
    next_midnight: bool


def parse_report(source: str, *, file: str, trees: Mapping[str, str]) -> Report:
    """The report in a file's text.

    Args:
        file: its name, for errors.
        trees: the queries of the trees by name.

    Raises:
        ReportError: with the key or line at fault and what is allowed.
    """
    head, query = _split(source, file)
    _only_known(head, _KEYS, file)
    freshness = _table(head, "freshness", file)
    _only_known(freshness, _FRESHNESS, file, within="freshness.")
    sql, parameters = _bind(query, file)
    report = Report(
        name=_name(head, file),
        title=str(head.get("title", head.get("name"))),
        sql=sql,
        parameters=parameters,
        scope=str(_required(head, "scope", file)),
        tree=_tree(head, trees, file),
        rollup=_rollup(_table(head, "rollup", file), file),
        every=_duration(head, "every", file),
        soft=_duration(freshness, "soft", file, within="freshness."),
        hard=_duration(freshness, "hard", file, within="freshness."),
        debounce=_duration(freshness, "debounce", file, within="freshness."),
        next_midnight=_valid_until(head, file),
    )
    _check_bounds(report, file)
    return report


def _split(source: str, file: str) -> tuple[Mapping[str, object], str]:
    match = _HEAD.match(source)
    if match is None:
        raise ReportError(f"{file}:1", "must begin with front matter between two lines '-- +++'")
    lines = [line.removeprefix("--").removeprefix(" ") for line in match[1].splitlines()]
    try:
        return tomllib.loads("\n".join(lines)), source[match.end() :].strip().rstrip(";")
    except tomllib.TOMLDecodeError as error:
        raise ReportError(f"{file}", f"front matter is not TOML: {error} (lines count from the second)") from None


def _only_known(table: Mapping[str, object], known: set[str], file: str, within: str = "") -> None:
    for key in table:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(sorted(known))}"
            raise ReportError(f"{file}: {within}{key}", f"is not a key of a report; {hint}")


def _required(table: Mapping[str, object], key: str, file: str, within: str = "") -> object:
    if key not in table:
        raise ReportError(f"{file}: {within}{key}", "is missing")
    return table[key]


def _table(head: Mapping[str, object], key: str, file: str) -> Mapping[str, object]:
    value = _required(head, key, file)
    if not isinstance(value, dict) or not value:
        raise ReportError(f"{file}: {key}", "must be a table with at least one key")
    return value


def _name(head: Mapping[str, object], file: str) -> str:
    name = str(_required(head, "name", file))
    if not _NAME.match(name):
        raise ReportError(f"{file}: name", f"{name!r} must be lower-case letters, digits and _, at most 64")
    return name


def _tree(head: Mapping[str, object], trees: Mapping[str, str], file: str) -> str:
    name = str(_required(head, "tree", file))
    if name not in trees:
        known = ", ".join(sorted(trees)) or "none"
        raise ReportError(f"{file}: tree", f"there is no trees/{name}.sql beside the report; there are: {known}")
    return trees[name]


def _duration(table: Mapping[str, object], key: str, file: str, within: str = "") -> timedelta:
    value = str(_required(table, key, file, within))
    match = _DURATION.match(value)
    if match is None:
        raise ReportError(f"{file}: {within}{key}", f"{value!r} is no duration; write 500ms, 30s, 5m, 2h or 1d")
    try:
        return float(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise ReportError(f"{file}: {within}{key}", "is longer than any report lives") from None


def _rollup(table: Mapping[str, object], file: str) -> Mapping[str, str]:
    words = {measure: str(how) for measure, how in table.items()}
    for measure, how in words.items():
        if how in _PLAIN_ROLLUPS:
            continue
        if not how.startswith("of ") or words.get(how.removeprefix("of ")) not in {"min", "max"}:
            allowed = ", ".join(sorted(_PLAIN_ROLLUPS))
            raise ReportError(
                f"{file}: rollup.{measure}", f"{how!r} is none of {allowed}, or 'of' a measure with min or max"
            )
    return words


def _valid_until(head: Mapping[str, object], file: str) -> bool:
    value = str(head.get("valid_until", "change"))
    if value not in {"change", "next_midnight"}:
        raise ReportError(f"{file}: valid_until", f"{value!r} must be 'next_midnight' or 'change'")
    return value == "next_midnight"


def _bind(query: str, file: str) -> tuple[str, tuple[str, ...]]:
    """Named parameters become numbered ones; casts (``::``), comments and texts are left alone."""
    if not query:
        raise ReportError(f"{file}", "holds no query below its front matter")
    names = tuple(dict.fromkeys(match[1] for match in _PARAMETER.finditer(query) if match[1]))
    for name in names:
        if name not in PARAMETERS:
            raise ReportError(f"{file}: :{name}", f"is no parameter; there are :{', :'.join(PARAMETERS)}")
    return _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}" if match[1] else match[0], query), names


def _check_bounds(report: Report, file: str) -> None:
    if not timedelta(0) < report.soft < report.hard:
        raise ReportError(f"{file}: freshness.soft", "must be over 0 and below freshness.hard")
    if not timedelta(0) < report.every <= report.hard:
        raise ReportError(f"{file}: every", "must be over 0 and at most freshness.hard, or readers find it old")
    if report.debounce > report.soft:
        raise ReportError(f"{file}: freshness.debounce", "must not be over freshness.soft")
