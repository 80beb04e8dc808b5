"""Small charts as SVG, drawn on the server: lines over time, from zero to the greatest value. Pure.

A gap of more than three samples interrupts a line. Colours are classes of the style sheet, since a page may hold
no style of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ops.console.samples import EVERY_S, QueueSample

WIDTH, HEIGHT = 240, 48
SPAN_S = 3600.0
_GAP_S = 3 * EVERY_S
_SERIES = {
    "waiting": ("waiting",),
    "rates": ("entering", "leaving"),
    "oldest": ("oldest_s",),
    "dead": ("dead",),
}


@dataclass(frozen=True, slots=True)
class QueueChart:
    """A chart.

    Attributes:
        name: of what it shows; a word of the texts.
        lines: name and path (`M x,y L x,y …`) of each line.
        highest: the greatest value of all lines.
        latest: the last value of each line.
    """

    name: str
    lines: tuple[tuple[str, str], ...]
    highest: float
    latest: tuple[float, ...]


def draw_charts(samples: Sequence[QueueSample]) -> list[QueueChart]:
    """Return the charts of the last hour; none before the second sample."""
    return [_draw(name, fields, samples) for name, fields in _SERIES.items()] if len(samples) > 1 else []


def _draw(name: str, fields: Sequence[str], samples: Sequence[QueueSample]) -> QueueChart:
    highest = max(getattr(one, field) for one in samples for field in fields)
    lines = tuple((field, line_path(samples, field, highest)) for field in fields)
    return QueueChart(name, lines, highest, tuple(getattr(samples[-1], field) for field in fields))


def line_path(samples: Sequence[QueueSample], field: str, highest: float) -> str:
    """Return the path of one line; the last sample is at the right edge."""
    end = samples[-1].at_s
    points = [
        f"{max(0.0, WIDTH * (1 - (end - one.at_s) / SPAN_S)):.1f},"
        f"{HEIGHT - HEIGHT * getattr(one, field) / highest if highest else HEIGHT:.1f}"
        for one in samples
    ]
    joins = ("L" if other.at_s - one.at_s <= _GAP_S else "M" for one, other in pairwise(samples))
    return " ".join(f"{join}{point}" for join, point in zip(["M", *joins], points, strict=True))
