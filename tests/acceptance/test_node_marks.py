"""Marks that name nodes: whatever writes to a source, they name each node whose rows it touched, or none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from reports.boards import Board, boards_of
from reports.catalogue_postgres import Proof, read_catalogue
from reports.triggers import install_script, uninstall_script
from tests.boards import SCHEMA, report

both_servers = pytest.mark.parametrize(
    "database", ["embedded", pytest.param("machine", marks=pytest.mark.long)], indirect=True
)
EVERY = "every node"
FORMER = "the trigger of shop.orders is disabled or not the current one; run ./run ops reports install again"
ROWS = "INSERT INTO shop.orders (node_id, amount) VALUES (2, 5), (3, 5), (NULL, 5)"
PARTITIONED = """
DROP TABLE shop.orders;
CREATE TABLE shop.orders (id bigint, node_id bigint, amount bigint, at timestamptz) PARTITION BY LIST (node_id);
CREATE TABLE shop.orders_2 (at timestamptz, amount bigint, node_id bigint, id bigint);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2 FOR VALUES IN (2);
CREATE TABLE shop.orders_all PARTITION OF shop.orders DEFAULT;
CREATE TABLE shop.late (LIKE shop.orders);
"""
KEYED = "ALTER TABLE shop.orders ADD PRIMARY KEY (id); "
ECHO = """
CREATE FUNCTION shop.echo() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    IF NEW.amount > 0 THEN INSERT INTO shop.orders (node_id, amount) VALUES (3, 0); END IF; RETURN NULL; END$$;
CREATE TRIGGER echo AFTER INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.echo();
"""
CASCADE = """
CREATE TABLE shop.carts (id bigint PRIMARY KEY);
INSERT INTO shop.carts VALUES (1);
ALTER TABLE shop.orders ADD cart_id bigint DEFAULT 1 REFERENCES shop.carts ON DELETE CASCADE;
"""
PARENT = """
ALTER TABLE shop.orders RENAME TO plain;
CREATE TABLE shop.all_orders (amount bigint);
CREATE TABLE shop.orders (id bigint, node_id bigint, at timestamptz) INHERITS (shop.all_orders);
"""
WRITES: dict[str, tuple[str, str, str, object]] = {
    "rows of two nodes are inserted": ("", "", ROWS, {"2", "3"}),
    "a row without a node is inserted": ("", "", "INSERT INTO shop.orders (amount) VALUES (5)", set()),
    "a row moves to another node": ("", ROWS, "UPDATE shop.orders SET node_id = 1 WHERE node_id = 2", {"1", "2"}),
    "a row loses its node": ("", ROWS, "UPDATE shop.orders SET node_id = NULL WHERE node_id = 2", {"2"}),
    "a row of one node is updated": ("", ROWS, "UPDATE shop.orders SET amount = 6 WHERE node_id = 2", {"2"}),
    "a row is deleted": ("", ROWS, "DELETE FROM shop.orders WHERE node_id = 3", {"3"}),
    "a statement touches no row": ("", ROWS, "DELETE FROM shop.orders WHERE node_id = 99", None),
    "a table is truncated": ("", ROWS, "TRUNCATE shop.orders", EVERY),
    "as many rows as are noted": (
        "",
        "",
        "INSERT INTO shop.orders (node_id) SELECT 2 + i % 2 FROM generate_series(1, 1000) AS i",
        {"2", "3"},
    ),
    "one row more": ("", "", "INSERT INTO shop.orders (node_id) SELECT 2 FROM generate_series(1, 1001)", EVERY),
    "old and new rows are more": (
        "",
        "INSERT INTO shop.orders (node_id) SELECT 2 FROM generate_series(1, 501)",
        "UPDATE shop.orders SET amount = 1",
        EVERY,
    ),
    "an insert turns into an update": (
        KEYED,
        "INSERT INTO shop.orders (id, node_id) OVERRIDING SYSTEM VALUE VALUES (7, 2)",
        (
            "INSERT INTO shop.orders (id, node_id) OVERRIDING SYSTEM VALUE VALUES (7, 3), (8, 1) "
            "ON CONFLICT (id) DO UPDATE SET node_id = excluded.node_id"
        ),
        {"1", "2", "3"},
    ),
    "rows are merged": (
        "",
        ROWS,
        (
            "MERGE INTO shop.orders USING (VALUES (2, 9), (1, 9)) AS new (node, amount) ON node_id = node "
            "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (node_id, amount) VALUES (node, new.amount)"
        ),
        {"1", "2"},
    ),
    "rows are copied in": (
        "",
        "",
        "COPY shop.orders (node_id, amount) FROM PROGRAM 'echo 2,70; echo 3,70' CSV",
        {"2", "3"},
    ),
    "a query writes in its head, twice": (
        "",
        ROWS,
        (
            "WITH gone AS (DELETE FROM shop.orders WHERE node_id = 2), "
            "new AS (INSERT INTO shop.orders (node_id) VALUES (1)) INSERT INTO shop.orders (node_id) VALUES (3)"
        ),
        {"1", "2", "3"},
    ),
    "a foreign key cascades": (CASCADE, ROWS, "DELETE FROM shop.carts", {"2", "3"}),
    "a trigger of the application writes as well": (
        ECHO,
        "",
        "INSERT INTO shop.orders (node_id, amount) VALUES (2, 5)",
        {"2", "3"},
    ),
    "a session loads as a replica": (
        "",
        "",
        "SET session_replication_role = replica; INSERT INTO shop.orders (node_id) VALUES (2)",
        {"2"},
    ),
    "the partitioned table is written to": (PARTITIONED, "", ROWS, {"2", "3"}),
    "a partition is written to, whose columns have another order": (
        PARTITIONED,
        "",
        "INSERT INTO shop.orders_2 (node_id) VALUES (2)",
        {"2"},
    ),
    "a row moves to another partition": (PARTITIONED, ROWS, "UPDATE shop.orders SET node_id = 3", EVERY),
    "a row of a partition is updated by the partition's name": (
        PARTITIONED,
        ROWS,
        "UPDATE shop.orders_2 SET amount = 6",
        {"2"},
    ),
    "a row of the partitioned table is deleted": (
        PARTITIONED,
        ROWS,
        "DELETE FROM shop.orders WHERE node_id = 3",
        {"3"},
    ),
    "a merge moves a row to another partition, which no trigger is handed": (
        PARTITIONED,
        ROWS,
        (
            "MERGE INTO shop.orders USING (VALUES (2)) AS new (node) ON node_id = node "
            "WHEN MATCHED THEN UPDATE SET node_id = 3"
        ),
        EVERY,
    ),
    "a merge moves one row and changes another in its place": (
        PARTITIONED,
        ROWS,
        (
            "MERGE INTO shop.orders USING (VALUES (2), (3)) AS new (node) ON node_id = node "
            "WHEN MATCHED THEN UPDATE SET node_id = 3, amount = 9 "
            "WHEN NOT MATCHED THEN INSERT (node_id) VALUES (node)"
        ),
        EVERY,
    ),
    "rows go to a partition that was attached later": (
        PARTITIONED,
        "ALTER TABLE shop.orders ATTACH PARTITION shop.late FOR VALUES IN (7)",
        "INSERT INTO shop.orders (node_id) VALUES (7)",
        {"7"},
    ),
    "a partition is truncated": (PARTITIONED, ROWS, "TRUNCATE shop.orders_2", EVERY),
    "a child is written to by its name": (
        "CREATE TABLE shop.child () INHERITS (shop.orders)",
        "",
        "INSERT INTO shop.child (id, node_id) VALUES (7, 2)",
        {"2"},
    ),
    "a child is written to through the source": (
        "CREATE TABLE shop.child () INHERITS (shop.orders)",
        "INSERT INTO shop.child (id, node_id) VALUES (7, 2)",
        "DELETE FROM shop.orders",
        {"2"},
    ),
    "a parent is written to, which has no such column": (
        PARENT,
        "INSERT INTO shop.orders (id, node_id) VALUES (7, 2)",
        "DELETE FROM shop.all_orders",
        EVERY,
    ),
    "the column has been renamed": (
        "",
        "ALTER TABLE shop.orders RENAME node_id TO other",
        "INSERT INTO shop.orders (other) VALUES (2)",
        EVERY,
    ),
    "the column has been dropped": (
        "",
        "ALTER TABLE shop.orders DROP node_id",
        "INSERT INTO shop.orders (amount) VALUES (5)",
        EVERY,
    ),
    "a text is longer than any id": (
        "ALTER TABLE shop.orders ALTER node_id TYPE text",
        "",
        "INSERT INTO shop.orders (node_id) SELECT repeat('x', 1000000) FROM generate_series(1, 2)",
        {"x" * 65},
    ),
    "rows are hidden by a policy": (
        "ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY; ALTER TABLE shop.orders FORCE ROW LEVEL SECURITY",
        "",
        ROWS,
        {"2", "3"},
    ),
}


@both_servers
@pytest.mark.parametrize("write", WRITES)
async def test_a_write_is_marked_with_each_node_that_it_touched(database: str, write: str) -> None:
    before, rows, sql, nodes = WRITES[write]
    async with marked_shop(database, before) as connection:
        await connection.execute(rows or "SELECT 1")
        assert await nodes_marked_by(connection, sql) == nodes


NULL_TEXT = "ALTER TABLE shop.orders ALTER node_id TYPE {}"
TYPES: dict[str, tuple[str, str, object]] = {
    "integer": (NULL_TEXT.format("integer"), "2", {"2"}),
    "uuid": (
        NULL_TEXT.format("uuid USING NULL"),
        "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
        {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
    ),
    "text": (NULL_TEXT.format("text"), "'north'", {"north"}),
    "char(n), which a cast would trim": (NULL_TEXT.format("char(7)"), "'north'", {"north  "}),
    "a domain of a domain": (
        "CREATE DOMAIN shop.code AS text; CREATE DOMAIN shop.id AS shop.code;" + NULL_TEXT.format("shop.id"),
        "'north'",
        {"north"},
    ),
    "an enum": (
        "CREATE TYPE shop.id AS ENUM ('north');" + NULL_TEXT.format("shop.id USING NULL"),
        "'north'",
        {"north"},
    ),
    "a number of which two texts are equal": (NULL_TEXT.format("numeric"), "2.0", EVERY),
    "a date, which each session writes in its own style": (NULL_TEXT.format("date USING NULL"), "now()", EVERY),
}


@both_servers
@pytest.mark.parametrize("kind", TYPES)
async def test_nodes_are_noted_only_where_each_has_one_text(database: str, kind: str) -> None:
    change, value, nodes = TYPES[kind]
    async with marked_shop(database, change) as connection:
        assert await nodes_marked_by(connection, f"INSERT INTO shop.orders (node_id) SELECT {value}") == nodes
        assert (await proof(connection)).kind == "marks"


@pytest.mark.parametrize("database", ["machine"], indirect=True)
async def test_texts_of_which_two_may_be_equal_are_not_noted(database: str) -> None:
    """The embedded server has no such collation."""
    change = (
        "CREATE COLLATION shop.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false); "
        "ALTER TABLE shop.orders ALTER node_id TYPE text COLLATE shop.any_case"
    )
    async with marked_shop(database, change) as connection:
        assert await nodes_marked_by(connection, "INSERT INTO shop.orders (node_id) VALUES ('a')") == EVERY
        assert (await proof(connection)).kind == "marks"


async def test_a_column_that_is_computed_when_it_is_read_is_not_noted(database: str) -> None:
    """Triggers get null for it: `GENERATED ... VIRTUAL` of Postgres 18."""
    change = (
        "ALTER TABLE shop.orders DROP node_id; "
        "ALTER TABLE shop.orders ADD node_id bigint GENERATED ALWAYS AS (amount) VIRTUAL"
    )
    async with marked_shop(database, change) as connection:
        assert await nodes_marked_by(connection, "INSERT INTO shop.orders (amount) VALUES (2)") == EVERY


async def test_a_column_of_another_type_ends_the_proof_until_triggers_are_installed_again(database: str) -> None:
    async with marked_shop(database) as connection:
        await connection.execute("ALTER TABLE shop.orders ALTER node_id TYPE numeric")
        found = await proof(connection)
        assert (found.kind, found.why) == (
            "snapshot",
            (FORMER,),
        )
        await install(connection)
        assert (await proof(connection)).kind == "marks"
        assert await nodes_marked_by(connection, "INSERT INTO shop.orders (node_id) VALUES (2)") == EVERY


TAMPERED = {
    "it does not fire for replicas": "ALTER TABLE shop.orders ENABLE TRIGGER momentus_default.update",
    "it is disabled": "ALTER TABLE shop.orders DISABLE TRIGGER momentus_default.insert",
    "it is gone": "DROP TRIGGER momentus_default.delete ON shop.orders",
    "that of TRUNCATE is gone": "DROP TRIGGER momentus_default.truncate ON shop.orders",
    "it notes another column": (
        "DROP TRIGGER momentus_default.insert ON shop.orders; "
        "CREATE TRIGGER momentus_default.insert AFTER INSERT ON shop.orders REFERENCING NEW TABLE AS new_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION momentus.mark_nodes:node_id('default:shop', 'shop.orders', 'amount')"
    ),
    "it watches one column alone": (
        "DROP TRIGGER momentus_default.update ON shop.orders; "
        "CREATE TRIGGER momentus_default.update AFTER UPDATE OF amount ON shop.orders "
        "FOR EACH STATEMENT EXECUTE FUNCTION momentus.mark_dirty('default:shop'); "
        "ALTER TABLE shop.orders ENABLE ALWAYS TRIGGER momentus_default.update"
    ),
}


HANDED_UPDATES = """
CREATE OR REPLACE TRIGGER momentus_default.truncate AFTER TRUNCATE ON shop.orders
    FOR EACH STATEMENT EXECUTE FUNCTION momentus.mark_dirty('default:shop');
