"""Duties of one worker process: its functions, lanes, crons and limits, which each part of it adds.

The parts are in their rooms (`worker.mail.duties`, `worker.reports.duties`, `worker.own_jobs.duties`). A process
imports only those that it takes on, since imports take most of the start.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from jobs.lanes import MAIL_BULK, MAIL_NORMAL, MAIL_URGENT
from jobs.policy import Policy
from producers.limits.limit import LaneLimit
from settings import Settings
from worker.build import read_version
from worker.engine import Cron, Function, LaneSlots, Limit

if TYPE_CHECKING:
    from reports import Report
    from worker.engine.effect_marks import LedgerMarking


@dataclass(slots=True)
class WorkerDuties:
    """The functions, lanes, crons and limits that this process takes on."""

    functions: list[Function] = field(default_factory=list)
    context: dict[object, object] = field(default_factory=dict, repr=False)
    lanes: list[LaneSlots] = field(default_factory=list)
    crons: list[Cron] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    lane_limits: dict[str, LaneLimit] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    ledger_marks: "LedgerMarking | None" = None
    facts: dict[str, object] = field(default_factory=lambda: {"version": read_version()}, repr=False)


def sends_mails(settings: Settings) -> bool:
    """Return True if this worker has a mail server and slots for mails; otherwise it leaves them to others."""
    named = settings.mail.host or settings.mail.accounts
    return named is not None and any(lane.slots for lane in mail_lanes(settings))


def mail_lanes(settings: Settings) -> list[LaneSlots]:
    """Return the lanes of mails with the slots of the settings, in the order of their precedence."""
    slots = settings.worker
    return [
        LaneSlots(MAIL_URGENT, slots.urgent_slots),
        LaneSlots(MAIL_NORMAL, slots.normal_slots),
        LaneSlots(MAIL_BULK, slots.bulk_slots),
    ]


def reveal_secret(value: SecretStr | None) -> str:
    """Return the text of a secret setting, "" without one."""
    return "" if value is None else value.get_secret_value()


def read_reports(settings: Settings) -> "Mapping[str, Report]":
    """Read the report files.

    Raises:
        ReportError: one of them is wrong.
    """
    from reports import load_reports  # noqa: PLC0415  only a worker with a database has reports

    return load_reports(settings.reports.path and Path(settings.reports.path), shipped=settings.reports.shipped)
