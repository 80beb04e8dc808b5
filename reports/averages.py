"""Weighted averages: the average of a subtree is that of its nodes' averages, each with its weight.

    average of a subtree = sum(average x weight) / sum(weight)

The weight is a measure with ``sum``. An average without a weight cannot be merged: that of two nodes with 1 and 99
people is not their mean.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from reports.measures import InvalidRows


def weighted_values(
    averages: Sequence[Any], weights: Sequence[Any], nodes: Sequence[Any], measure: str
) -> list[Any]:
    """Return each average times its weight; 0 where the weight is 0, whatever the average.

    >>> weighted_values([2, None], [3, 0], [1, 2], "age")
    [6, 0]

    Raises:
        InvalidRows: an average is null although it has a weight, or a weight is negative.
    """
    found = []
    for average, weight, node in zip(averages, weights, nodes, strict=True):
        if not weight:
            found.append(0)
        elif weight < 0:
            raise InvalidRows(
                f"has a weight of {weight}; weights must be 0 or more, like a row count (node {node})", measure
            )
        elif average is None:
            raise InvalidRows(
                f"NULL has a weight of {weight}; return an average, or the weight 0 (node {node})", measure
            )
        else:
            found.append(_product(average, weight))
    return found


def _product(average: Any, weight: Any) -> Any:  # noqa: ANN401  numbers of the database
    """Multiply exactly, unless either is a binary float."""
    if isinstance(average, float) or isinstance(weight, float):
        return float(average) * float(weight)
    return average * weight if isinstance(average, int) else average * Decimal(weight)
