"""The head of a report file: TOML in SQL comments between two ``-- +++`` lines, read strictly.

Every key is read by name and type. A key that is misspelt, missing or of the wrong type is an error that names the
file, the line, the key and what is allowed: ``sales.sql:7: freshness.hrad: is not a known key; did you mean
'hard'?``. TOML parsers do not return line numbers, so they are found here from the text.
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from durations import read_duration
from jobs.errors import JobError

HEAD_LINE = "-- +++\n"
_HEAD = re.compile(r"-- \+\+\+\n((?:--.*\n)*?)-- \+\+\+\n")
_SECTION = re.compile(r"\s*\[([\w.-]+)\]\s*(?:#.*)?\Z")
_KEY = re.compile(r"\s*(\"?)([\w.-]+)\1\s*=")
_TOML_LINE = re.compile(r"at line (\d+)")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%\Z")


class ReportError(JobError):
    """A report file that cannot be used; ``field`` names the file, the line and the key at fault."""


@dataclass(frozen=True, slots=True)
class HeadPlace:
    """Place of a report's head: its file, and the line of each key.

    Attributes:
        file: name of the file in errors.
        query: line on which the query begins.
    """

    file: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)
    query: int = 1

    def locate(self, key: str) -> str:
        """Return ``file:line`` of a key; of its table if the key is absent, else of the head.

        >>> HeadPlace("sales.sql", {"rollup": 9}).locate("rollup.total")
        'sales.sql:9'
        """
        line = self.lines.get(key) or self.lines.get(key.rpartition(".")[0]) or 1
        return f"{self.file}:{line}"

    def error_at(self, key: str, reason: str) -> ReportError:
        """Return the error for a key."""
        return ReportError(f"{self.locate(key)}: {key}", reason)


@dataclass(frozen=True, slots=True)
class HeadTable:
    """Table of the head, whose values are read one by one.

    Attributes:
        within: name of the table; empty for the head itself.
    """

    place: HeadPlace
    values: Mapping[str, Any]
    within: str = ""

    def error_at(self, key: str, reason: str) -> ReportError:
        """Return the error for one of the table's keys."""
        return self.place.error_at(self._full(key), reason)

    def only(self, known: Collection[str]) -> "HeadTable":
        """Return the table itself; raise ReportError if it contains a key that is not known."""
        for key in self.values:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(sorted(known))}"
                raise self.error_at(key, f"is not a known key; {hint}")
        return self

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string. Raises ReportError, as for a missing key without a default."""
        value = self.values.get(key, default)
        if value is None:
            raise self.error_at(key, "is missing")
        if not isinstance(value, str):
            raise self.error_at(key, f"{value!r} must be a string in quotes")
        return value

    def duration(self, key: str, default: timedelta | None = None) -> timedelta:
        """Return a duration such as ``"30s"``. Raises ReportError."""
        if key not in self.values and default is not None:
            return default
        value = self.text(key) if isinstance(self.values.get(key), str | None) else str(self.values[key])
        try:
            return read_duration(value)
        except ValueError as error:
            raise self.error_at(key, str(error)) from None

    def share(self, key: str, default: str) -> float:
        """Return a fraction that is written as a percentage, ``"0.5%"``. Raises ReportError."""
        value = str(self.values.get(key, default))
        match = _SHARE.match(value)
        if match is None or not 0 < float(match[1]) <= 100:  # noqa: PLR2004  per cent
            raise self.error_at(key, f"{value!r} must be over 0% and at most 100%, like '0.5%'")
        return float(match[1]) / 100

    def table(self, key: str, known: Collection[str] | None = None) -> "HeadTable":
        """Return a nested table that has only these keys. Raises ReportError."""
        value = self.values.get(key)
        if key not in self.values:
            raise self.error_at(key, "is missing")
        if not isinstance(value, dict) or not value:
            raise self.error_at(key, "must be a table with at least one key")
        found = HeadTable(self.place, value, self._full(key))
        return found if known is None else found.only(known)

    def _full(self, key: str) -> str:
        return f"{self.within}.{key}" if self.within else key


def split_head(source: str, file: str) -> tuple[HeadTable, str]:
    """Split a file into its head and its query. Raises ReportError if the head is missing or not TOML."""
    match = _HEAD.match(source)
    if match is None:
        raise ReportError(f"{file}:1", "must begin with front matter between two lines '-- +++'")
    lines = [line.removeprefix("--").removeprefix(" ") for line in match[1].splitlines()]
    try:
        values = tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError as error:
        told = _TOML_LINE.search(str(error))
        line = int(told[1]) + 1 if told else len(lines) + 1
        reason = str(error).partition(" (at ")[0]
        raise ReportError(f"{file}:{line}", f"front matter is not TOML: {reason}") from None
    rest = source[match.end() :]
    query = source[: match.end()].count("\n") + 1 + rest[: len(rest) - len(rest.lstrip())].count("\n")
    return HeadTable(HeadPlace(file, _lines(lines), query), values), rest.strip().rstrip(";").rstrip()


def _lines(head: list[str]) -> dict[str, int]:
    """Return the line of every key and table; the head begins on the second line of the file."""
    found: dict[str, int] = {}
    section, quoted = "", False
    for number, line in enumerate(head, start=2):
        if not quoted:
            if table := _SECTION.match(line):
                section = f"{table[1]}."
                found.setdefault(table[1], number)
            elif key := _KEY.match(line):
                found.setdefault(section + key[2], number)
        quoted ^= (line.count('"""') + line.count("'''")) % 2 == 1
    return found
