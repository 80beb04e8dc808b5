"""The worker process: reads the settings and runs the lanes until SIGTERM.

Exit codes: 0 after a requested shutdown; 1 if the shutdown was cut off before every outcome was recorded; 2 if the
settings or the report files cannot be used.
"""

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from email.utils import parseaddr
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import uvloop
from pydantic import SecretStr

import background
import log
from jobs import Mail, Policy, RefreshReport
from jobs.lanes import MAIL_BULK, MAIL_NORMAL, MAIL_URGENT, REPORTS
from jobs.mail.address import PRIVATE_DOMAINS, normal_address
from jobs.mail.letter import LetterSender
from jobs.mail.seal import InvalidKeyRing, KeyRing
from metrics.place import ListenPlace, bind
from metrics.promise import Promise, read_promises
from metrics.service_manager import keep_notified
from producers import Producer
from producers.limits.limit import LaneLimit
from producers.link import Link
from producers.link.address import read_address
from producers.link.client import connect
from reports import Report, ReportError, load_reports
from reports.boards import boards_of
from reports.bounds import ReportBounds
from reports.outbox_postgres import Outbox
from reports.source_postgres import Source
from reports.store import ReportStore
from settings import MailSettings as MailSettings, Settings, load_or_exit, read_secret
from worker.build import read_version
from worker.engine import Cron, Function, LaneSlots, Limit, Worker
from worker.engine.effect_marks import LedgerMarking
from worker.engine.exit_deadline import run_to_its_end
from worker.engine.handler import handler
from worker.events import emit, event
from worker.health import health_of
from worker.ledger.service import run_ledger
from worker.mail.accounts.gate import GateTimes, limit_key
from worker.mail.accounts.setup import (
    AccountConfiguration,
    AccountSize,
    limit_of,
    read_configuration,
    run_accounts,
)
from worker.mail.base64url import decode_base64url
from worker.mail.deliver import Mailer, mail_handler
from worker.mail.erase import KIND as ERASE, Eraser, erase_cron, erase_mails
from worker.mail.mode_hold import apply_mode_hold
from worker.mail.modes import Safety
from worker.mail.policies import MailPolicies
from worker.mail.sent import SentRegister
from worker.mail.smtp.server import Server
from worker.mail.suppression import SuppressionList
from worker.mail.template_notes import log_template_notes
from worker.metrics import serve_metrics
from worker.own_jobs import reload
from worker.own_jobs.duties import crons_of, functions_of, own_lanes, unserved_lanes
from worker.own_jobs.load import OwnJobs, has_jobs, listed_modules, load_jobs
from worker.own_jobs.modules import JobModuleError
from worker.own_jobs.processes import Processes
from worker.own_jobs.reload import watched_places
from worker.own_jobs.threads import Threads, end_process
from worker.promises import note_promises
from worker.reports.audit import KIND as AUDIT, Auditor, audit_cron, audit_reports
from worker.reports.clocks import Clocks
from worker.reports.prober import Prober
from worker.reports.process import ReportsProcess, stop_with_input
from worker.reports.refresh import refresh_report
from worker.reports.refresh_context import RefreshContext
from worker.tracing_sdk import export_rest, set_up_tracing

if TYPE_CHECKING:
    from jobs.mail.dkim import Signer

_NO_MAIL = event("worker.no_mail")
_LANE_UNSERVED = event("worker.lane_unserved")

_EXIT_CONFIGURATION = 2
_ANSWER_SECONDS = 5
_TURN_SECONDS = 0.0005
"""Switch interval after which a thread that computes a report yields to the event loop. Python's default of 5 ms
delays mails."""
_OBJECTS_BETWEEN_COLLECTIONS = 10_000
"""More objects than a hundred running jobs have, so that a collection finds few live ones to scan."""


