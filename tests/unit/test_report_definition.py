"""A report file says what it means or is refused with the key at fault and what is allowed."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from reports import Report, ReportError, load_reports, parse_report
from reports.tree_rules import HANG, TreeRules

HEAD = {
    "name": '"sales"',
    "title": '"Ventas"',
    "scope": '"node_id"',
    "tree": '"organisation"',
    "every": '"1m"',
    "freshness": '{soft = "90s", hard = "5m", debounce = "1s"}',
    "rollup": '{total = "sum", oldest = "min", oldest_id = "of oldest"}',
}
QUERY = "SELECT node_id, sum(x)::int AS total FROM sales WHERE at <= :now AND at >= :day_start GROUP BY 1"
TREES = {"organisation": "SELECT id, parent_id, name, kind FROM nodes"}


def source(query: str = QUERY, **changed: str | None) -> str:
    keys = {name: value for name, value in {**HEAD, **changed}.items() if value is not None}
    return "\n".join(["-- +++", *(f"-- {name} = {value}" for name, value in keys.items()), "-- +++", query, ""])


def parse(text: str) -> Report:
    return parse_report(text, file="sales.sql", trees=TREES)


def freshness(soft: str, hard: str, debounce: str = "0s") -> str:
    return f'{{soft = "{soft}", hard = "{hard}", debounce = "{debounce}"}}'


def test_a_report_is_read_with_all_it_says() -> None:
    report = parse(source(valid_until='"next_midnight"'))
    assert report == Report(
        name="sales",
        title="Ventas",
        sql=QUERY.replace(":now", "$1").replace(":day_start", "$2"),
        parameters=("now", "day_start"),
        scope="node_id",
        tree=TREES["organisation"],
        rollup={"total": "sum", "oldest": "min", "oldest_id": "of oldest"},
        every=timedelta(minutes=1),
        soft=timedelta(seconds=90),
        hard=timedelta(minutes=5),
        debounce=timedelta(seconds=1),
        next_midnight=True,
        board="sales",
        max_wait=timedelta(seconds=1),
    )


def test_the_title_may_be_left_out_and_numbers_do_not_change_by_themselves_unless_said() -> None:
    report = parse(source(title=None))
    assert (report.title, report.next_midnight) == ("sales", False)


@pytest.mark.parametrize(
    ("query", "sql", "parameters"),
    [
        ("SELECT :now::date, x::text, :now", "SELECT $1::date, x::text, $1", ("now",)),
        ("SELECT (:day_end)::text, :now", "SELECT ($1)::text, $2", ("day_end", "now")),
        ("SELECT ':now', 'it''s :x', \":q\", x", "SELECT ':now', 'it''s :x', \":q\", x", ()),
        ("SELECT 1 -- of :day_end, :nobody's", "SELECT 1 -- of :day_end, :nobody's", ()),
        ("SELECT /* :a\n:b */ :now", "SELECT /* :a\n:b */ $1", ("now",)),
        ("SELECT '--', :now", "SELECT '--', $1", ("now",)),
        ("SELECT a[1:2], a[lo:hi]", "SELECT a[1:2], a[lo:hi]", ()),
        ("SELECT 1;", "SELECT 1", ()),
    ],
)
def test_only_parameters_are_numbered(query: str, sql: str, parameters: tuple[str, ...]) -> None:
    report = parse(source(query))
    assert (report.sql, report.parameters) == (sql, parameters)


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("SELECT 1", ":1", "front matter"),
        (source(QUERY, name='"sales'), "sales.sql:2", "not TOML"),
        (source(""), "sales.sql:11", "no query"),
        (source(" ;"), "sales.sql:10", "no query"),
        (source(evry='"1m"'), ": evry", "did you mean 'every'"),
        (source(zzz='"1m"'), ": zzz", "allowed: board, budget, every, freshness"),
        (source(freshness='{soft = "1s", hrad = "2s"}'), ": freshness.hrad", "did you mean 'hard'"),
        (source(name=None), ": name", "is missing"),
        (source(scope=None), ": scope", "is missing"),
        (source(rollup=None), ": rollup", "is missing"),
        (source(freshness='{soft = "1s", hard = "2s"}'), ": freshness.debounce", "is missing"),
        (source(freshness='"5m"'), ": freshness", "must be a table"),
        (source(rollup="{}"), ": rollup", "must be a table"),
        (source(name='"Sales"'), ": name", "lower-case"),
        (source(name='"a:b"'), ": name", "lower-case"),
        (source(name=f'"{"a" * 65}"'), ": name", "up to 63"),
        (source(tree='"orgnisation"'), ": tree", "allowed: organisation"),
        (source(tree="[1]"), ": tree", "allowed: organisation"),
        (source(every='"soon"'), ": every", "like 250ms, 90s"),
        (source(every='"-5m"'), ": every", "250ms"),
        (source(every='"5"'), ": every", "250ms"),
        (source(every="5"), ": every", "250ms"),
        (source(every='"0s"'), ": every", "over 0"),
        (source(every='"6m"'), ": every", "at most freshness.hard"),
        (source(every=f'"{"9" * 20}d"'), ": every", "longer"),
        (source(every=f'"{"9" * 400}d"'), ": every", "is not a duration"),
        (source(freshness=freshness("5m", "5m")), ": freshness.soft", "below freshness.hard"),
        (source(freshness=freshness("6m", "5m")), ": freshness.soft", "below freshness.hard"),
        (source(freshness=freshness("0s", "5m")), ": freshness.soft", "over 0"),
        (source(freshness=freshness("1m", "5m", "2m")), ": freshness.debounce", "freshness.soft"),
        (source(valid_until='"tomorrow"'), ": valid_until", "next_midnight"),
        (source(valid_until="[1]"), ": valid_until", "next_midnight"),
        (source(valid_until='"column"'), ": valid_until", "column NAME"),
        (source(rollup='{a = "median"}'), ": rollup.a", "any, distinct, max, min, sql, sum, sums"),
        (source(rollup='{a = ["sum"]}'), ": rollup.a", "any, distinct"),
        (source(rollup='{a = "sum", b = "of a"}'), ": rollup.b", "min or max"),
        (source(rollup='{a = "of a"}'), ": rollup.a", "min or max"),
        (source(rollup='{b = "of gone"}'), ": rollup.b", "min or max"),
        (source("SELECT :today"), ": :today", "allowed: :now, :day_start, :day_end, :zone"),
        (source("SELECT 1,\n  :now,\n  :today"), "sales.sql:12: :today", "is not a parameter"),
        (source(rollup='{a = "top 0 by at asc"}'), ": rollup.a", "1 to 1000"),
        (source(rollup='{a = "top 5 by at"}'), ": rollup.a", "top 10 by opened_at asc"),
        (source(rollup='{a = "min", b = "a / a"}'), ": rollup.b", "'a' must be a measure with sum or distinct"),
        (source(rollup='{a = "sum", b = "a / c"}'), ": rollup.b", "'c' must be a measure"),
        (source(board='"Big Board"'), "sales.sql:9: board", "lower-case"),
        (source(sources='"sales.orders"'), ": sources", "must be a list"),
        (source(sources='["orders"]'), ": sources", "with its schema"),
        (source(timezone='"Madrid"'), ": timezone", "must be an IANA time zone"),
        (source(window='"35"'), ": window", "250ms, 90s"),
        (source(budget='{max_db_share = "0%"}'), ": budget.max_db_share", "over 0%"),
        (source(budget='{max_share = "1%"}'), ": budget.max_share", "did you mean 'max_db_share'"),
        (source(history='{close = "hourly", keep = "9d"}'), ": history.close", "daily"),
        (source(history='{close = "daily"}'), ": history.keep", "is missing"),
        (
            source(freshness='{soft = "1m", hard = "2m", debounce = "9s", max_wait = "1s"}'),
            "max_wait",
            "at least freshness.debounce",
        ),
        (source(valid_until='"SELECT min(due_at) FROM t WHERE due_at > :soon"'), ": :soon", "is not a parameter"),
        (source(title="5"), ": title", "string in quotes"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_key_and_what_is_allowed(
    text: str, field: str, words: str
) -> None:
    with pytest.raises(ReportError, match=words) as refusal:
        parse(text)
    assert refusal.value.field.startswith("sales.sql")
    assert refusal.value.field.endswith(field)


def test_a_fault_is_told_with_the_line_it_stands_on() -> None:
    head = source().replace("-- freshness = {", "-- # how fresh\n-- [freshness]\n-- sfot = 1\n-- unused = {")
    with pytest.raises(ReportError) as refusal:
        parse(head)
    assert refusal.value.field == "sales.sql:9: freshness.sfot"


def test_all_that_a_head_may_say_is_read() -> None:
    report = parse(
        source(
            board='"front"',
            sources='["sales.orders", "sales.shops"]',
            timezone='"Europe/Madrid"',
            window='"35d"',
            budget='{max_db_share = "0.25%"}',
            history='{close = "daily", keep = "400d"}',
            freshness='{soft = "90s", hard = "5m", debounce = "1s", max_wait = "10s"}',
            valid_until='"min(due_at) FROM sales.orders WHERE due_at > :now"',
            rollup='{a = "sum", b = "distinct", r = "a / b", o = "top 3 by at, id desc", m = "sums", x = "sql"}',
        )
    )
    assert (report.board, report.sources) == ("front", ("sales.orders", "sales.shops"))
    assert (report.timezone, report.window, report.keep) == (
        "Europe/Madrid",
        timedelta(days=35),
        timedelta(days=400),
    )
    assert (report.max_db_share, report.max_wait) == (0.0025, timedelta(seconds=10))
    assert report.valid_until == "SELECT min(due_at) FROM sales.orders WHERE due_at > $1"
    assert report.valid_until_parameters == ("now",)
    assert list(report.rollup) == ["a", "b", "r", "o", "m", "x"]


def test_titles_are_read_by_language_and_measure() -> None:
    titles = '{es = {report = "Ventas", total = "Importe"}, pt-BR = {"oldest.at" = "Desde"}}'
    assert parse(source(titles=titles)).titles == {
        "es": {"report": "Ventas", "total": "Importe"},
        "pt-BR": {"oldest.at": "Desde"},
    }


@pytest.mark.parametrize(
    ("titles", "fault"),
    [
        ('{Spanish = {report = "Ventas"}}', "titles.Spanish: must be a language"),
        ('{es = {totl = "Importe"}}', "titles.es.totl: is not a known key; did you mean 'total'?"),
        ("{es = {total = 7}}", "titles.es.total: 7 must be a string"),
        ('{es = {total = "a\\nb"}}', "titles.es.total: must be printable text"),
        ('{es = {total = " "}}', "titles.es.total: must be printable text"),
        ('{es = "Ventas"}', "titles.es: must be a table"),
    ],
)
def test_titles_that_cannot_be_shown_are_refused_by_their_key(titles: str, fault: str) -> None:
    with pytest.raises(ReportError, match=re.escape(fault)):
        parse(source(titles=titles))


def test_a_column_of_the_query_may_say_when_time_changes_the_numbers() -> None:
    query = (
        "SELECT shop_id, count(*) AS a, min(ends) AS ends FROM t WHERE ends > :now AND at < :day_end GROUP BY 1"
    )
    report = parse(source(query, valid_until='"column ends"'))
    assert report.valid_until_column == "ends"
    assert report.valid_until.split("\n") == ["SELECT min(ends) FROM (", report.sql, ") AS rows"]
    assert report.valid_until_parameters == report.parameters == ("now", "day_end")
    assert parse(source(query, valid_until='"min(ends) FROM t"')).valid_until_column == ""


def write(folder: Path, **files: str) -> Path:
    (folder / "trees").mkdir(exist_ok=True)
    (folder / "trees" / "organisation.sql").write_text(TREES["organisation"])
    for name, text in files.items():
        (folder / f"{name}.sql").write_text(text)
    return folder


def test_reports_of_a_users_folder_stand_beside_the_shipped_ones_or_replace_them(tmp_path: Path) -> None:
    shipped = load_reports()
    folder = write(tmp_path, sales=source(), own=source(name='"management"', title='"Mine"'))
    assert load_reports(folder).keys() == {*shipped, "sales"}
    assert load_reports(folder)["management"].title == "Mine"


def test_of_the_shipped_reports_those_are_used_that_are_wanted(tmp_path: Path) -> None:
    folder = write(tmp_path, sales=source())
    assert load_reports(folder, shipped="on").keys() == {*load_reports(), "sales"}
    assert load_reports(folder, shipped="blockers , workload").keys() == {"blockers", "workload", "sales"}
    assert load_reports(folder, shipped="off").keys() == {"sales"}
    assert load_reports(shipped="off") == {}


def test_a_shipped_report_that_is_not_wanted_may_be_written_anew(tmp_path: Path) -> None:
    folder = write(tmp_path, own=source(name='"management"', title='"Mine"'))
    assert load_reports(folder, shipped="off")["management"].title == "Mine"


def test_a_wanted_report_that_is_not_shipped_is_refused_by_its_setting() -> None:
    with pytest.raises(
        ReportError, match=r"'sales' is not a shipped report; allowed: activity, blockers"
    ) as refusal:
        load_reports(shipped="management,sales")
    assert refusal.value.field == "MOMENTUS_REPORTS__SHIPPED"


def test_two_files_with_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="name of another report") as refusal:
        load_reports(write(tmp_path, a=source(), b=source()))
    assert refusal.value.field == "b.sql:2: name"


def test_a_tree_must_lie_beside_the_reports_that_name_it(tmp_path: Path) -> None:
    (tmp_path / "sales.sql").write_text(source())
    with pytest.raises(ReportError, match=r"trees/organisation\.sql does not exist.*allowed: none"):
        load_reports(tmp_path)


def test_a_folder_that_is_none_is_refused_by_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="is not a folder") as refusal:
        load_reports(tmp_path / "gone")
    assert refusal.value.field == "MOMENTUS_REPORTS__PATH"


def with_tree(*head: str) -> Report:
    text = "\n".join(["-- +++", *(f"-- {line}" for line in head), "-- +++", "SELECT 1 AS id;", ""])
    return parse_report(source(), file="sales.sql", trees={"organisation": text})


def test_a_tree_says_by_what_rules_its_rows_are_one() -> None:
    assert parse(source()).tree_rules == TreeRules()
    report = with_tree(
        'roots = "several"', f'orphans = "{HANG}"', 'languages = ["es", "pt-BR"]', 'separator = "::"'
    )
    assert report.tree == "SELECT 1 AS id"
    assert report.tree_rules == TreeRules(
        several_roots=True, orphans=HANG, languages=("es", "pt-BR"), separator="::"
    )
    assert report.tree_rules.place.query == 7


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('roots = "many"', "roots: 'many' must be one of 'one', 'several'"),
        ('orphans = "drop"', "orphans: 'drop' must be one of 'refuse', 'leave out', 'hang under"),
        ('orphans = ""', "orphans: '' must be one of"),
        ('languages = "es"', "languages: must be a list of languages"),
        ('languages = ["Spanish"]', "languages: must be a list of languages"),
        ('separator = ""', "separator: must be 1 to 8 characters"),
        ('root = "one"', "root: is not a known key; did you mean 'roots'?"),
    ],
)
def test_a_rule_of_a_tree_that_is_none_is_refused_by_file_line_and_key(line: str, fault: str) -> None:
    with pytest.raises(ReportError) as refused:
        with_tree(line)
    assert str(refused.value).startswith(f"trees/organisation.sql:2: {fault}")


def test_a_declared_zone_makes_instants_of_a_column_and_moves_no_line() -> None:
    text = source().replace("-- rollup", '-- zones = {oldest = "Europe/Madrid"}\n-- rollup')
    report = parse(text)
    assert report.sql.startswith(
        'SELECT "node_id", "total", "oldest" AT TIME ZONE \'Europe/Madrid\' AS "oldest", '
    )
    assert report.sql.count("\n") == parse(source()).sql.count("\n") + 1
    for zones, words in (
        ('{oldest = "Madrid"}', "'Madrid' must be an IANA"),
        ('{odlest = "UTC"}', "did you mean"),
    ):
        with pytest.raises(ReportError, match=words):
            parse(text.replace('{oldest = "Europe/Madrid"}', zones))


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ("avg", "an average needs its weight"),
        ("avg by oldest", "'oldest' must be a measure with sum"),
        ("avg by nobody", "'nobody' must be a measure with sum"),
    ],
)
def test_an_average_needs_a_weight(how: str, fault: str) -> None:
    assert (
        parse(source(rollup='{total = "sum", age = "avg by total", oldest = "min"}')).rollup["age"]
        == "avg by total"
    )
    with pytest.raises(ReportError, match=fault):
        parse(source(rollup=f'{{total = "sum", age = "{how}", oldest = "min"}}'))