CREATE TRIGGER momentus_default.update AFTER UPDATE ON shop.orders
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION momentus.mark_nodes:node_id('default:shop', 'shop.orders', 'node_id');
ALTER TABLE shop.orders ENABLE ALWAYS TRIGGER momentus_default.truncate;
ALTER TABLE shop.orders ENABLE ALWAYS TRIGGER momentus_default.update;
"""


async def test_updates_of_a_partitioned_table_that_are_marked_by_their_rows_prove_nothing(database: str) -> None:
    async with marked_shop(database, PARTITIONED) as connection:
        found = await proof(connection)
        assert (found.kind, found.whole) == ("marks", ())
        await connection.execute(quoted(HANDED_UPDATES))
        found = await proof(connection)
        assert (found.kind, found.why) == ("snapshot", (FORMER,))
        await install(connection)
        assert (await proof(connection)).kind == "marks"


@pytest.mark.parametrize("change", TAMPERED)
async def test_one_trigger_of_four_that_is_not_as_installed_ends_the_proof(database: str, change: str) -> None:
    async with marked_shop(database) as connection:
        before = await proof(connection)
        await connection.execute(quoted(TAMPERED[change]))
        found = await proof(connection)
        assert (before.kind, found.kind) == ("marks", "snapshot")
        assert "shop.orders is disabled or not the current one" in found.why[0]
        assert found.digest != before.digest


async def test_triggers_without_nodes_still_prove_a_board_and_it_is_told_what_install_would_gain(
    database: str,
) -> None:
    async with marked_shop(database, keyed=False) as connection:
        former = await proof(connection, keyed=False)
        found = await proof(connection)
        assert (found.kind, found.why, found.digest) == ("marks", (), former.digest)
        assert (found.whole, former.whole) == (("shop.orders",), ())
        assert await nodes_marked_by(connection, ROWS) == EVERY
        await install(connection)
        assert (await proof(connection)).whole == ()
        assert await nodes_marked_by(connection, ROWS) == {"2", "3"}
        await install(connection, keyed=False)
        assert await nodes_marked_by(connection, ROWS) == EVERY
        names = "SELECT array_agg(tgname::text) FROM pg_trigger WHERE tgrelid = 'shop.orders'::regclass"
        assert await connection.fetchval(names) == ["momentus_default"]


async def test_a_table_of_two_boards_is_marked_for_each_as_it_asks(database: str) -> None:
    whole = report("whole", board="whole")
    other = report("other", board="other", node_columns={"shop.orders": "amount"})
    sales = report(node_columns={"shop.orders": "node_id"})
    boards = boards_of({one.name: one for one in (sales, whole, other)})
    async with marked_shop(database) as connection:
        await connection.execute(install_script("default", boards, role=await role_of(connection)))
        await connection.execute("INSERT INTO shop.orders (node_id, amount) VALUES (2, 5)")
        marks = await connection.fetch("SELECT board, source, nodes FROM momentus.dirty ORDER BY board")
        assert [tuple(mark) for mark in marks] == [
            ("default:other", "shop.orders", ["5"]),
            ("default:shop", "shop.orders", ["2"]),
            ("default:whole", "shop.orders", None),
        ]
        proofs = (await read_catalogue(connection.fetch, "default", boards)).proofs
        assert {name: (one.kind, one.whole) for name, one in proofs.items()} == dict.fromkeys(
            ("other", "shop", "whole"), ("marks", ())
        )


async def test_tenants_of_long_names_have_triggers_of_their_own(database: str) -> None:
    tenants = ["a" * 62 + end for end in "bc"]
    async with marked_shop(database) as connection:
        for tenant in tenants:
            await install(connection, tenant=tenant)
        await connection.execute("INSERT INTO shop.orders (node_id) VALUES (2)")
        boards = await connection.fetchval("SELECT array_agg(board ORDER BY board) FROM momentus.dirty")
        assert boards == [*(f"{tenant}:shop" for tenant in tenants), "default:shop"]
        await connection.execute(uninstall_script(tenants[0]))
        assert (await proof(connection, tenant=tenants[1])).kind == "marks"
        assert (await proof(connection)).kind == "marks"
        for tenant in (tenants[1], "default"):
            await connection.execute(uninstall_script(tenant))
        assert await connection.fetchval("SELECT to_regnamespace('momentus')") is None


async def test_a_writer_needs_no_right_on_marks_and_its_search_path_does_not_matter(database: str) -> None:
    role = "writer_" + database.rpartition("_")[2]
    async with marked_shop(database) as connection:
        await connection.execute(
            f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA shop TO {role}; GRANT INSERT ON shop.orders TO {role};"
            f"GRANT CREATE ON SCHEMA shop TO {role}"
        )
        try:
            await connection.execute(
                f"SET ROLE {role}; SET search_path = shop, pg_catalog;"
                "CREATE FUNCTION shop.concat(bigint) RETURNS text LANGUAGE sql AS 'SELECT 1 / 0'"
            )
            await connection.execute("CREATE TEMPORARY TABLE new_rows (node_id bigint)")
            await connection.execute("INSERT INTO shop.orders (node_id, amount) VALUES (2, 5)")
            await connection.execute("RESET ROLE; RESET search_path")
            assert await marked_nodes(connection) == {"2"}
        finally:
            await connection.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_session_goes_on_writing_while_the_column_changes(database: str) -> None:
    """Its plans are kept from one statement to the next."""
    async with marked_shop(database) as connection:
        writer = await asyncpg.connect(database, statement_cache_size=0)
        try:
            for change, column, nodes in (
                ("SELECT 1", "node_id", {"2"}),
                ("ALTER TABLE shop.orders ALTER node_id TYPE text", "node_id", {"2"}),
                ("ALTER TABLE shop.orders RENAME node_id TO other", "other", EVERY),
                ("ALTER TABLE shop.orders ADD node_id bigint", "other", set()),
                ("ALTER TABLE shop.orders DROP node_id", "other", EVERY),
                ("ALTER TABLE shop.orders RENAME other TO node_id", "node_id", {"2"}),
            ):
                await connection.execute(change)
                for _ in range(2):
                    await writer.execute("DELETE FROM momentus.dirty")
                    await writer.execute(f"INSERT INTO shop.orders ({column}) VALUES ('2')")  # noqa: S608  ours
                assert await marked_nodes(writer) == nodes, change
        finally:
            await writer.close()


FOREIGN = """
CREATE EXTENSION file_fdw SCHEMA shop;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE shop.away (id bigint, node_id bigint, amount bigint, at timestamptz)
    SERVER files OPTIONS (program 'true');
