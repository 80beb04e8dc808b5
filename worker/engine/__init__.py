"""The engine: arq's wire format and interface, with batched scripts, leases and a blocking wake-up."""

from arq.worker import Function as Function

from jobs.schedule import Schedule as Schedule
from producers.limits.limit import (
    LaneLimit as LaneLimit,
    Limit as Limit,
    LimitError as LimitError,
    Rate as Rate,
    Window as Window,
)
from producers.limits.limits import Limits as Limits
from worker.engine.cron import Cron as Cron
from worker.engine.lane import LaneSlots as LaneSlots
from worker.engine.outcome import GiveUp as GiveUp, Park as Park, Suppress as Suppress, TryLater as TryLater
from worker.engine.worker import Worker as Worker
