"""`ops reports forget`: remove at once the stored data of reports that no worker declares.

Readers stop serving such reports after a minute, and workers remove them a day later. Only this command removes
reports that were stored before workers recorded their declarations, and those of a tenant without a worker.
"""

import argparse
import re
from collections.abc import AsyncIterator
from datetime import timedelta

from ops.command import Command, CommandRefused, CommandResult, Tools
from producers.keys import catalogue
from reports.declarations import Declarations
from reports.keys import audit, closed, declared, snapshot, withdrawn

STILL = timedelta(seconds=10)
"""Time for which a declaration counts: workers repeat it about once a second, later if they wait for the
database."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


async def forget_reports(tools: Tools, args: argparse.Namespace) -> CommandResult:
    """Remove these reports; without names, list the removable ones. Raises CommandRefused and RedisError."""
    declarations = Declarations(tools.redis, tenant=tools.tenant)
    stored = await stored_reports(tools)
    ages = {report: await declarations.declared_ago(report) for report in {*stored, *args.names}}
    live = {report for report, age in ages.items() if age is not None and age < STILL}
    if not args.names and not args.all:
        idle = [report for report in stored if report not in live]
        return CommandResult(_listed(idle), {"undeclared": idle}, done=bool(idle))
    if claimed := sorted(live & set(args.names)):
        raise CommandRefused(
            f"NAME: a worker declares {', '.join(claimed)}; remove its file, restart the workers, "
            f"and try again after {STILL.seconds} s"
        )
    names = args.names or [report for report in stored if report not in live]
    removed = {report: await declarations.forget(report) for report in names}
    text = "\n".join(f"{report}: {keys} keys removed" for report, keys in removed.items()) or _listed([])
    return CommandResult(text, {"removed": removed}, done=any(removed.values()))


async def stored_reports(tools: Tools) -> list[str]:
    """Return all reports of the tenant with stored data, declared or not."""
    names = {name.decode() for name in await tools.redis.hkeys(catalogue(tools.tenant))}  # type: ignore[misc]  # typed for both clients
    names |= {name.decode() for name in await tools.redis.zrange(declared(tools.tenant), 0, -1)}
    for prefix in (key(tools.tenant, "") for key in (snapshot, withdrawn, audit)):
        names |= {name async for name in _named(tools, prefix)}
    prefix = closed(tools.tenant, "", "").removesuffix(":")
    return sorted(names | {name async for name in _named(tools, prefix)})


async def _named(tools: Tools, prefix: str) -> AsyncIterator[str]:
    pattern = re.sub(r"([\[\]*?\\])", r"\\\1", prefix) + "*"
    async for key in tools.redis.scan_iter(match=pattern, count=1000):
        name = key.decode(errors="replace").removeprefix(prefix).partition(":")[0]
        if _NAME.fullmatch(name):
            yield name


def _listed(idle: list[str]) -> str:
    if not idle:
        return "No stored report lacks a declaration."
    return f"Stored, but declared by no worker: {', '.join(idle)}\nRemove them: ./run ops reports forget NAME ..."


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="a report (default: only list them)")
    parser.add_argument("--all", action="store_true", help="all reports that no worker declares")


COMMANDS = (
    Command(
        "forget",
        "remove the stored data of reports that no worker declares",
        "reports forget old_report",
        _arguments,
        forget_reports,
    ),
)
