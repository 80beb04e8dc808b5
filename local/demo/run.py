"""Run of the demo: start its servers, play the scenario, and keep them up for the user to look around."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import orjson
from redis.exceptions import RedisError

from local.demo.browser import Browser
from local.demo.company_postgres import Company
from local.demo.scenario import DemoContext, read_queue_depth, read_reports, send_mails
from local.errors import EmbeddedError
from local.installation import (
    GENERAL_MANAGER,
    Installation,
    InstallationPlan,
    assemble_installation,
    remove_addresses,
    write_addresses,
)
from local.organisation import OrganisationError, OrganisationSize, generate_organisation
from local.supervisor.process import SupervisorError
from local.supervisor.supervisor import Supervisor
from local.texts import WORDS
from ops.command_parser import terminal_text
from ops.depth.read import read_depth
from ops.language import terminal_language
from ops.stop_signal import until_stopped
from producers import Producer
from producers.link.client import connect

_EXIT_CONFIGURATION = 2
_SEED = 2026


class QueueInUse(Exception):
    """The configured Redis is in use; the demo does not touch it."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of the demo.

    Attributes:
        once: end after the scenario instead of staying up.
        as_json: one JSON object on stdout; progress goes to stderr.
        scale: size of the organisation; 1 is 700 nodes and 5,000 employees.
    """

    once: bool
    as_json: bool
    scale: float = 1.0


def run_demo(plan: InstallationPlan, options: DemoOptions, *, tenant: str) -> int:
    """Run the demo and return the exit code.

    Args:
        plan: servers and ports; embedded data is thrown away at the end. The addresses of the running servers are
            written to ``plan.data_dir`` for the ops commands.
        options: of the run.
        tenant: of the reports shown.
    """
    try:
        asyncio.run(until_stopped(_demo(plan, options, tenant)))
    except (EmbeddedError, SupervisorError, OrganisationError, QueueInUse) as error:
        print(terminal_text(str(error)), file=sys.stderr)
        return _EXIT_CONFIGURATION
    return 0


async def _demo(plan: InstallationPlan, options: DemoOptions, tenant: str) -> None:
    say = _narrator(sys.stderr if options.as_json else sys.stdout)
    scratch = _scratch()
    size = _size(options.scale)
    words = WORDS[terminal_language(os.environ)]
    say(words["loading"].format(nodes=size.nodes, employees=size.employees, checkins=size.checkins))

    async def fill(dsn: str) -> None:
        async with Company(dsn) as company:
            await company.replace_rows(generate_organisation(size, seed=_SEED, now=datetime.now(UTC)))

    plan_here = replace(plan, data_dir=scratch, durable=False, before_worker=fill)
    with ExitStack() as leaving:
        leaving.callback(shutil.rmtree, scratch, ignore_errors=True)
        log = leaving.enter_context((scratch / "demo.log").open("w", encoding="utf-8"))
        await _refuse_a_served_queue(plan)
        installation = assemble_installation(plan_here)
        addresses = write_addresses(installation, plan.data_dir)
        try:
            async with Supervisor(installation.processes, log=_to_file(log), scratch=scratch):
                await _tell(installation, options, tenant, say, words)
        finally:
            remove_addresses(addresses)


async def _refuse_a_served_queue(plan: InstallationPlan) -> None:
    """Raise for a Redis in use: its workers would take the demo's mails and might send them."""
    if plan.redis_url is None:
        return
    async with connect(plan.redis_url) as redis:
        try:
            depth = await read_depth(redis, tenant="")
        except (RedisError, OSError) as error:
            raise QueueInUse(
                f"MOMENTUS_REDIS_URL: Redis does not answer ({type(error).__name__}); "
                "start it, or unset the variable"
            ) from None
    if depth.workers or any(lane.ready or lane.leased or lane.scheduled for lane in depth.lanes):
        raise QueueInUse(
            "MOMENTUS_REDIS_URL: this Redis has workers or waiting jobs; the demo needs an unused one"
        )


async def _tell(
    installation: Installation,
    options: DemoOptions,
    tenant: str,
    say: Callable[[str], None],
    words: Mapping[str, str],
) -> None:
    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(
            Producer.connect(installation.redis_url, tenant=tenant, budget=2)
        )
        redis = await stack.enter_async_context(connect(installation.redis_url))
        company = await stack.enter_async_context(Company(installation.postgres_dsn))
        browser = await stack.enter_async_context(Browser(installation.plan.reader_port))
        context = DemoContext(producer, redis, company, browser, say, words, tenant)
        await _story(context, options)
        if not options.once:
            context.tell_step("stays")
            context.tell_step("manager")
            say(f"  {installation.links['page']}{GENERAL_MANAGER}\n")
            for name, link in installation.links.items():
                say(f"  {name:>8}  {link}")
            await asyncio.Event().wait()


async def _story(context: DemoContext, options: DemoOptions) -> None:
    facts = {"mails": await send_mails(context), "reports": await read_reports(context)}
    lanes = (await read_queue_depth(context)).to_json()["lanes"]
    if options.as_json:
        print(orjson.dumps({**facts, "depth": lanes}, option=orjson.OPT_INDENT_2).decode(), flush=True)


def _scratch() -> Path:
    """Return a folder that a server under another user may enter, and only enter."""
    scratch = Path(tempfile.mkdtemp(prefix="momentus-demo-"))
    scratch.chmod(0o711)
    return scratch


def _size(scale: float) -> OrganisationSize:
    whole = OrganisationSize()
    counts = {
        name: max(20, round(getattr(whole, name) * scale))
        for name in ("nodes", "employees", "memberships", "tasks", "checkins", "blockers")
    }
    return OrganisationSize(**counts)


def _narrator(stream: TextIO) -> Callable[[str], None]:
    return lambda line: print(line, file=stream, flush=True)


def _to_file(log: TextIO) -> Callable[[str, str], None]:
    return lambda name, line: print(f"{name} | {line}", file=log, flush=True)
