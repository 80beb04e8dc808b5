"""Charts of the console, from samples."""

from dataclasses import replace

from hypothesis import given, strategies as st

from metrics.histogram import LONG, quantile
from ops.console.chart import HEIGHT, WIDTH, deploy_marks, draw_charts, line_path
from ops.console.samples import EVERY_S, QueueSample
from ops.depth.live_workers import LiveWorker, sum_waits


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
    assert charts == {"waiting": (3,), "rates": (1, 2), "oldest": (0,), "waits": (0, 0), "dead": (0,)}


def test_a_version_that_appears_is_a_mark_at_its_instant_and_one_that_leaves_is_none() -> None:
    versions = [(), ("1.0",), ("1.0", "1.1"), ("1.1",), ("1.1",)]
    samples = [replace(sample(900.0 * at, 1), versions=frozenset(one)) for at, one in enumerate(versions)]
    assert deploy_marks(samples) == ((WIDTH / 2, "1.1"),)
    assert all(chart.marks == ((WIDTH / 2, "1.1"),) for chart in draw_charts(samples))


def test_waits_of_all_workers_and_lanes_are_put_together() -> None:
    workers = [
        LiveWorker(id=str(number), host="h", pid=1, seen_ms=0, lanes={}, waits=waits)
        for number, waits in enumerate([{"mail.bulk": [0, 60]}, {"mail.bulk": [40], "reports": [0, 0, 100]}, {}])
    ]
    assert sum_waits(workers, "mail.bulk") == [40, 60]
    assert sum_waits(workers) == [40, 60, 100]
    assert sum_waits(workers, "mail.urgent") == []


@given(st.lists(st.integers(0, 1000), max_size=len(LONG) + 1), st.floats(0.01, 1))
def test_a_quantile_is_in_the_bucket_that_has_it(counts: list[int], part: float) -> None:
    found = quantile(LONG, counts, part)
    assert (found is None) == (sum(counts) == 0)
    if found is not None:
        below = sum(count for count, bound in zip(counts, LONG, strict=False) if bound < found)
        assert below <= part * sum(counts) + 1e-6