def main() -> int:
    """Run until a signal and return the exit code."""
    asked = _arguments().parse_args()
    settings = load_or_exit()
    log.set_up(settings.log_format, settings.log_level)
    if asked.reload is not None:
        return _run_reloading(settings, asked.reload)
    if missing := list(_missing(settings)):
        sys.stderr.write("\n".join(missing) + "\n")
        return _EXIT_CONFIGURATION
    try:
        own = load_jobs("" if asked.only_reports else settings.worker.jobs, settings.worker.jobs_folder)
        set_up_tracing(settings.worker.tracing)  # a job module may have set up OpenTelemetry
        work = _compute_reports if asked.only_reports else _work
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            run_to_its_end(runner.get_loop(), log.run_watched(work(settings, own)))
    except (ReportError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_CONFIGURATION
    finally:
        export_rest()
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run worker", description="Run jobs until SIGTERM or Ctrl-C.")
    parser.add_argument(
        "--reload",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="for development: restart when a Python file of your job modules, or of these folders, changes",
    )
    parser.add_argument(
        "--only-reports",
        action="store_true",
        help="compute reports and do nothing else, until standard input ends; a worker that does more starts this",
    )
    return parser


def _run_reloading(settings: Settings, folders: Sequence[Path]) -> int:
    """Run a worker that is restarted when its code changes."""
    if wrong := [folder for folder in folders if not folder.is_dir()]:
        sys.stderr.write(f"--reload: {wrong[0]} is not a folder\n")
        return _EXIT_CONFIGURATION
    try:
        places = folders or watched_places(listed_modules(settings.worker.jobs), settings.worker.jobs_folder)
    except JobModuleError as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_CONFIGURATION
    if not places:
        sys.stderr.write("--reload: MOMENTUS_WORKER__JOBS names no module to watch; set it, or give folders\n")
        return _EXIT_CONFIGURATION
    return reload.run_reloading(places, say=lambda line: sys.stderr.write(f"{line}\n"))


def _missing(settings: Settings) -> Iterator[str]:
    """Yield an error message for each setting that is missing or that no worker can use."""
    if settings.redis_url is None:
        yield "MOMENTUS_REDIS_URL: is not set; name a server, or start everything with ./run up, which embeds one"
    else:
        try:
            read_address(settings.redis_url.get_secret_value())
        except ValueError as error:
            yield f"MOMENTUS_REDIS_URL: {error}"
    does_reports = settings.postgres_dsn and settings.worker.reports_slots
    if not (_sends_mails(settings) or does_reports or has_jobs(settings.worker.jobs)):
        yield (
            "MOMENTUS_MAIL__HOST, MOMENTUS_POSTGRES_DSN and MOMENTUS_WORKER__JOBS: none is set (or the lanes "
            "have no slots), so this worker has nothing to do; set one, or start everything with ./run up"
        )


def _sends_mails(settings: Settings) -> bool:
    """Return True if this worker has a mail server and slots for mails; otherwise it leaves them to others."""
    named = settings.mail.host or settings.mail.accounts
    return named is not None and any(lane.slots for lane in _mail_lanes(settings))


@dataclass(slots=True)
class _Duties:
    """The functions, lanes, crons and limits that this process takes on."""

    functions: list[Function] = field(default_factory=list)
    context: dict[object, object] = field(default_factory=dict)
    lanes: list[LaneSlots] = field(default_factory=list)
    crons: list[Cron] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    lane_limits: dict[str, LaneLimit] = field(default_factory=dict)
    policies: Mapping[str, Policy] = field(default_factory=dict)
    ledger_marks: LedgerMarking | None = None
    facts: dict[str, object] = field(default_factory=lambda: {"version": read_version()})


async def _work(settings: Settings, own: OwnJobs) -> None:
    """Do all that the settings say, reports in a process of their own if there is anything else to do."""
    duties = _Duties()
    async with AsyncExitStack() as stack:
        url = _secret(settings.redis_url)
        if _sends_mails(settings):
            await _add_mail(duties, stack, settings, url)
        else:
            emit(_NO_MAIL)
        _add_own_jobs(duties, stack, settings, own)
        await _add_ledger(duties, stack, settings, url)
        reports = None
        if duties.functions and settings.postgres_dsn is not None and settings.worker.reports_slots:
            _load_reports(settings)  # a wrong file ends this process
            reports = await stack.enter_async_context(ReportsProcess())
        elif settings.postgres_dsn is not None:
            await _add_reports(duties, stack, settings, url)
        await _run(duties, settings, url, _MetricsPlace("WORKER", settings.metrics.worker), reports)


async def _compute_reports(settings: Settings, _: OwnJobs) -> None:
    """Do what a worker's process for reports does."""
    duties = _Duties()
    async with AsyncExitStack() as stack:
        url = _secret(settings.redis_url)
        await _add_reports(duties, stack, settings, url)
        duties.facts["parent"] = os.getppid()  # the worker that starts it again when it ends
        stop_with_input(asyncio.get_running_loop())
        await _run(duties, settings, url, _MetricsPlace("REPORTS", settings.metrics.reports))


@dataclass(frozen=True, slots=True)
class _MetricsPlace:
    """Place at which this process serves its metrics, by one of the settings; without a text none."""

    setting: str
    text: str | None

    def serve(self, worker: Worker) -> AbstractAsyncContextManager[None]:
        """Serve a worker's metrics.

        Raises:
            ValueError: the place cannot be used; the message names the setting.
        """
        if self.text is None:
            return nullcontext()
        place = ListenPlace.read(self.text)
        try:
            return serve_metrics(worker, bind(place), place)
        except OSError as error:
            raise ValueError(
                f"MOMENTUS_METRICS__{self.setting}: cannot listen on {place}: {error.strerror}; name another port "
                "(0 = any free one) or path; each process needs one of its own"
            ) from None


async def _run(
    duties: _Duties,
    settings: Settings,
    url: str,
    metrics: _MetricsPlace,
    reports: ReportsProcess | None = None,
) -> None:
    """Run the jobs of these duties until a signal."""
    worker = _worker(duties, settings, url)
    if reports is not None:
        reports.stop_at_signals()  # after the worker, whose handlers come first
    try:
        serving = metrics.serve(worker)  # before the freeze, since it loads a library
        gc.collect()
        gc.freeze()  # loaded modules stay alive: scanning them in each collection takes a twentieth of the time
        sys.setswitchinterval(_TURN_SECONDS)
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        promises = note_promises(url, _promises(settings), tenant=settings.tenant)
        async with serving, promises, keep_notified(health_of(worker)):
            await worker.async_run()
    finally:
        await worker.close()


def _promises(settings: Settings) -> Sequence[Promise]:
    """Return the promises of service to note. Raises ValueError."""
    try:
        return read_promises(settings.worker.promises or "")
    except ValueError as error:
        raise ValueError(f"MOMENTUS_WORKER__PROMISES: {error}") from None


def _worker(duties: _Duties, settings: Settings, url: str) -> Worker:
    return Worker(
        duties.functions,
        redis_url=url,
        lanes=[lane for lane in duties.lanes if lane.slots],
        max_running=settings.worker.max_running,
        limits=duties.limits,
        lane_limits=duties.lane_limits,
        crons=duties.crons,
        policies={
            Mail.kind: replace(Mail.policy, horizon=settings.mail.horizon),
            RefreshReport.kind: RefreshReport.policy,
            **duties.policies,
        },
        lease=settings.worker.lease,
        renew_every=settings.worker.lease_renew,
        grace=settings.worker.grace,
        crash_limit=settings.worker.crash_limit,
        confirm_replicas=settings.worker.confirm_replicas,
        keep_result=settings.worker.keep_result,
        ledger_marks=duties.ledger_marks,
        ctx=duties.context,
        facts=duties.facts,
    )


def _add_own_jobs(duties: _Duties, stack: AsyncExitStack, settings: Settings, own: OwnJobs) -> None:
    """Add the backend's own kinds."""
    if not own.handlers:
        return
    threads = Threads()
    stack.callback(threads.close)
    size = settings.worker.processes or os.cpu_count() or 1
    processes = Processes(
        size,
        [",".join(own.modules), settings.log_format, settings.log_level],
        settings.worker.jobs_folder,
        jobs_each=settings.worker.process_jobs,
    )
    stack.push_async_callback(processes.close)
    duties.functions += functions_of(own, threads, processes)
    duties.lanes += own_lanes(settings.worker.lanes, settings.worker.jobs_slots)
    for one in unserved_lanes(own, duties.lanes, text=settings.worker.lanes):
        emit(_LANE_UNSERVED, lane=one.lane, kinds=one.kinds, setting=one.setting)
    duties.crons += crons_of(own)
    duties.limits += own.limits
    duties.policies = {kind: handler.job.policy for kind, handler in own.handlers.items()}


async def _add_mail(duties: _Duties, stack: AsyncExitStack, settings: Settings, url: str) -> None:
    if settings.mail.templates is not None:
        log_template_notes(settings.mail.templates)
    link = Link(url, "{mail}")
    stack.push_async_callback(link.close)
    accounts = _accounts(settings.mail, link)
    duties.context["mailer"] = await stack.enter_async_context(_mailer(settings, accounts, link))
    duties.context["eraser"] = await stack.enter_async_context(_eraser(settings, url))
    duties.functions += [
        mail_handler(keep_result=settings.mail.keep_journal),
        handler(erase_mails, kind=ERASE),
    ]
    duties.lanes += _mail_lanes(settings)
    duties.crons.append(erase_cron())
    duties.limits += [limit_of(one.account) for one in accounts.configured]
    duties.lane_limits |= _lane_limits(duties.lanes, accounts)


async def _add_ledger(duties: _Duties, stack: AsyncExitStack, settings: Settings, url: str) -> None:
    """Add what this worker does for the ledger, if it runs jobs that may be of one."""
    if settings.postgres_dsn is None or not duties.functions:
        return
    dsn = _secret(settings.postgres_dsn)
    service = await stack.enter_async_context(run_ledger(dsn, url, relays=settings.ledger.relay == "on"))
    duties.ledger_marks = service.marks


async def _add_reports(duties: _Duties, stack: AsyncExitStack, settings: Settings, url: str) -> None:
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


@asynccontextmanager
async def _mailer(settings: Settings, accounts: AccountConfiguration, link: Link) -> AsyncIterator[Mailer]:
    mail = settings.mail
    weights = [lane.slots for lane in _mail_lanes(settings)]
    size = AccountSize(connections=mail.connections, messages=mail.messages_per_connection, weights=weights)
    times = GateTimes(life=settings.worker.lease, renew_every=settings.worker.lease_renew)
    policies = _mail_policies(mail, link)
    async with (
        run_accounts(accounts.configured, link, size=size, times=times) as carriers,
        apply_mode_hold(link, mail.mode),
    ):
        try:
            yield Mailer(carriers, _sender(mail.sender), accounts.streams, policies, mail.attachments)
        finally:
            await policies.wait_for_notes()


@asynccontextmanager
async def _eraser(settings: Settings, url: str) -> AsyncIterator[Eraser]:
    link = Link(url, "{mail}")
    try:
        yield Eraser(link, settings.mail.erase_after)
    finally:
        await link.close()


def _mail_policies(mail: MailSettings, link: Link) -> MailPolicies:
    """Return the policies for mails: seal keys, safety mode, suppression, sent register, signature.

    Raises:
        ValueError: a key cannot be read; the message names the setting.
    """
    try:
        ring = KeyRing.optional(_secret(mail.seal_keys), decode=decode_base64url)
    except InvalidKeyRing as error:
        raise ValueError(f"MOMENTUS_MAIL__SEAL_KEYS: {error.reason}") from None
    domains = (mail.allowed_domains or "").lower().replace(",", " ").split()
    return MailPolicies(
        ring=ring,
        safety=Safety(mode=mail.mode, redirect_to=mail.redirect_to or "", allowed_domains=frozenset(domains)),
        suppression=SuppressionList(link),
        sent=SentRegister(link, days=mail.bounce_days),
        signer=_signer(mail),
    )


def _signer(mail: MailSettings) -> "Signer | None":
    """Return the signer of the DKIM settings; None without a key.

    Raises:
        ValueError: the key cannot be used; the message names the setting.
    """
    if not (key := _secret(mail.dkim_key)):
        return None
    from jobs.mail.dkim import load_signer  # noqa: PLC0415  with cryptography, for which others need not wait

    return load_signer(key, domain=mail.dkim_domain or "", selector=mail.dkim_selector or "")


def _accounts(mail: MailSettings, link: Link) -> AccountConfiguration:
    """Return the accounts of the accounts file, or the one account of the settings.

    Raises:
        ValueError: the file cannot be read or is invalid; the message names the setting.
    """
    if mail.accounts is None:
        return AccountConfiguration.of_one(
            Server(
                mail.host or "",
                mail.port,
                mail.tls,
                mail.username or "",
                _secret(mail.password),
                ca_file=str(mail.ca_file or ""),
                ehlo_name=mail.ehlo_name or "",
            )
        )
    try:
        return read_configuration(
            mail.accounts,
            link,
            here_only=mail.mode == "sink",
            read_secret=_secret_file,
            ehlo_name=mail.ehlo_name or "",
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"MOMENTUS_MAIL__ACCOUNTS: {mail.accounts}: {error}") from None


def _secret_file(path: Path) -> str:
    return read_secret(path, twice=False)


def _lane_limits(lanes: Sequence[LaneSlots], accounts: AccountConfiguration) -> Mapping[str, LaneLimit]:
    """Return the limit of each mail lane: the budget of one of the accounts, the first that has room."""
    keys = tuple(limit_key(one.account.name) for one in accounts.configured)
    served = {lane.lane for lane in lanes if lane.slots}
    mail_lanes = served & {MAIL_URGENT, MAIL_NORMAL, MAIL_BULK}
    return {lane: LaneLimit(keys, urgent=lane == MAIL_URGENT) for lane in mail_lanes}


@asynccontextmanager
async def _refresher(settings: Settings, url: str) -> AsyncIterator[RefreshContext]:
    reports = _load_reports(settings)
    zone = ZoneInfo(settings.timezone)
    dsn = _secret(settings.postgres_dsn)
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


def _load_reports(settings: Settings) -> Mapping[str, Report]:
    """Read the report files. Raises ReportError."""
    return load_reports(settings.reports.path and Path(settings.reports.path), shipped=settings.reports.shipped)


def _mail_lanes(settings: Settings) -> list[LaneSlots]:
    slots = settings.worker
    return [
        LaneSlots(MAIL_URGENT, slots.urgent_slots),
        LaneSlots(MAIL_NORMAL, slots.normal_slots),
        LaneSlots(MAIL_BULK, slots.bulk_slots),
    ]


def _sender(text: str) -> LetterSender:
    """Parse ``Name <address>`` into a sender; the address passes the same checks as any other."""
    name, address = parseaddr(text)
    return LetterSender(
        normal_address(address, field="MOMENTUS_MAIL__SENDER", private_domains=PRIVATE_DOMAINS), name
    )


def _secret(value: SecretStr | None) -> str:
    return "" if value is None else value.get_secret_value()


if __name__ == "__main__":
    end_process(main())
