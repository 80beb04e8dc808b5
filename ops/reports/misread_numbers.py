"""Numbers in documents that JavaScript, and all who read numbers as binary floats, take for others."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from reports import Report
from reports.document import Document
from reports.numbers import digits, is_read_otherwise, read_exactly

_LONG = re.compile(rb"[0-9.]{16}")
"""No shorter number is taken for another one."""


def misread_numbers(report: Report, documents: Mapping[int, Document]) -> Iterator[str]:
    """One line for each measure that has such a number, with what to write."""
    told = set()
    for node, document in documents.items():
        if not _LONG.search(document.body):
            continue
        data = read_exactly(document.body.decode())["data"]
        found = {report.scope: data["node"]["id"], **data["total"]}
        for measure, value in found.items():
            number = next(_misread(value), None)
            if number is not None and measure not in told:
                told.add(measure)
                yield _line(report, measure, number, node)


def _misread(value: Any) -> Iterator[float | Decimal]:  # noqa: ANN401  JSON is anything
    """The numbers at any depth that are read otherwise."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _misread(one)
    elif isinstance(value, int | Decimal) and is_read_otherwise(value):
        yield value


def _line(report: Report, measure: str, number: float | Decimal, node: int) -> str:
    where = f"rollup.{measure}" if measure in report.rollup else "scope"
    exact = digits(Decimal(number))
    return (
        f"{report.place.of(where)}: {where}: JavaScript may read {exact} (node {node}) as another number; "
        f'write {measure} = "text" under [numbers] for a text of its digits'
    )
