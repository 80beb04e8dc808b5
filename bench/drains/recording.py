"""Recorded drains as files: the facts of some instants, and when the lane was really empty.

The notes of the flow stand once in a file; each look has those that there were at its instant, and its own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from ops.depth.drain_facts import DrainFacts, LimitFacts
from ops.depth.flow import FlowNote
from ops.limits.budget import BucketBudget, LimitBudget
from producers.limits import Rate

_NOTES = 60
"""Those that workers keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDrain:
    """A drain as it really was.

    Attributes:
        made: by what, when and where.
        told: what happened.
        began_ms: the instant at which all jobs of the beginning were sent.
        done_ms: the instant at which no job waited any more; None: that was not seen.
        ended_ms: the instant at which the lane was empty; None: that was not seen.
        killed_ms: the instant at which a worker was killed, if one was.
        looks: facts by their instants (ms).
    """

    made: str
    told: str
    began_ms: int
    done_ms: int | None
    ended_ms: int | None
    killed_ms: int | None
    looks: Mapping[int, DrainFacts]

    def facts_at(self, at_ms: float) -> tuple[int, DrainFacts]:
        """Return the look nearest to an instant, with its own instant."""
        at = min(self.looks, key=lambda one: abs(one - at_ms))
        return at, self.looks[at]

    def write(self, file: Path) -> None:
        """Write a file, a line for each look."""
        notes = {one.at_ms: one for facts in self.looks.values() for one in facts.notes[:-1]}
        head = {
            name: getattr(self, name) for name in ("made", "told", "began_ms", "done_ms", "ended_ms", "killed_ms")
        }
        flow = json.dumps([notes[at] for at in sorted(notes)])
        looks = ",\n".join(json.dumps({"at_ms": at, **_plain(facts)}) for at, facts in self.looks.items())
        file.write_text(f'{json.dumps(head)[:-1]},\n"notes": {flow},\n"looks": [\n{looks}\n]}}\n', "utf-8")

    @classmethod
    def read(cls, file: Path) -> "RecordedDrain":
        """Read a file."""
        stored = json.loads(file.read_text("utf-8"))
        notes = [FlowNote(*numbers) for numbers in stored.pop("notes")]
        looks = {one.pop("at_ms"): one for one in stored.pop("looks")}
        return cls(**stored, looks={at: _facts(one, _until(notes, at)) for at, one in looks.items()})


def _until(notes: Sequence[FlowNote], at_ms: int) -> tuple[FlowNote, ...]:
    return tuple(one for one in notes if one.at_ms <= at_ms)[-_NOTES:]


def _plain(facts: DrainFacts) -> dict[str, Any]:
    fields = asdict(facts)
    fields["now"] = fields.pop("notes")[-1:]
    for name in ("needed", "named"):
        fields[name] = [_plain_limit(one) for one in getattr(facts, name)]
    return fields


def _plain_limit(limit: LimitFacts) -> dict[str, Any]:
    budget = limit.budget
    fields = {name: getattr(limit, name) for name in ("key", "blocked", "running", "places", "is_used_up")}
    rates = [
        {
            "count": one.rate.count,
            "per_s": one.rate.per.total_seconds(),
            "burst": one.rate.burst,
            "tokens": one.tokens,
        }
        for one in budget.rates
        if isinstance(one, BucketBudget)
    ]
    opens = None if budget.opens_in is None else budget.opens_in.total_seconds()
    return {**fields, "rates": rates, "pace": budget.pace, "reserve": budget.reserve, "opens_s": opens}


def _facts(stored: dict[str, Any], notes: tuple[FlowNote, ...]) -> DrainFacts:
    needed, named = (tuple(map(_limit, stored.pop(name))) for name in ("needed", "named"))
    now = tuple(FlowNote(*numbers) for numbers in stored.pop("now"))
    return DrainFacts(**stored, needed=needed, named=named, notes=(*notes, *now) if now else ())


def _limit(stored: dict[str, Any]) -> LimitFacts:
    rates = tuple(
        BucketBudget(rate=Rate(one["count"], timedelta(seconds=one["per_s"]), one["burst"]), tokens=one["tokens"])
        for one in stored.pop("rates")
    )
    opens = stored.pop("opens_s")
    budget = LimitBudget(
        rates=rates,
        pace=stored.pop("pace"),
        reserve=stored.pop("reserve"),
        opens_in=None if opens is None else timedelta(seconds=opens),
    )
    return LimitFacts(**stored, budget=budget)
