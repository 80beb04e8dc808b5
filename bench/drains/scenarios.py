"""Drains to record: what is sent, to how many workers, and what happens on the way. Values without I/O.

All take a few minutes, since a forecast is about minutes and hours; the jobs wait instead of working, so that
other load of the machine changes little.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Final

from producers.limits import Limit, Rate

KIND: Final = "bench.drain"
LANE: Final = "mail.bulk"


@dataclass(frozen=True)
class DrainJob:
    """A job that does what its text says; see `worker_process.py`."""

    kind: ClassVar[str] = KIND
    lane: ClassVar[str] = LANE

    text: str

    def fingerprint(self) -> str:
        """Return its text."""
        return self.text

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        """Return its payload."""
        del job_id, now
        return {"text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A drain.

    Attributes:
        told: what happens in it, for the file.
        jobs: texts of the jobs that are sent at once.
        slots: of each worker.
        per_second, arrives_for: texts like those of the first job arrive at this pace, for so many seconds.
        limit: a limit to define; `named`: the jobs name it, else the lane needs it.
        kill_at: number of jobs that are left when the first worker is killed.
        ends_after: seconds after which the recording ends, although jobs wait.
    """

    told: str
    jobs: Sequence[str]
    slots: Sequence[int] = (20,)
    per_second: float = 0.0
    arrives_for: float = 0.0
    limit: Limit | None = None
    named: bool = False
    kill_at: int | None = None
    ends_after: float = 600.0
    seed: ClassVar[int] = 7


@dataclass(slots=True)
class _Maker:
    chance: random.Random = field(default_factory=lambda: random.Random(Scenario.seed))  # noqa: S311  no secrets

    def jobs(self, count: int, seconds: float) -> list[str]:
        """Return jobs that take half to one and a half times so long."""
        return [json.dumps({"s": round(seconds * self.chance.uniform(0.5, 1.5), 3)}) for _ in range(count)]

    def failing(self, count: int, seconds: float, waits: Sequence[float], share: float) -> list[str]:
        """Return jobs of which a share fails once, and of these a share again, and so on."""
        found = []
        for _ in range(count):
            fails = []
            for wait in waits:
                if self.chance.random() >= share:
                    break
                fails.append(wait)
            found.append(json.dumps({"s": seconds, "fails": fails}))
        return found


def scenarios() -> Mapping[str, Scenario]:
    """Return all scenarios by their names."""
    return _of_pace(_Maker()) | _of_limits(_Maker()) | _of_faults(_Maker())


def _of_pace(make: _Maker) -> dict[str, Scenario]:
    return {
        "even": Scenario(told="3,000 jobs of about a second, 20 slots", jobs=make.jobs(3000, 1.0)),
        "arrivals": Scenario(
            told="2,000 jobs of about a second, 20 slots; 8 more a second until it is empty",
            jobs=make.jobs(2000, 1.0),
            per_second=8.0,
            arrives_for=600.0,
        ),
        "growing": Scenario(
            told="600 jobs of about a second, 20 slots; 30 more a second for 80 s",
            jobs=make.jobs(600, 1.0),
            per_second=30.0,
            arrives_for=80.0,
        ),
    }


def _of_limits(make: _Maker) -> dict[str, Scenario]:
    return {
        "rate": Scenario(
            told="3,000 jobs of about 0.1 s, 20 slots; the lane needs a limit of 20 a second, 300 at once",
            jobs=make.jobs(3000, 0.1),
            limit=Limit("account:bench", (Rate(20, timedelta(seconds=1), burst=300),)),
        ),
        "places": Scenario(
            told="1,500 jobs of about 0.4 s that name a limit of 4 at once, 10 slots",
            jobs=make.jobs(1500, 0.4),
            slots=(10,),
            limit=Limit("customer:42", concurrency=4),
            named=True,
        ),
    }


def _of_faults(make: _Maker) -> dict[str, Scenario]:
    hanging = [json.dumps({"s": 0, "hangs": True})] * 60
    return {
        "killed": Scenario(
            told="2,600 jobs of about a second, two workers with 10 slots; one is killed when 1,500 jobs are left",
            jobs=make.jobs(2600, 1.0),
            slots=(10, 10),
            kill_at=1500,
        ),
        "stuck": Scenario(
            told="600 jobs of about a second, 20 slots, and then 60 that never end",
            jobs=[*make.jobs(600, 1.0), *hanging],
            ends_after=150.0,
        ),
        "retries": Scenario(
            told="2,400 jobs of 0.5 s, 10 slots; 30 of 100 fail and wait 10 s, of these 30 again and wait 20 s",
            jobs=make.failing(2400, 0.5, [10, 20], 0.3),
            slots=(10,),
        ),
    }
