"""The engine: arq's wire and interface, moved by batched scripts, leases and a blocking wake-up."""

from worker.engine.cron import Cron as Cron
from worker.engine.lane import LaneSlots as LaneSlots
from worker.engine.outcome import GiveUp as GiveUp, TryLater as TryLater
from worker.engine.schedule import Schedule as Schedule
from worker.engine.standin import StandIn as StandIn
from worker.engine.worker import Worker as Worker
