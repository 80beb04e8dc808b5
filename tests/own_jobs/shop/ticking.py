"""A kind with a schedule, in a module of its own: only the worker of one test has it."""

from dataclasses import dataclass

from momentus_client.jobs import Job, Schedule, handles


@dataclass(frozen=True)
class Tick(Job, kind="clock.tick", lane="clock"):
    """Queued by its schedule with the defaults of its fields."""

    text: str = "tick"


@handles(Tick, schedule=Schedule())
async def tick(job: Tick) -> str:
    """Its text."""
    return job.text
