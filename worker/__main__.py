"""The worker process: reads the settings and runs the lanes until SIGTERM.

Exit codes: 0 after a requested shutdown; 1 if the shutdown was cut off before every outcome was recorded; 2 if the
settings or the report files cannot be used.
"""

import gc

if __name__ == "__main__":
    gc.disable()  # until all is loaded and frozen: scanning what is being loaded takes a tenth of the start

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import uvloop

import log
from metrics.place import ListenPlace, bind
from metrics.promise import Promise, read_promises
from metrics.service_manager import keep_notified
from producers.link.address import read_address
from settings import Settings, load_or_exit
from worker.duties import WorkerDuties, read_reports, reveal_secret, sends_mails
from worker.engine import Worker
from worker.engine.exit_deadline import run_to_its_end
from worker.events import emit, event
from worker.health import health_of
from worker.own_jobs.load import OwnJobs, has_jobs, listed_modules, load_jobs
from worker.own_jobs.modules import JobModuleError
from worker.own_jobs.threads import end_process
from worker.promises import note_promises
from worker.reports.process import ReportsProcess, stop_with_input
from worker.tracing_sdk import export_rest, set_up_tracing

_NO_MAIL = event("worker.no_mail")

_EXIT_CONFIGURATION = 2
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
    except ValueError as error:
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
    from worker.own_jobs.reload import run_reloading, watched_places  # noqa: PLC0415  for development alone

    try:
        places = folders or watched_places(listed_modules(settings.worker.jobs), settings.worker.jobs_folder)
    except JobModuleError as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_CONFIGURATION
    if not places:
        sys.stderr.write("--reload: MOMENTUS_WORKER__JOBS names no module to watch; set it, or give folders\n")
        return _EXIT_CONFIGURATION
    gc.enable()
    return run_reloading(places, say=lambda line: sys.stderr.write(f"{line}\n"))


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
    if not (sends_mails(settings) or does_reports or has_jobs(settings.worker.jobs)):
        yield (
            "MOMENTUS_MAIL__HOST, MOMENTUS_POSTGRES_DSN and MOMENTUS_WORKER__JOBS: none is set (or the lanes "
            "have no slots), so this worker has nothing to do; set one, or start everything with ./run up"
        )


async def _work(settings: Settings, own: OwnJobs) -> None:
    """Run everything that the settings ask for; reports get their own process if there is anything else to run."""
    duties = WorkerDuties()
    async with AsyncExitStack() as stack:
        url = reveal_secret(settings.redis_url)
        if sends_mails(settings):
            await _add_mail(duties, stack, settings, url)
        else:
            emit(_NO_MAIL)
        if own.handlers:
            _add_own_jobs(duties, stack, settings, own)
        await _add_ledger(duties, stack, settings, url)
        reports = None
        if duties.functions and settings.postgres_dsn is not None and settings.worker.reports_slots:
            read_reports(settings)  # a wrong file ends this process
            reports = await stack.enter_async_context(ReportsProcess())
        elif settings.postgres_dsn is not None:
            await _add_reports(duties, stack, settings, url)
        await _run(duties, settings, url, _MetricsPlace("WORKER", settings.metrics.worker), reports)


async def _compute_reports(settings: Settings, _: OwnJobs) -> None:
    """Compute reports in a worker's second process."""
    duties = WorkerDuties()
    async with AsyncExitStack() as stack:
        url = reveal_secret(settings.redis_url)
        await _add_reports(duties, stack, settings, url)
        duties.facts["parent"] = os.getppid()  # the worker that starts it again when it ends
        stop_with_input(asyncio.get_running_loop())
        await _run(duties, settings, url, _MetricsPlace("REPORTS", settings.metrics.reports))


@dataclass(frozen=True, slots=True)
class _MetricsPlace:
    """Address at which this process serves its metrics, from one of the settings; empty: none."""

    setting: str
    text: str | None

    def serve(self, worker: Worker) -> AbstractAsyncContextManager[None]:
        """Serve a worker's metrics.

        Raises:
            ValueError: the place cannot be used; the message names the setting.
        """
        if self.text is None:
            return nullcontext()
        from worker.metrics import serve_metrics  # noqa: PLC0415  only where they are asked for

        place = ListenPlace.read(self.text)
        try:
            return serve_metrics(worker, bind(place), place)
        except OSError as error:
            raise ValueError(
                f"MOMENTUS_METRICS__{self.setting}: cannot listen on {place}: {error.strerror}; name another port "
                "(0 = any free one) or path; each process needs one of its own"
            ) from None


async def _run(
    duties: WorkerDuties,
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
        gc.enable()
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


def _worker(duties: WorkerDuties, settings: Settings, url: str) -> Worker:
    return Worker(
        duties.functions,
        redis_url=url,
        lanes=[lane for lane in duties.lanes if lane.slots],
        max_running=settings.worker.max_running,
        limits=duties.limits,
        lane_limits=duties.lane_limits,
        crons=duties.crons,
        policies=duties.policies,
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


# What a process does not do, it does not import.


async def _add_mail(duties: WorkerDuties, stack: AsyncExitStack, settings: Settings, url: str) -> None:
    from worker.mail.duties import add_mail  # noqa: PLC0415  as said above

    await add_mail(duties, stack, settings, url)


def _add_own_jobs(duties: WorkerDuties, stack: AsyncExitStack, settings: Settings, own: OwnJobs) -> None:
    from worker.own_jobs.duties import add_own_jobs  # noqa: PLC0415  as said above

    add_own_jobs(duties, stack, settings, own)


async def _add_ledger(duties: WorkerDuties, stack: AsyncExitStack, settings: Settings, url: str) -> None:
    """Add this worker's part of the ledger, if it runs jobs that a ledger may have."""
    if settings.postgres_dsn is None or not duties.functions:
        return
    from worker.ledger.service import run_ledger  # noqa: PLC0415  as said above

    dsn = reveal_secret(settings.postgres_dsn)
    service = await stack.enter_async_context(run_ledger(dsn, url, relays=settings.ledger.relay == "on"))
    duties.ledger_marks = service.marks


async def _add_reports(duties: WorkerDuties, stack: AsyncExitStack, settings: Settings, url: str) -> None:
    from worker.reports.duties import add_reports  # noqa: PLC0415  as said above

    await add_reports(duties, stack, settings, url)


if __name__ == "__main__":
    end_process(main())
