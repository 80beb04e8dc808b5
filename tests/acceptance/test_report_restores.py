"""Rows that come in bulk: pg_restore in its forms, COPY and large updates, beside a board that is watched."""

import asyncio
from pathlib import Path

import pytest

from local.embedded.binaries import find_postgres
from tests.boards import Shop, shop
from tests.support import eventually
from worker.reports.refresh import refresh_board

MANY = 20_000
ROW_BY_ROW = """
DO $$ BEGIN
    FOR i IN 1 .. 1000 LOOP INSERT INTO shop.orders VALUES (DEFAULT, 2, 1); END LOOP;
END $$
"""
DISABLED = "the trigger of shop.orders is disabled or not the current one; run ./run ops reports install again"
RESTORES = {
    "of data alone": (["--data-only", "--table=shop.orders"], ["--data-only"], "marks"),
    "of data, with the triggers disabled": (
        ["--data-only", "--table=shop.orders"],
        ["--data-only", "--disable-triggers"],
        f"snapshot: {DISABLED}",
    ),
    "of everything in place of what is there": ([], ["--clean", "--if-exists"], "marks"),
    "of the shop alone, by several sessions at once": (
        ["--schema=shop"],
        ["--clean", "--if-exists", "--jobs=2"],
        "marks",
    ),
}
"""What pg_dump and pg_restore are told, and how the board is proved afterwards."""


@pytest.mark.parametrize(
    "restore",
    [
        pytest.param("of data alone", marks=pytest.mark.long),
        "of data, with the triggers disabled",
        pytest.param("of everything in place of what is there", marks=pytest.mark.long),
        "of the shop alone, by several sessions at once",
    ],
)
async def test_what_a_restore_brings_back_is_computed_at_once_and_a_lost_trigger_is_told(
    database: str, valkey_url: str, tmp_path: Path, restore: str
) -> None:
    dumped, restored, proof = RESTORES[restore]
    file = str(tmp_path / "shop.dump")
    async with shop(database, valkey_url) as it:
        await it.install()
        await it.order(5)
        await run("pg_dump", it, "--format=custom", f"--file={file}", *dumped)
        await it.database.execute("DELETE FROM shop.orders")
        await it.order(70)
        await compute(it)
        assert await it.total() == 70
        if "--data-only" in restored:
            await it.database.execute("TRUNCATE shop.orders")
        await run("pg_restore", it, *restored, file)
        decision = (await it.prober.probe_once()).decisions["shop"]
        assert decision.proved == ()
        assert decision.why in {"changed", "catalogue"}
        await compute(it)
        assert (await it.total(), await it.proof()) == (5, proof)
        await eventually(it.proved)


async def test_a_dump_from_before_the_triggers_leaves_a_board_that_any_write_makes_compute(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    file = str(tmp_path / "shop.dump")
    async with shop(database, valkey_url) as it:
        await it.order(5)
        await run("pg_dump", it, "--format=custom", f"--file={file}")
        await it.install()
        await it.order(70)
        await compute(it)
        await run("pg_restore", it, "--clean", "--if-exists", file)
        await compute(it)
        assert await it.total() == 5
        assert await it.proof() == (
            "snapshot: shop.nodes has no trigger; run ./run ops reports install"
            ": shop.orders has no trigger; run ./run ops reports install"
        )
        await it.order(7)
        assert (await it.prober.probe_once()).decisions["shop"].why == "changed"


async def test_rows_in_bulk_leave_one_mark_for_each_statement_and_are_in_the_next_numbers(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it:
        await it.install()
        columns = ["node_id", "amount"]
        await it.database.execute("ALTER TABLE shop.orders ALTER at SET DEFAULT now()")
        await it.database.copy_records_to_table(
            "orders", schema_name="shop", columns=columns, records=[(2, 1)] * MANY
        )
        assert (await compute(it), await it.total()) == (1, MANY)
        await it.database.execute("UPDATE shop.orders SET amount = amount + 1")
        await it.database.execute("DELETE FROM shop.orders WHERE id % 2 = 0")
        assert (await compute(it), await it.total()) == (2, MANY)
        async with it.database.transaction():
            await it.database.execute("TRUNCATE shop.orders; INSERT INTO shop.orders VALUES (DEFAULT, 3, 9)")
        assert (await compute(it), await it.total()) == (2, 9)
        await it.database.execute(ROW_BY_ROW)
        assert (await compute(it), await it.total()) == (1_000, 1_009)


async def compute(it: Shop) -> int:
    """Refresh the board; how many marks that took up."""
    outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
    assert not outcome.failed, outcome.failed
    return outcome.marks


async def run(program: str, it: Shop, *arguments: str) -> None:
    """Run a program of the server's version on the shop's database."""
    folder = programs_of(await it.database.fetchval("SHOW server_version_num"))
    process = await asyncio.create_subprocess_exec(
        str(folder / program), f"--dbname={it.dsn}", *arguments, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


def programs_of(version: str) -> Path:
    """Debian's of that version where they are installed, else the embedded ones."""
    installed = Path(f"/usr/lib/postgresql/{version[:2]}/bin")
    return installed if installed.is_dir() else find_postgres()
