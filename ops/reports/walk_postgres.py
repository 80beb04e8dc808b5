"""Measurement of a dashboard's own query, run for some nodes as an application runs it for one.

The nodes are chosen evenly by the size of their subtrees, with the root and a leaf, so that the sample has both
the many small and the few large ones; the estimate for all is the mean times their number, with a range.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

import asyncpg

from ops.reports.facts_postgres import ReportProbe
from reports.day import Day
from reports.definition import bind_parameters
from reports.front_matter import HeadPlace, ReportError
from reports.node_ids import NodeId
from reports.tree import Tree

PARAMETERS = ("node", "now", "day_start", "day_end", "zone")


class WalkFailure(Exception):
    """A query that cannot be measured: it is not SQL, or the database refuses it."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Durations of the sampled nodes.

    Attributes:
        took_ms: the duration of each.
        nodes: the number of all nodes.
        root_ms: the duration of the root.
    """

    took_ms: Sequence[float]
    nodes: int
    root_ms: float

    @property
    def mean_ms(self) -> float:
        """Mean duration of one node."""
        return fmean(self.took_ms)

    def all_ms(self) -> tuple[float, float]:
        """Return the estimate for all nodes, and its error: 1.96 standard errors of the sample.

        >>> Walk([2.0, 2.0], 100, 2.0).all_ms()
        (200.0, 0.0)
        """
        if len(self.took_ms) < 2 or len(self.took_ms) >= self.nodes:  # noqa: PLR2004  one value has no spread
            return self.mean_ms * self.nodes, 0.0
        return self.mean_ms * self.nodes, 1.96 * stdev(self.took_ms) / sqrt(len(self.took_ms)) * self.nodes


def sample_nodes(tree: Tree, most: int) -> list[NodeId]:
    """Choose at most `most` nodes evenly by the sizes of their subtrees, from the smallest to the root."""
    sizes: dict[NodeId, int] = {}
    for node in tree.upwards:
        sizes[node] = 1 + sum(sizes[child] for child in tree.children[node])
    ordered = sorted(sizes, key=lambda node: (sizes[node], node))
    if len(ordered) <= most:
        return ordered
    return [ordered[round(place * (len(ordered) - 1) / (most - 1))] for place in range(most)]


async def measure_walk(
    look: ReportProbe, sql: str, tree: Tree, day: Day, *, most: int, seconds: float, file: str
) -> Walk:
    """Run the query for some nodes in sequence, within a time; the root is always among them.

    Raises:
        WalkFailure: the query cannot be measured.
    """
    try:
        query, names = bind_parameters(sql.strip().rstrip(";"), HeadPlace(file), PARAMETERS)
    except ReportError as error:
        raise WalkFailure(str(error)) from None
    if "node" not in names:
        raise WalkFailure(f"{file}: has no :node; write the query of one node, with :node for its id")
    values = {"now": look.snapshot.as_of, "day_start": day.start, "day_end": day.end, "zone": day.zone}
    root, *others = reversed(sample_nodes(tree, most))
    took: list[float] = []
    began = time.perf_counter()
    try:
        async with look.snapshot.part():
            statement = await look.connection.prepare(query)
            await _time_node(statement, names, values, root)  # fills caches, as earlier views do
            for node in (root, *_spread(others)):
                took.append(await _time_node(statement, names, values, node))
                if time.perf_counter() - began > seconds:
                    break
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise WalkFailure(f"{file}: {error}") from None
    return Walk(took, len(tree.nodes), took[0])


def _spread(nodes: list[NodeId]) -> list[NodeId]:
    """Order nodes in rounds of every fourth one, so that a sample cut short has small and large ones."""
    return [node for first in range(4) for node in nodes[first::4]]


async def _time_node(
    statement: "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]",
    names: Sequence[str],
    values: Mapping[str, object],
    node: NodeId,
) -> float:
    """Run the query for one node and return its duration in milliseconds."""
    began = time.perf_counter()
    await statement.fetch(*({**values, "node": node}[name] for name in names))
    return (time.perf_counter() - began) * 1000
