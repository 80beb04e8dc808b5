"""`./run up`: all processes on this machine, until Ctrl-C or SIGTERM; embeds the servers that are not configured.

An embedded Postgres that is still empty gets an invented organisation, so that there is something to see;
a configured one is never written to.
"""

import asyncio
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from local.demo.company_postgres import Company
from local.errors import EmbeddedError
from local.installation import (
    Installation,
    InstallationPlan,
    assemble_installation,
    remove_addresses,
    write_addresses,
)
from local.organisation import OrganisationSize, generate_organisation
from local.supervisor.console_log import console_log
from local.supervisor.supervisor import supervise
from local.texts import WORDS
from local.welcome import print_welcome
from ops.command_parser import terminal_text
from ops.language import terminal_language

_EXIT_CONFIGURATION = 2
_SEED = 2026


def run_up(plan: InstallationPlan) -> int:
    """Run the plan and return the exit code."""
    if plan.postgres_dsn is None:
        plan = replace(plan, before_worker=_fill_if_empty)
    try:
        installation = assemble_installation(plan)
        addresses = write_addresses(installation, plan.data_dir)
    except EmbeddedError as error:
        print(terminal_text(str(error)), file=sys.stderr)
        return _EXIT_CONFIGURATION
    try:
        return _run(installation)
    finally:
        remove_addresses(addresses)


def _run(installation: Installation) -> int:
    language = terminal_language(os.environ)
    say = partial(print, flush=True)
    say(WORDS[language]["starting"])
    log = console_log([process.name for process in installation.processes], sys.stderr)
    meanwhile = print_welcome(installation, language, say)
    return asyncio.run(supervise(installation.processes, log=log, meanwhile=meanwhile))


async def _fill_if_empty(dsn: str) -> None:
    async with Company(dsn) as company:
        if await company.is_empty():
            await company.replace_rows(
                generate_organisation(OrganisationSize(), seed=_SEED, now=datetime.now(UTC))
            )
