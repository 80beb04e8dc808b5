"""The worker process: settings in, lanes running, until SIGTERM.

Exit codes: 0 after a shutdown that was asked for; 2 when the settings or the report files cannot be used.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from email.utils import parseaddr
from pathlib import Path
from zoneinfo import ZoneInfo

import uvloop
from pydantic import SecretStr

import log
from jobs import Mail, RefreshReport
from jobs.lanes import MAIL_BULK, MAIL_NORMAL, MAIL_URGENT, REPORTS
from jobs.mail.address import normal_address
from jobs.mail.octets import Sender
from jobs.reports import ReportError, load_reports
from producers import Producer
from settings import Settings, load_or_exit
from worker.clock import run_clock
from worker.engine import LaneSlots, Worker, connection
from worker.engine.handler import handler
from worker.mail.deliver import Mailer, send_mail
from worker.mail.pool import Pool
from worker.mail.transport import Server
from worker.reports.refresh import Refresher, refresh_report
from worker.reports.source_postgres import Source
from worker.reports.store import ReportStore

_EXIT_CONFIGURATION = 2


def main() -> int:
    """Run until a signal; the exit code."""
    settings = load_or_exit()
    log.set_up(settings.log_format, settings.log_level)
    missing = [
        f"MOMENTUS_{name}: is not set; name a server, or start everything with ./run up, which embeds one"
        for name, value in (("REDIS_URL", settings.redis_url), ("MAIL__HOST", settings.mail.host))
        if value is None
    ]
    if missing:
        sys.stderr.write("\n".join(missing) + "\n")
        return _EXIT_CONFIGURATION
    try:
        uvloop.run(_work(settings))
    except (ReportError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_CONFIGURATION
    return 0


async def _work(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        url = _secret(settings.redis_url)
        mailer = await stack.enter_async_context(_mailer(settings))
        context: dict[object, object] = {"mailer": mailer}
        functions = [handler(send_mail, kind=Mail.kind)]
        lanes = _mail_lanes(settings)
        if settings.postgres_dsn is not None:
            refresher = await stack.enter_async_context(_refresher(settings, url))
            context["refresher"] = refresher
            functions.append(handler(refresh_report, kind=RefreshReport.kind))
            lanes.append(LaneSlots(REPORTS, settings.worker.reports_slots))
        worker = Worker(
            functions,
            redis_url=url,
            lanes=[lane for lane in lanes if lane.slots],
            policies={
                Mail.kind: replace(Mail.policy, horizon=settings.mail.horizon),
                RefreshReport.kind: RefreshReport.policy,
            },
            lease=settings.worker.lease,
            renew_every=settings.worker.lease_renew,
            grace=settings.worker.grace,
            crash_limit=settings.worker.crash_limit,
            keep_result=settings.worker.keep_result,
            ctx=context,
        )
        try:
            await worker.async_run()
        finally:
            await worker.close()


@asynccontextmanager
async def _mailer(settings: Settings) -> AsyncIterator[Mailer]:
    mail = settings.mail
    server = Server(mail.host or "", mail.port, mail.tls, mail.username or "", _secret(mail.password))
    pool = Pool(server, connections=mail.connections, messages=mail.messages_per_connection)
    try:
        yield Mailer(pool, _sender(mail.sender))
    finally:
        await pool.close()


@asynccontextmanager
async def _refresher(settings: Settings, url: str) -> AsyncIterator[Refresher]:
    reports = load_reports(settings.reports.path and Path(settings.reports.path))
    zone = ZoneInfo(settings.timezone)
    source = Source(_secret(settings.postgres_dsn), statement_timeout=settings.reports.statement_timeout)
    redis = connection.commands(url)
    async with Producer.connect(url, tenant=settings.tenant, budget=2) as producer:
        store = ReportStore(redis, tenant=settings.tenant)
        clock = asyncio.create_task(run_clock(reports, store, producer, zone))
        clock.add_done_callback(_raise_fault)
        try:
            yield Refresher(settings.tenant, reports, source, store, zone)
        finally:
            clock.cancel()
            await asyncio.gather(clock, return_exceptions=True)
            await source.close()
            await redis.aclose(close_connection_pool=True)


def _raise_fault(task: "asyncio.Task[None]") -> None:
    """A clock that stops by a fault of ours must not stop in silence: the loop's exception handler reports it."""
    if not task.cancelled() and (fault := task.exception()):
        raise fault


def _mail_lanes(settings: Settings) -> list[LaneSlots]:
    slots = settings.worker
    return [
        LaneSlots(MAIL_URGENT, slots.urgent_slots),
        LaneSlots(MAIL_NORMAL, slots.normal_slots),
        LaneSlots(MAIL_BULK, slots.bulk_slots),
    ]


def _sender(text: str) -> Sender:
    """``Name <address>`` as a sender; the address as strictly checked as any other."""
    name, address = parseaddr(text)
    return Sender(normal_address(address, field="MOMENTUS_MAIL__SENDER"), name)


def _secret(value: SecretStr | None) -> str:
    return "" if value is None else value.get_secret_value()


if __name__ == "__main__":
    sys.exit(main())
