"""Small charts as SVG, drawn on the server: lines over time, from zero to the greatest value. Pure.

A gap of more than three samples interrupts a line. Colours are classes of the style sheet, since a page may hold
no style of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ops.console.samples import EVERY_S, QueueSample
from ops.durations import duration_text

WIDTH, HEIGHT = 240, 48
BAR, BARS_HEIGHT = 4.0, 24.0
SPAN_S = 3600.0
_GAP_S = 3 * EVERY_S
_SHORT_S = 10.0
_SERIES = {
    "waiting": ("waiting",),
    "rates": ("entering", "leaving"),
    "oldest": ("oldest_s",),
    "waits": ("wait_p50_s", "wait_p95_s"),
    "dead": ("dead",),
}


@dataclass(frozen=True, slots=True)
class QueueChart:
    """A chart.

    Attributes:
        name: names what it shows; a key of the texts.
        lines: name and path (`M x,y L x,y …`) of each line.
        highest: the greatest value of all lines.
        latest: the last value of each line.
        marks: the place (x) and the new version of each deploy.
    """

    name: str
    lines: tuple[tuple[str, str], ...]
    highest: float
    latest: tuple[float, ...]
    marks: tuple[tuple[float, str], ...] = ()


def draw_charts(samples: Sequence[QueueSample]) -> list[QueueChart]:
    """Return the charts of the last hour; none before the second sample."""
    return [_draw(name, fields, samples) for name, fields in _SERIES.items()] if len(samples) > 1 else []


def _draw(name: str, fields: Sequence[str], samples: Sequence[QueueSample]) -> QueueChart:
    highest = max(getattr(one, field) for one in samples for field in fields)
    lines = tuple((field, line_path(samples, field, highest)) for field in fields)
    latest = tuple(getattr(samples[-1], field) for field in fields)
    return QueueChart(name, lines, highest, latest, deploy_marks(samples))


def deploy_marks(samples: Sequence[QueueSample]) -> tuple[tuple[float, str], ...]:
    """Return each place where a version first appeared among the live workers, and that version."""
    return tuple(
        (place_of(later, samples[-1]), version)
        for earlier, later in pairwise(samples)
        for version in sorted(later.versions - earlier.versions)
        if earlier.versions
    )


def place_of(sample: QueueSample, last: QueueSample) -> float:
    """Return the place of a sample from the left; the last one is at the right edge."""
    return round(max(0.0, WIDTH * (1 - (last.at_s - sample.at_s) / SPAN_S)), 1)


def draw_bars(counts: Sequence[int]) -> list[tuple[float, float, float]]:
    """Return the place, the top and the height of a bar for each count that is not 0, in a chart of `BARS_HEIGHT`.

    >>> draw_bars([0, 4, 1])
    [(4.0, 0.0, 24.0), (8.0, 18.0, 6.0)]
    """
    highest = max(counts, default=0) or 1
    heights = [(place * BAR, BARS_HEIGHT * count / highest) for place, count in enumerate(counts) if count]
    return [(at, BARS_HEIGHT - height, height) for at, height in heights]


def line_path(samples: Sequence[QueueSample], field: str, highest: float) -> str:
    """Return the path of one line; the last sample is at the right edge."""
    points = [
        f"{place_of(one, samples[-1]):.1f},"
        f"{HEIGHT - HEIGHT * getattr(one, field) / highest if highest else HEIGHT:.1f}"
        for one in samples
    ]
    joins = ("L" if other.at_s - one.at_s <= _GAP_S else "M" for one, other in pairwise(samples))
    return " ".join(f"{join}{point}" for join, point in zip(["M", *joins], points, strict=True))


def chart_value(name: str, value: float) -> str:
    """Return a value of a chart as text.

    >>> chart_value("dead", 12.0), chart_value("oldest", 90.0), chart_value("waits", 0.042)
    ('12', '1 min 30 s', '0.042 s')
    """
    if name == "waits" and 0 < value < _SHORT_S:
        return f"{value:.2g} s"
    return duration_text(value) if name in {"waits", "oldest"} else f"{value:.0f}"
