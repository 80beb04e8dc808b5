"""Private servers that hold an organisation."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from local.demo.company_postgres import Company
from local.embedded.postgres import Postgres
from local.embedded.valkey import Valkey
from local.organisation import OrganisationSize, generate_organisation
from local.supervisor.supervisor import Supervisor

ZONE = ZoneInfo("America/Lima")


_MOST_PEOPLE = 50_000


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers are, and a connection to the organisation."""

    dsn: str
    url: str
    company: Company


@asynccontextmanager
async def servers_with(size: OrganisationSize) -> AsyncIterator[Servers]:
    """Run a Postgres and a Valkey, both embedded and durable, filled with an organisation of this size."""
    with tempfile.TemporaryDirectory(prefix="momentus-bench-") as scratch:
        os.chmod(scratch, 0o711)  # noqa: PTH101, S103  the server is another user
        postgres = Postgres.in_directory(Path(scratch) / "postgres")
        valkey = Valkey.in_directory(Path(scratch) / "valkey")
        async with Supervisor([postgres.process(), valkey.process()]), Company(postgres.dsn) as company:
            await company.replace_rows(generate_organisation(size, seed=1, now=datetime.now(ZONE)))
            yield Servers(postgres.dsn, valkey.url, company)


def size_of(nodes: int, *, checkins_each: int) -> OrganisationSize:
    """Return the size of the reference organisation with so many nodes; it has 50,000 people at most.

    >>> size_of(20_000, checkins_each=96).employees
    50000
    """
    whole = OrganisationSize()
    people = min(_MOST_PEOPLE, nodes * whole.employees // whole.nodes)
    return OrganisationSize(
        nodes=nodes,
        employees=people,
        memberships=people * whole.memberships // whole.employees,
        tasks=people * whole.tasks // whole.employees,
        blockers=people * whole.blockers // whole.employees,
        checkins=people * checkins_each,
    )


def told_size(size: OrganisationSize) -> str:
    """Return the size in words.

    >>> told_size(OrganisationSize())
    '700 nodes, 5,000 people, 480,000 check-ins, 40,000 blockers, 60,000 tasks'
    """
    counts = f"{size.nodes:,} nodes, {size.employees:,} people, {size.checkins:,} check-ins"
    return f"{counts}, {size.blockers:,} blockers, {size.tasks:,} tasks"
