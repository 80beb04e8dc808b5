"""A worker process of its own that computes the sales of the shop of `tests.boards`."""

import sys
from datetime import timedelta
from pathlib import Path

from local.installation import worker_ready
from local.supervisor.process import Process, RestartPolicy
from tests.boards import Shop

_TREE = "SELECT id, parent_id, name, kind FROM shop.nodes"
_SALES = """-- +++
-- name = "sales"
-- board = "shop"
-- scope = "node_id"
-- tree = "nodes"
-- every = "1m"
-- sources = ["shop.nodes", "shop.orders"]
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "100ms"
-- [budget]
-- max_db_share = "100%"
-- [rollup]
-- amount = "sum"
-- +++
SELECT node_id, sum(amount) AS amount FROM shop.orders WHERE at <= :now GROUP BY node_id
"""


SALES_OF_NODES = _SALES.replace(
    "-- [freshness]", '-- [nodes]\n-- "shop.orders" = "node_id"\n-- [freshness]'
).replace("WHERE at", "WHERE node_id = ANY(:nodes) AND at")
"""The same report, which can be asked for some nodes."""


def sales_worker(
    url: str, dsn: str, folder: Path, *, report: str = _SALES, name: str = "worker", **more: str
) -> Process:
    """Write the report into a folder and return the process to supervise.

    Args:
        more: further settings, by their names without prefix.
    """
    (folder / "trees").mkdir(exist_ok=True)
    (folder / "trees" / "nodes.sql").write_text(_TREE, encoding="utf-8")
    (folder / "sales.sql").write_text(report, encoding="utf-8")
    settings = {"REDIS_URL": url, "POSTGRES_DSN": dsn, "REPORTS__PATH": str(folder), "REPORTS__SHIPPED": "off"}
    settings |= more
    return Process(
        name=name,
        argv=[sys.executable, "-m", "worker"],
        environment={f"MOMENTUS_{name}": value for name, value in settings.items()},
        ready=worker_ready(url),
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=20),
    )


async def shows(it: Shop, total: int) -> bool:
    """Whether the stored document of the root says so, and no error stands beside it."""
    return await it.field("1") is not None and await it.total() == total and await it.field("_error") is None


async def says(it: Shop, error: str) -> bool:
    """Whether an error with this text stands beside the stored set."""
    stored = await it.field("_error")
    return stored is not None and error in stored["error"]
