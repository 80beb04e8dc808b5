"""Roll-ups: how a measure of a subtree follows from its nodes' own rows, and what column each roll-up needs.

| roll-up                | the subtree's value                                                      |
|------------------------|--------------------------------------------------------------------------|
| ``sum``                | the sum                                                                  |
| ``min``, ``max``       | the smallest, the largest; NULL counts as absent                         |
| ``any``                | true if any is                                                           |
| ``distinct``           | number of different ids: the column is an array, merged as a set         |
| ``of X``               | the value beside the chosen ``min`` or ``max`` of column X               |
| ``sums``               | sums by key: the column is a JSON object of numbers                      |
| ``top N by K asc``     | the first N of all rows in that order: the column is a JSON array of objects |
| ``avg by X``           | the average of averages, each with its weight in the measure X, which has ``sum`` |
| ``X / Y``              | the ratio of two other measures, taken after they are rolled up; it has no column |
| ``sql``                | the column's own value: the query computes the subtree itself            |

All but the last are mergeable: parts merged in any order and grouping give the same value as all their rows
together. A measure that is not mergeable (a median, a percentile) needs ``sql``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from reports.front_matter import HeadTable

PLAIN = frozenset({"sum", "min", "max", "any", "distinct", "sums", "sql"})
_TOP = re.compile(r"top (\d{1,4}) by (\w+(?:, ?\w+)*) (asc|desc)\Z")
_AVERAGE = re.compile(r"avg by (\w+)\Z")
_RATIO = re.compile(r"(\w+) / (\w+)\Z")
_MOST_ROWS = 1000
_COUNTABLE = frozenset({"sum", "distinct"})


@dataclass(frozen=True, slots=True)
class Top:
    """Parameters of ``top N by K asc``: number of rows, sort keys and direction."""

    count: int
    keys: tuple[str, ...]
    descending: bool


@lru_cache(maxsize=256)
def top_of(how: str) -> Top | None:
    """Parse a ``top`` roll-up; None for any other.

    >>> top_of("top 5 by opened_at, id asc")
    Top(count=5, keys=('opened_at', 'id'), descending=False)
    """
    match = _TOP.match(how)
    if match is None:
        return None
    return Top(int(match[1]), tuple(key.strip() for key in match[2].split(",")), match[3] == "desc")


@lru_cache(maxsize=256)
def ratio_of(how: str) -> tuple[str, str] | None:
    """Return the two measures of a ratio; None for any other roll-up.

    >>> ratio_of("people_today / employees")
    ('people_today', 'employees')
    """
    match = _RATIO.match(how)
    return None if match is None else (match[1], match[2])


@lru_cache(maxsize=256)
def weight_of(how: str) -> str:
    """Return the measure that is the weight of an average; empty for any other roll-up.

    >>> weight_of("avg by people"), weight_of("sum")
    ('people', '')
    """
    match = _AVERAGE.match(how)
    return "" if match is None else match[1]


def read_rollups(table: HeadTable) -> Mapping[str, str]:
    """Return the roll-up of each measure, in the order in which documents show them. Raises ReportError."""
    words = {measure: str(how) for measure, how in table.values.items()}
    for measure, how in words.items():
        if reason := _fault(how, words):
            raise table.error_at(measure, reason)
    return words


def columns_of(rollup: Mapping[str, str]) -> list[str]:
    """Return the measures that the query must return; ratios are computed from them.

    >>> columns_of({"here": "sum", "all": "sum", "rate": "here / all"})
    ['here', 'all']
    """
    return [measure for measure, how in rollup.items() if ratio_of(how) is None]


def _fault(how: str, words: Mapping[str, str]) -> str:  # noqa: PLR0911  one per roll-up
    """Return the fault of a roll-up; empty if it is valid."""
    if how in PLAIN:
        return ""
    if how.startswith("of ") and words.get(how.removeprefix("of ")) in {"min", "max"}:
        return ""
    if top := top_of(how):
        return "" if 1 <= top.count <= _MOST_ROWS else f"{how!r} must keep 1 to {_MOST_ROWS} rows"
    if ratio := ratio_of(how):
        wrong = [name for name in ratio if words.get(name) not in _COUNTABLE]
        return f"{wrong[0]!r} must be a measure with sum or distinct" if wrong else ""
    if weight := weight_of(how):
        return "" if words.get(weight) == "sum" else f"the average's weight {weight!r} must be a measure with sum"
    if how == "avg":
        return "an average needs its weight, the measure with the number of rows: 'avg by employees'"
    allowed = ", ".join(sorted(PLAIN))
    return (
        f"{how!r} must be one of {allowed}, 'of' a measure with min or max, "
        "'top 10 by opened_at asc', an average with its weight, 'avg by employees', "
        "or a ratio of two others, 'here / employees'"
    )
