"""The advice follows from the numbers alone: fix, compute ahead, or leave it."""

import pytest

from ops.reports.advice import Measurement, advise_on
from ops.reports.walk_postgres import Walk, sample_nodes
from reports.tree import Node, grow_tree


@pytest.mark.parametrize(
    ("it", "do", "words"),
    [
        (Measurement(set_ms=5, walk_ms=1_533, statements=700), "fix", "700 statements"),
        (Measurement(set_ms=5, walk_ms=90_000, statements=700), "fix", "gives the same result in 5.0 ms"),
        (Measurement(set_ms=5, walk_ms=60, statements=21), "fix", "21 statements"),
        (Measurement(set_ms=5, walk_ms=60, statements=20), "leave", "60.0 ms"),
        (Measurement(set_ms=1_999, views=0.1), "leave", "2 s would be too slow"),
        (Measurement(set_ms=2_000, views=0.1), "precompute", "2 s is too slow"),
        (Measurement(set_ms=301, views=10), "precompute", "over 5 %"),
        (Measurement(set_ms=299, views=10), "leave", "5.0%"),
        (Measurement(set_ms=2_500, walk_ms=9_000, statements=700, views=1), "precompute", "9.0 s"),
        (Measurement(set_ms=5, walk_ms=3_000, statements=1, views=0.1), "precompute", "3.0 s"),
        (Measurement(set_ms=5, walk_ms=400, statements=1, views=10, refreshes=12), "precompute", "saves 98.5%"),
        (Measurement(set_ms=400, views=10, refreshes=12), "precompute", "saves no database time"),
    ],
)
def test_the_advice_follows_from_what_was_measured(it: Measurement, do: str, words: str) -> None:
    advice = advise_on(it)
    assert advice.do == do
    assert words in "; ".join(advice.reasons)


def test_what_is_saved_is_told_as_it_is_also_when_it_is_less_than_nothing() -> None:
    assert advise_on(Measurement(set_ms=5.3, walk_ms=1_533, statements=700, refreshes=12)).saved == pytest.approx(
        0.9959, abs=1e-4
    )
    assert advise_on(Measurement(set_ms=5.3, refreshes=12)).saved == pytest.approx(-0.2)


def test_all_nodes_are_reckoned_from_a_sample_with_what_it_may_be_off() -> None:
    assert Walk([1.0, 3.0], 2, 3.0).all_ms() == (4.0, 0.0)
    whole, give = Walk([1.0, 3.0], 100, 3.0).all_ms()
    assert whole == 200.0
    assert give == pytest.approx(196.0)


def test_small_and_large_subtrees_and_the_root_are_sampled() -> None:
    tree = grow_tree([Node(1, None, "", ""), *(Node(one, max(1, one // 2), "", "") for one in range(2, 100))])
    chosen = sample_nodes(tree, 9)
    assert len(chosen) == 9
    assert chosen[-1] == 1
    assert not tree.children[chosen[0]]
    assert sample_nodes(tree, 500)[-1] == 1
    assert len(sample_nodes(tree, 500)) == 99
