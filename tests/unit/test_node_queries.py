"""A report says for which nodes its rows count, and its query can be asked for some of them alone."""

import pytest

from ops.reports.node_facts_postgres import nodes_misfit
from reports import Report, ReportError, load_reports, parse_report
from reports.node_ids import IdKind, NodeId

TREES = {"organisation": "SELECT id, parent_id, name /* of sales.orders */, 'sales.orders' AS kind FROM org.nodes"}
QUERY = "SELECT node_id, count(*) AS total FROM sales.orders WHERE node_id = ANY(:nodes) AND at <= :now GROUP BY 1"
HEAD = """-- +++
-- name = "sales"
-- scope = "node_id"
-- tree = "organisation"
-- every = "1m"
-- sources = ["org.nodes", "sales.orders"]
-- valid_until = {until}
-- freshness = {{soft = "90s", hard = "5m", debounce = "1s"}}
-- rollup = {{{rollup}}}
{nodes}-- +++
"""
NODES = '-- [nodes]\n-- "sales.orders" = "node_id"\n'
FIRST = HEAD.count("\n") + NODES.count("\n") + 1
"""Line on which the query begins."""


def source(
    query: str = QUERY, *, nodes: str = NODES, until: str = '"change"', rollup: str = 'total = "sum"'
) -> str:
    return HEAD.format(nodes=nodes, until=until, rollup=rollup) + query + "\n"


def parse(text: str) -> Report:
    return parse_report(text, file="sales.sql", trees=TREES)


def test_one_text_has_two_uses_each_with_its_own_parameters() -> None:
    report = parse(source())
    assert report.node_columns == {"sales.orders": "node_id"}
    assert report.sql == QUERY.replace("= ANY(:nodes)", "IS NOT NULL").replace(":now", "$1")
    assert report.parameters == ("now",)
    assert report.sql_of_nodes == QUERY.replace(":nodes", "$1").replace(":now", "$2")
    assert report.sql_of_nodes_parameters == ("nodes", "now")


@pytest.mark.parametrize(
    ("condition", "whole", "of_nodes"),
    [
        ("a = ANY(:nodes)", "a IS NOT NULL", "a = ANY($1)"),
        ("a = any (:nodes)", "a IS NOT NULL", "a = any ($1)"),
        ("a=Any( :nodes ) AND b", "a IS NOT NULL AND b", "a=Any( $1 ) AND b"),
        ("a=ANY(:nodes)AND b", "a IS NOT NULL AND b", "a=ANY($1)AND b"),
        ("a = ANY(:nodes::bigint[])", "a IS NOT NULL", "a = ANY($1::bigint[])"),
        ("a = ANY(:nodes :: uuid [ ])", "a IS NOT NULL", "a = ANY($1 :: uuid [ ])"),
        ("a = ANY(:nodes::varchar(36)[])", "a IS NOT NULL", "a = ANY($1::varchar(36)[])"),
        ("a = ANY(:nodes::character varying[])", "a IS NOT NULL", "a = ANY($1::character varying[])"),
        ("a =\n ANY\n(:nodes\n)", "a IS NOT NULL\n\n\n", "a =\n ANY\n($1\n)"),
        ("a = ANY(:nodes) OR b = ANY(:nodes)", "a IS NOT NULL OR b IS NOT NULL", "a = ANY($1) OR b = ANY($1)"),
        ("a = ANY(:nodes) -- as :nodes", "a IS NOT NULL -- as :nodes", "a = ANY($1) -- as :nodes"),
        (
            "a = ANY(:nodes) AND b <> '= ANY(:nodes)'",
            "a IS NOT NULL AND b <> '= ANY(:nodes)'",
            "a = ANY($1) AND b <> '= ANY(:nodes)'",
        ),
        ("a = ANY(:nodes) /* :nodes */", "a IS NOT NULL /* :nodes */", "a = ANY($1) /* :nodes */"),
        ('a = ANY(:nodes) AND "x :nodes"', 'a IS NOT NULL AND "x :nodes"', 'a = ANY($1) AND "x :nodes"'),
    ],
)
def test_the_whole_computation_asks_for_no_list_of_nodes(condition: str, whole: str, of_nodes: str) -> None:
    report = parse(source(f"SELECT 1 WHERE {condition}"))
    assert (report.sql, report.parameters) == (f"SELECT 1 WHERE {whole}", ())
    assert (report.sql_of_nodes, report.sql_of_nodes_parameters) == (f"SELECT 1 WHERE {of_nodes}", ("nodes",))


def test_zones_and_the_column_of_the_next_change_hold_for_both_texts() -> None:
    text = source(until='"column ends"').replace("-- +++\nSELECT", '-- [zones]\n-- ends = "UTC"\n-- +++\nSELECT')
    report = parse(text)
    shown = 'SELECT "node_id", "total", "ends" AT TIME ZONE \'UTC\' AS "ends" FROM ('
    assert report.sql.startswith(shown)
    assert report.sql_of_nodes.startswith(shown)
    assert "= ANY($1)" in report.sql_of_nodes
    assert report.sql in report.valid_until
    assert report.valid_until_parameters == ("now",)


