"""Duties of a worker for reports: the refresher, the auditor, and the prober beside them, from the settings."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from zoneinfo import ZoneInfo

import background
from jobs import RefreshReport
from jobs.lanes import REPORTS
from producers import Producer
from producers.link.client import connect
from reports.boards import boards_of
from reports.bounds import ReportBounds
from reports.outbox_postgres import Outbox
from reports.source_postgres import Source
from reports.store import ReportStore
from settings import Settings
from worker.duties import WorkerDuties, read_reports, reveal_secret
from worker.engine import LaneSlots
from worker.engine.handler import handler
from worker.reports.audit import KIND as AUDIT, Auditor, audit_cron, audit_reports
from worker.reports.clocks import Clocks
from worker.reports.prober import Prober
from worker.reports.refresh import refresh_report
from worker.reports.refresh_context import RefreshContext

_ANSWER_SECONDS = 5


async def add_reports(duties: WorkerDuties, stack: AsyncExitStack, settings: Settings, url: str) -> None:
    """Add what this worker does for reports; the stack ends it.

    Raises:
        ReportError: a report file is wrong.
    """
    refresher = await stack.enter_async_context(_refresher(settings, url))
    redis = connect(url, seconds=_ANSWER_SECONDS)
    stack.push_async_callback(redis.aclose)
    duties.context |= {"refresher": refresher, "auditor": Auditor(refresher, redis)}
    duties.functions += [
        handler(refresh_report, kind=RefreshReport.kind),
        handler(audit_reports, kind=AUDIT),
    ]
    duties.lanes.append(LaneSlots(REPORTS, settings.worker.reports_slots))
    duties.crons.append(audit_cron())
    duties.policies[RefreshReport.kind] = RefreshReport.policy


@asynccontextmanager
async def _refresher(settings: Settings, url: str) -> AsyncIterator[RefreshContext]:
    reports = read_reports(settings)
    zone = ZoneInfo(settings.timezone)
    dsn = reveal_secret(settings.postgres_dsn)
    slots = settings.worker.reports_slots
    source = Source(
        dsn,
        statement_timeout=settings.reports.statement_timeout,
        connections=max(1, slots),
        bounds=ReportBounds(nodes=settings.reports.most_nodes, mib=settings.reports.most_mib),
    )
    outbox = Outbox(dsn, tenant=settings.tenant, boards=boards_of(reports))
    redis = connect(url, seconds=_ANSWER_SECONDS)
    async with Producer.connect(url, tenant=settings.tenant, budget=2) as producer:
        store = ReportStore(redis, tenant=settings.tenant)
        clocks = Clocks(bound=settings.reports.clock_bound)
        refresher = RefreshContext(
            settings.tenant, reports, source, store, zone, outbox, clocks, settings.reports.whole_every
        )
        prober = background.start_task("prober", Prober(refresher, producer).run)
        try:
            yield refresher
        finally:
            await background.stop_tasks(prober)
            await store.keepers.release_boards()
            await outbox.close()
            await source.close()
            await redis.aclose()
