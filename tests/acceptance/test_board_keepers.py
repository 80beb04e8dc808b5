"""Started workers leave a board to the one that keeps its sets, and tell of a query that cannot be believed."""

import signal
from pathlib import Path

from local.supervisor.supervisor import Supervisor
from reports import load_reports
from tests.boards import Shop, shop
from tests.command_line import run_ops
from tests.report_worker import SALES_OF_NODES, sales_worker, shows
from tests.support import eventually

RANKED = SALES_OF_NODES.replace("sum(amount) AS amount", "sum(amount) + rank() OVER (ORDER BY node_id) AS amount")
"""A node's row depends on which others are asked for."""


async def install(it: Shop, url: str, folder: Path) -> None:
    """Have the database mark what changes for the reports in the folder."""
    async with shop(it.dsn, url, *load_reports(folder, shipped="off").values()) as declared:
        await declared.install()


async def computed(it: Shop, total: int) -> str:
    """How the set was computed that shows this total."""
    await eventually(lambda: shows(it, total))
    return str((await it.meta())["computed"])


async def test_a_second_worker_leaves_the_board_to_the_first_and_takes_it_over_when_that_is_killed(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    first, second = (
        sales_worker(valkey_url, database, tmp_path, report=SALES_OF_NODES, name=name)
        for name in ("first", "second")
    )
    async with shop(database, valkey_url) as it:
        await install(it, valkey_url, tmp_path)
        await it.order(1)
        async with Supervisor([first]) as running:
            assert await computed(it, 1) == "first"
            async with Supervisor([second]):
                for total in range(2, 10):
                    await it.order(1)
                    assert await computed(it, total) == "nodes"
                running.send_signal("first", signal.SIGKILL)
                await running.wait_exit("first")
                await it.order(1)
                assert await computed(it, 10) == "first"
                await it.order(1)
                assert await computed(it, 11) == "nodes"


async def test_log_and_status_tell_of_a_query_that_gives_something_else_for_some_nodes(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    lines: list[str] = []
    worker = sales_worker(valkey_url, database, tmp_path, report=RANKED, REPORTS__WHOLE_EVERY="1s")
    async with shop(database, valkey_url) as it:
        await install(it, valkey_url, tmp_path)
        await it.order(1)
        await it.order(1, node=3)
        async with Supervisor([worker], log=lambda _name, line: lines.append(line)):
            await eventually(lambda: shows(it, 5))

            async def is_told() -> bool:
                await it.order(0, node=3)
                return any("report.different" in line for line in lines)

            await eventually(is_told)
            await eventually(lambda: shows(it, 5))
        settings = {"REDIS_URL": valkey_url, "POSTGRES_DSN": database, "REPORTS__PATH": str(tmp_path)}
        _, out, _ = await run_ops("reports", "status", **settings, REPORTS__SHIPPED="off")
    assert "sales: its query for some nodes failed, or disagreed with the whole, at " in out