@pytest.mark.parametrize(
    ("condition", "line"),
    [
        ("a = :nodes", 0),
        ("a IN (:nodes)", 0),
        ("a <> ALL(:nodes)", 0),
        ("a != ANY(:nodes)", 0),
        ("a >= ANY(:nodes)", 0),
        ("a = SOME(:nodes)", 0),
        ("a = ANY(:nodes || 1)", 0),
        ("a = ANY(SELECT unnest(:nodes))", 0),
        ("a = ANY(:nodes)\nAND cardinality(:nodes) > 1", 1),
        ("a = ANY(\n-- of them\n:nodes)", 2),
    ],
)
def test_another_use_of_the_nodes_is_refused_with_its_line_and_what_to_write(condition: str, line: int) -> None:
    with pytest.raises(ReportError) as refused:
        parse(source(f"SELECT 1 WHERE {condition}"))
    assert refused.value.field == f"sales.sql:{FIRST + line}: :nodes"
    assert "write WHERE node_id = ANY(:nodes)" in refused.value.reason


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        (source(nodes=""), ": :nodes", "needs the table [nodes]"),
        (source("SELECT 1"), ": nodes", "has no effect without :nodes; write WHERE node_id = ANY(:nodes)"),
        (source("SELECT ':nodes' -- :nodes"), ": nodes", "has no effect"),
        (source(nodes="-- [nodes]\n"), ": nodes", "at least one key"),
        (source(nodes='-- [nodes]\n-- "sales.items" = "node_id"\n'), ": nodes.sales.items", "not among sources"),
        (source(nodes='-- [nodes]\n-- sales.orders = "node_id"\n'), ": nodes.sales", '"sales.orders"'),
        (source(nodes='-- [nodes]\n-- "sales.orders" = 1\n'), ": nodes.sales.orders", "string in quotes"),
        (source(nodes='-- [nodes]\n-- "sales.orders" = "a.b"\n'), ": nodes.sales.orders", "name of a column"),
        (source(nodes='-- [nodes]\n-- "org.nodes" = "id"\n'), ": nodes.org.nodes", "a change of the tree"),
        (source(until='"SELECT min(at) FROM t WHERE a = ANY(:nodes)"'), ": valid_until", "column NAME"),
    ],
)
def test_a_declaration_that_cannot_hold_is_refused(text: str, field: str, words: str) -> None:
    with pytest.raises(ReportError) as refused:
        parse(text)
    assert field in refused.value.field
    assert words in refused.value.reason


def test_a_line_is_named_where_the_declaration_is() -> None:
    with pytest.raises(ReportError) as refused:
        parse(source(nodes='-- [nodes]\n-- "org.nodes" = "id"\n'))
    assert refused.value.field == f"sales.sql:{FIRST - 2}: nodes.org.nodes"


def test_a_roll_up_by_the_query_itself_is_computed_whole() -> None:
    report = parse(source(rollup='total = "sum", middle = "sql"'))
    assert "IS NOT NULL" in report.sql
    assert (report.sql_of_nodes, report.sql_of_nodes_parameters, report.node_columns) == ("", (), {})


def test_every_shipped_report_can_be_asked_for_some_nodes() -> None:
    for report in load_reports().values():
        assert report.sql_of_nodes.count("= ANY($") == report.sql.count("node_id IS NOT NULL") > 0
        assert set(report.node_columns) == set(report.sources) - {"organisation.nodes"}
        assert report.valid_until_column


@pytest.mark.parametrize(
    ("of_type", "kind", "ids", "misfit"),
    [
        ("int8[]", IdKind.INTEGER, [2**40], ""),
        ("int4[]", IdKind.INTEGER, [2**31 - 1, -(2**31)], ""),
        ("int4[]", IdKind.INTEGER, [1, 2**31], "cannot have the tree's id 2147483648"),
        ("numeric[]", IdKind.INTEGER, [1], "ids are of the type integer"),
        ("text[]", IdKind.INTEGER, [1], "ids are of the type integer"),
        ("uuid[]", IdKind.UUID, ["0" * 32], ""),
        ("text[]", IdKind.UUID, ["0" * 32], ""),
        ("int8[]", IdKind.UUID, ["0" * 32], "ids are of the type uuid"),
        ("text[]", IdKind.TEXT, ["a"], ""),
        ("citext[]", IdKind.TEXT, ["a"], ""),
        ("uuid[]", IdKind.TEXT, ["a"], "ids are of the type text"),
    ],
)
def test_nodes_have_the_type_of_the_trees_ids(of_type: str, kind: IdKind, ids: list[NodeId], misfit: str) -> None:
    assert misfit in nodes_misfit(of_type, kind, ids)
    assert bool(misfit) == bool(nodes_misfit(of_type, kind, ids))