"""


@pytest.mark.parametrize("database", ["machine"], indirect=True)
async def test_a_foreign_partition_that_comes_later_is_told_and_install_lets_all_writes_pass(
    database: str,
) -> None:
    async with marked_shop(database, PARTITIONED) as connection:
        await connection.execute(FOREIGN + "ALTER TABLE shop.orders ATTACH PARTITION shop.away FOR VALUES IN (7)")
        assert await nodes_marked_by(connection, "INSERT INTO shop.orders (node_id) VALUES (2)") == {"2"}
        found = await proof(connection)
        assert found.kind == "none"
        assert "shop.orders has a foreign table below it" in found.why[0]
        await install(connection)
        assert await nodes_marked_by(connection, "INSERT INTO shop.orders (node_id) VALUES (2)") == EVERY
        assert await nodes_marked_by(connection, "INSERT INTO shop.orders_2 (node_id) VALUES (2)") == {"2"}
        assert "below it" not in "; ".join((await proof(connection)).why)


def quoted(sql: str) -> str:
    """With the names that need it in quotes."""
    for name in ("insert", "update", "delete", "truncate"):
        sql = sql.replace(f"momentus_default.{name}", f'"momentus_default.{name}"')
    return sql.replace("momentus.mark_nodes:node_id", 'momentus."mark_nodes:node_id"')


def boards(*, keyed: bool = True) -> dict[str, Board]:
    return dict(boards_of({"sales": report(node_columns={"shop.orders": "node_id"} if keyed else {})}))


async def role_of(connection: Any) -> str:
    return str(await connection.fetchval("SELECT current_user"))


async def install(connection: Any, *, keyed: bool = True, tenant: str = "default") -> None:
    await connection.execute(install_script(tenant, boards(keyed=keyed), role=await role_of(connection)))


async def proof(connection: Any, *, keyed: bool = True, tenant: str = "default") -> Proof:
    return (await read_catalogue(connection.fetch, tenant, boards(keyed=keyed))).proof("shop")


@asynccontextmanager
async def marked_shop(dsn: str, before: str = "", *, keyed: bool = True) -> AsyncIterator[Any]:
    """A database with a shop whose triggers are installed after that change."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(SCHEMA + before)
        await install(connection, keyed=keyed)
        yield connection
    finally:
        await connection.close()


async def nodes_marked_by(connection: Any, sql: str) -> object:
    """Nodes that a write is marked with: those of all its marks, `EVERY`, or None without a mark."""
    await connection.execute("DELETE FROM momentus.dirty")
    await connection.execute(sql)
    return await marked_nodes(connection)


async def marked_nodes(connection: Any) -> object:
    rows = await connection.fetch("SELECT nodes FROM momentus.dirty WHERE source LIKE 'shop.%order%'")
    if not rows:
        return None
    return EVERY if any(row["nodes"] is None for row in rows) else {node for row in rows for node in row["nodes"]}
