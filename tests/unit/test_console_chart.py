"""Charts of the console, from samples."""

from ops.console.chart import HEIGHT, WIDTH, draw_charts, line_path
from ops.console.samples import EVERY_S, QueueSample


def sample(at_s: float, waiting: float) -> QueueSample:
    return QueueSample(at_s=at_s, waiting=waiting, dead=0, entering=1, leaving=2, oldest_s=0)


def test_a_line_ends_at_the_right_and_reaches_the_top_at_its_greatest_value() -> None:
    samples = [sample(0, 0), sample(EVERY_S, 10), sample(2 * EVERY_S, 5)]
    *_, highest, last = line_path(samples, "waiting", 10).split(" L")
    assert highest.endswith(",0.0")
    assert last == f"{WIDTH:.1f},{HEIGHT / 2:.1f}"


def test_a_time_without_samples_is_a_gap() -> None:
    samples = [sample(0, 1), sample(EVERY_S, 1), sample(100 * EVERY_S, 1), sample(101 * EVERY_S, 1)]
    assert [part[0] for part in line_path(samples, "waiting", 1).split()] == ["M", "L", "M", "L"]


def test_nothing_at_all_is_a_line_at_the_bottom() -> None:
    assert line_path([sample(0, 0), sample(5, 0)], "dead", 0).count(f",{HEIGHT}.0") == 2


def test_there_is_no_chart_before_there_is_a_line() -> None:
    assert draw_charts([sample(0, 1)]) == []
    charts = {one.name: one.latest for one in draw_charts([sample(0, 1), sample(5, 3)])}
    assert charts == {"waiting": (3,), "rates": (1, 2), "oldest": (0,), "dead": (0,)}
