"""Rows of the printed table."""

from collections.abc import Sequence
from statistics import median


def print_row(name: str, values: Sequence[float]) -> None:
    """Print the median, and the smallest and the largest if there are several."""
    spread = f" ({min(values):,.2f} to {max(values):,.2f})" if len(values) > 1 else ""
    print(f"| {name} | {median(values):,.2f}{spread} |", flush=True)
