"""Numbers in documents that JavaScript, and other readers with binary floats, read as different numbers."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from reports import Report
from reports.document import Document
from reports.node_ids import NodeId
from reports.numbers import all_digits, is_read_otherwise, read_exactly

_LONG = re.compile(rb"[0-9.]{16}")
"""Sixteen digits or more; shorter numbers are always read correctly."""
_LONGEST = 40
"""Largest number of digits that a note shows."""


def misread_numbers(report: Report, documents: Mapping[NodeId, Document]) -> Iterator[str]:
    """Yield one line for each measure with a misread number, with the remedy."""
    seen = set()
    for node, document in documents.items():
        if not _LONG.search(document.body):
            continue
        data = read_exactly(document.body.decode())["data"]
        found = {report.scope: data["node"]["id"], **data["total"]}
        for measure, value in found.items():
            number = next(_misread(value), None)
            if number is not None and measure not in seen:
                seen.add(measure)
                yield _line(report, measure, number, node)


def _misread(value: Any) -> Iterator[float | Decimal]:  # noqa: ANN401  JSON is anything
    """Yield the numbers at any depth that are read differently."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _misread(one)
    elif isinstance(value, int | Decimal) and is_read_otherwise(value):
        yield value


def _line(report: Report, measure: str, number: float | Decimal, node: NodeId) -> str:
    where = f"rollup.{measure}" if measure in report.rollup else "scope"
    digits = all_digits(Decimal(number))
    exact = digits if len(digits) <= _LONGEST else f"{digits[:_LONGEST]}..."
    return (
        f"{report.place.locate(where)}: {where}: JavaScript may read {exact} (node {node}) as another number; "
        f'write {measure} = "text" under [numbers] for a text of its digits'
    )
