"""What is printed: the conditions, then one table for each question, then our figures over the others'. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.queue_peers.figures import markdown, ratio, short, summary
from bench.queue_peers.peers import OURS, OWN, OWN_PROCESS, OWN_THREAD

Column = tuple[str, str]
"""A figure's name and its heading."""

SPEED: tuple[Column, ...] = (
    ("drain", "drain, 1 process, jobs/s"),
    ("drain two", "drain, 2 processes, jobs/s"),
    ("bulk", "bulk enqueue, jobs/s"),
    ("enqueue p50", "enqueue p50 ms"),
    ("enqueue p99", "enqueue p99 ms"),
    ("pickup p50", "pick-up p50 ms"),
    ("pickup p99", "pick-up p99 ms"),
)
COST: tuple[Column, ...] = (
    ("memory", "bytes per waiting job"),
    ("cpu", "server CPU µs per job"),
    ("commands", "commands per job, those in scripts included"),
    ("reads", "socket reads per job"),
)
RATIOS: tuple[Column, ...] = (
    ("drain", "drain 1"),
    ("drain two", "drain 2"),
    ("bulk", "bulk"),
    ("enqueue p50", "enqueue p50"),
    ("enqueue p99", "enqueue p99"),
    ("pickup p50", "pick-up p50"),
    ("pickup p99", "pick-up p99"),
    ("memory", "memory"),
    ("cpu", "server CPU"),
)
CRASH: tuple[Column, ...] = (("crash", "s from SIGKILL to the re-run"),)


@dataclass(slots=True)
class Row:
    """What is known of one peer: its figures of all rounds, and why there are no more, if so."""

    facts: tuple[str, ...]
    figures: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""

    def add(self, figures: Mapping[str, float]) -> None:
        """One round's figures."""
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)

    def get(self, name: str) -> list[float]:
        """A figure of all rounds; empty when it was not taken."""
        return self.figures.get(name, [])


def report(rows: Mapping[str, Row], facts: Sequence[str]) -> Iterator[str]:
    """The tables that have something in them.

    Args:
        rows: by the peer's name.
        facts: headings of what every row says of its peer.
    """
    for title, columns, shown in (("Speed", SPEED, facts), ("What it costs the server", COST, ())):
        yield from _table(title, rows, columns, shown)
    for reference in (OURS, OWN):
        yield from _ratios(reference.name, rows)
    yield from _places(rows)
    yield from _table("After SIGKILL", rows, CRASH, ())


def _table(title: str, rows: Mapping[str, Row], columns: Sequence[Column], facts: Sequence[str]) -> Iterator[str]:
    """A table, unless it would be empty. Why a peer failed stands in the one that also has the facts."""
    taken = _taken(rows, columns)
    lines = [
        [_name(name, row, facts), *row.facts[: len(facts)], *(summary(row.get(one)) for one, _ in taken)]
        for name, row in rows.items()
        if _taken({name: row}, taken) or (facts and row.failure)
    ]
    if lines:
        yield f"### {title}\n\n" + markdown(["library", *facts, *(heading for _, heading in taken)], lines)


def _name(name: str, row: Row, facts: Sequence[str]) -> str:
    return f"{name}: {row.failure}" if facts and row.failure else name


def _ratios(reference: str, rows: Mapping[str, Row]) -> Iterator[str]:
    ours = rows.get(reference)
    taken = _taken({reference: ours}, RATIOS) if ours else []
    others = {name: row for name, row in rows.items() if row is not ours and _taken({name: row}, taken)}
    if not ours or not others:
        return
    lines = [[name, *(ratio(ours.get(one), row.get(one)) for one, _ in taken)] for name, row in others.items()]
    title = f"### {reference} over the other: of rates more is better, of times, memory and CPU less"
    yield title + "\n\n" + markdown(["library", *(heading for _, heading in taken)], lines)


def _places(rows: Mapping[str, Row]) -> Iterator[str]:
    """What a job of an own kind costs more in a thread or child than in the event loop, by medians of one run."""
    loop = rows.get(OWN.name)
    lines = [
        [peer.name, _more(loop, row, "drain", _milliseconds_a_job), _more(loop, row, "pickup p50", float)]
        for peer in (OWN_THREAD, OWN_PROCESS)
        if loop and (row := rows.get(peer.name)) and _taken({"": row}, RATIOS)
    ]
    if lines:
        heads = ["library", "ms a job (drain, 1 process)", "pick-up p50 ms"]
        yield f"### What it costs more than {OWN.name}\n\n" + markdown(heads, lines)


def _more(loop: Row, other: Row, name: str, cost: Callable[[float], float]) -> str:
    if not loop.get(name) or not other.get(name):
        return "-"
    return short(cost(median(other.get(name))) - cost(median(loop.get(name))))


def _milliseconds_a_job(rate: float) -> float:
    return 1000 / rate


def _taken(rows: Mapping[str, Row], columns: Sequence[Column]) -> list[Column]:
    """The columns in which any row has a figure."""
    return [column for column in columns if any(row.get(column[0]) for row in rows.values())]
