"""The invented organisation: exact, repeatable, consistent, and nothing from the future."""

import csv
import gzip
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, strategies as st

from local.organisation import Organisation, OrganisationSize, generate_organisation, read_world
from local.organisation.errors import InstantError, SizeError, WorldError
from local.organisation.tables import TABLES, example_address
from tests import oracle

MONDAY = datetime(2026, 3, 2, 10, 30, tzinfo=ZoneInfo("America/Bogota"))
SMALL = OrganisationSize(nodes=40, depth=5, employees=120, memberships=60, tasks=400, checkins=9_000, blockers=300)
DATED = {"joined_at", "left_at", "created_at", "closed_at", "opened_at", "at"}
REFERENCES = {
    ("nodes", "parent_id"): "nodes",
    ("employees", "node_id"): "nodes",
    ("memberships", "employee_id"): "employees",
    ("memberships", "node_id"): "nodes",
    ("tasks", "node_id"): "nodes",
    ("tasks", "assignee_id"): "employees",
    ("checkins", "employee_id"): "employees",
    ("checkins", "node_id"): "nodes",
    ("blockers", "node_id"): "nodes",
    ("blockers", "employee_id"): "employees",
    ("blockers", "task_id"): "tasks",
}

instants = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001  the strategy adds the zone
    datetime(2100, 1, 1),  # noqa: DTZ001  the strategy adds the zone
    timezones=st.sampled_from(
        [UTC, ZoneInfo("America/Bogota"), ZoneInfo("America/Santiago"), ZoneInfo("Asia/Kolkata")]
    ),
)


@st.composite
def sizes(draw: st.DrawFn) -> OrganisationSize:
    nodes = draw(st.integers(1, 60))
    employees = draw(st.integers(0, 40))
    return OrganisationSize(
        nodes=nodes,
        depth=draw(st.integers(1, 20)),
        employees=employees,
        memberships=draw(st.integers(0, min(80, employees * (nodes - 1)))),
        tasks=draw(st.integers(0, 60)),
        checkins=draw(st.integers(0, 200)) if employees else 0,
        blockers=draw(st.integers(0, 60)),
    )


def _records(organisation: Organisation) -> dict[str, list[oracle.Record]]:
    return {table.name: oracle.named(table.column_names, rows) for table, rows in organisation.tables()}


def _levels(nodes: list[oracle.Record]) -> list[int]:
    level = {None: -1}
    for node in nodes:
        level[node["id"]] = level[node["parent_id"]] + 1
    return [level[node["id"]] for node in nodes]


@given(size=sizes(), seed=st.integers(), now=instants)
def test_it_has_exactly_the_rows_asked_for_with_ids_of_their_own(
    size: OrganisationSize, seed: int, now: datetime
) -> None:
    organisation = generate_organisation(size, seed=seed, now=now)
    records = _records(organisation)
    for name, rows in records.items():
        assert len(rows) == organisation.counts()[name] == getattr(size, name)
        keys = [
            (row.get("id"), row.get("employee_id"), row["node_id"]) if name == "memberships" else row["id"]
            for row in rows
        ]
        assert len(set(keys)) == len(rows)


@given(size=sizes(), seed=st.integers(), now=instants)
def test_the_tree_has_one_root_and_reaches_the_depth_but_never_passes_it(
    size: OrganisationSize, seed: int, now: datetime
) -> None:
    nodes = _records(generate_organisation(size, seed=seed, now=now))["nodes"]
    assert [node["id"] for node in nodes if node["parent_id"] is None] == [1]
    deepest = max(_levels(nodes))
    assert deepest == size.depth if size.nodes > size.depth else deepest <= size.depth


@given(size=sizes(), seed=st.integers(), now=instants)
def test_every_reference_leads_to_a_row(size: OrganisationSize, seed: int, now: datetime) -> None:
    records = _records(generate_organisation(size, seed=seed, now=now))
    ids = {name: {row.get("id") for row in rows} | {None} for name, rows in records.items()}
    for (table, column), target in REFERENCES.items():
        assert {row[column] for row in records[table]} <= ids[target], (table, column)


SKIPPED = datetime(2008, 10, 12, tzinfo=ZoneInfo("America/Santiago"), fold=1)
"""A midnight that no clock showed."""
ONE_CHECKIN = OrganisationSize(nodes=1, depth=1, employees=1, memberships=0, tasks=0, checkins=1, blockers=0)


@given(size=sizes(), seed=st.integers(), now=instants)
@example(size=ONE_CHECKIN, seed=0, now=SKIPPED)
def test_nothing_lies_after_now_and_nothing_ends_before_it_begins(
    size: OrganisationSize, seed: int, now: datetime
) -> None:
    records = _records(generate_organisation(size, seed=seed, now=now))
    for row in chain.from_iterable(records.values()):
        assert all(row[column] <= now for column in DATED & row.keys() if row[column])
    begun_and_ended = (
        *((row["joined_at"], row["left_at"]) for row in records["employees"]),
        *((row["created_at"], row["closed_at"]) for row in records["tasks"]),
        *((row["opened_at"], row["closed_at"]) for row in records["blockers"]),
    )
    assert all(begun <= ended for begun, ended in begun_and_ended if ended)


@given(size=sizes(), seed=st.integers(), now=instants)
@example(size=ONE_CHECKIN, seed=0, now=SKIPPED)
def test_somebody_checks_in_today_and_otherwise_only_on_working_days(
    size: OrganisationSize, seed: int, now: datetime
) -> None:
    checkins = _records(generate_organisation(size, seed=seed, now=now))["checkins"]
    days = {row["at"].astimezone(now.tzinfo).date() for row in checkins}
    today = now.astimezone(UTC).astimezone(now.tzinfo).date()
    assert (today in days) == bool(checkins)
    assert all(day.weekday() < 5 for day in days - {today})
    assert all(today - day < timedelta(days=96) for day in days)


def test_the_same_seed_gives_the_same_rows_and_another_seed_gives_others() -> None:
    first, again, other = (_records(generate_organisation(SMALL, seed=seed, now=MONDAY)) for seed in (1, 1, 2))
    assert first == again
    assert all(first[table.name] != other[table.name] for table in TABLES)


def test_rows_can_be_walked_twice() -> None:
    organisation = generate_organisation(SMALL, seed=1, now=MONDAY)
    assert _records(organisation) == _records(organisation)


def test_two_in_a_hundred_blockers_are_open_and_agree_with_their_tasks() -> None:
    records = _records(generate_organisation(SMALL, seed=1, now=MONDAY))
    assert sum(row["closed_at"] is None for row in records["blockers"]) == 6
    task = {row["id"]: row for row in records["tasks"]}
    on_tasks = [(row, task[row["task_id"]]) for row in records["blockers"] if row["task_id"]]
    assert on_tasks
    assert all(blocker["node_id"] == blocked["node_id"] for blocker, blocked in on_tasks)
    assert all(blocker["opened_at"] >= blocked["created_at"] for blocker, blocked in on_tasks)


def test_tasks_are_open_overdue_and_closed_as_their_status_says() -> None:
    tasks = _records(generate_organisation(SMALL, seed=1, now=MONDAY))["tasks"]
    assert {row["status"] for row in tasks} == {"open", "in_progress", "done", "cancelled"}
    assert all((row["closed_at"] is None) == (row["status"] in {"open", "in_progress"}) for row in tasks)
    still_open = [row for row in tasks if row["closed_at"] is None]
    assert {bool(row["due_at"] and row["due_at"] < MONDAY) for row in still_open} == {True, False}


def test_some_people_left_some_check_in_twice_and_some_elsewhere() -> None:
    records = _records(generate_organisation(SMALL, seed=1, now=MONDAY))
    assert any(row["left_at"] for row in records["employees"])
    home = {row["id"]: row["node_id"] for row in records["employees"]}
    assert {row["node_id"] == home[row["employee_id"]] for row in records["checkins"]} == {True, False}
    daily = Counter((row["employee_id"], row["at"].date()) for row in records["checkins"])
    assert {1, 2} <= set(daily.values())


def test_nobody_sits_on_their_own_home_a_second_time() -> None:
    full = OrganisationSize(nodes=4, depth=2, employees=9, memberships=27, tasks=0, checkins=0, blockers=0)
    records = _records(generate_organisation(full, seed=1, now=MONDAY))
    home = {row["id"]: row["node_id"] for row in records["employees"]}
    assert all(row["node_id"] != home[row["employee_id"]] for row in records["memberships"])


def test_people_are_pseudonyms_with_addresses_that_reach_nobody() -> None:
    employees = _records(generate_organisation(SMALL, seed=1, now=MONDAY))["employees"]
    assert len({row["handle"] for row in employees}) == len(employees)
    assert example_address(employees[0]["handle"]).endswith("@example.com")


def test_check_ins_are_made_only_as_they_are_walked() -> None:
    hundred_million = OrganisationSize(checkins=100_000_000)
    organisation = generate_organisation(hundred_million, seed=1, now=MONDAY)
    assert organisation.counts()["checkins"] == 100_000_000


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("nodes", {"nodes": 0}),
        ("nodes", {"nodes": 1.5}),
        ("depth", {"depth": 0}),
        ("employees", {"employees": -1}),
        ("checkins", {"employees": 0, "memberships": 0}),
        ("memberships", {"nodes": 2, "employees": 3, "memberships": 4}),
    ],
)
def test_an_impossible_size_is_refused_by_the_name_of_its_field(field: str, fields: dict[str, int]) -> None:
    with pytest.raises(SizeError, match=rf"{field}: is impossible \(.+\); .+") as refusal:
        OrganisationSize(**fields)
    assert refusal.value.field == field


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InstantError, match="now: has no time zone"):
        generate_organisation(SMALL, seed=1, now=MONDAY.replace(tzinfo=None))


def _write_world(folder: Path, organisation: Organisation) -> None:
    for table, rows in organisation.tables():
        with gzip.open(folder / f"{table.name}.csv.gz", "wt", encoding="utf-8", newline="") as text:
            lines = csv.writer(text, lineterminator="\n")
            lines.writerow(table.column_names)
            lines.writerows(rows)


def _rewrite(file: Path, old: str, new: str) -> None:
    text = gzip.decompress(file.read_bytes()).decode()
    assert old in text
    file.write_bytes(gzip.compress(text.replace(old, new, 1).encode()))


@pytest.fixture
def world(tmp_path: Path) -> Path:
    _write_world(tmp_path, generate_organisation(SMALL, seed=1, now=MONDAY))
    return tmp_path


def test_a_world_read_from_files_has_the_rows_that_were_written(world: Path) -> None:
    assert _records(read_world(world)) == _records(generate_organisation(SMALL, seed=1, now=MONDAY))


def test_the_oracle_reads_the_same_files_to_the_same_rows(world: Path) -> None:
    records = _records(read_world(world))
    assert oracle.read_csv(world) == {name: records[name] for name in oracle.TABLES}


def test_a_missing_file_is_named(world: Path) -> None:
    (world / "tasks.csv.gz").unlink()
    with pytest.raises(WorldError, match=r"tasks\.csv\.gz: is missing"):
        read_world(world)


@pytest.mark.parametrize(
    ("old", "new", "line", "column"),
    [
        ("id,parent_id", "id,parent", 1, "parent_id"),
        ("\n1,,", "\n0,,", 2, "id"),
        ("\n1,,", "\n-1,,", 2, "id"),
        ("\n1,,", "\n1,x,", 2, "parent_id"),
        ("\n1,,Grupo Meridiano,", "\n1,,,", 2, "name"),
        (",root\n", ",root,root\n", 2, None),
    ],
)
def test_a_malformed_field_is_named_by_file_line_and_column(
    world: Path, old: str, new: str, line: int, column: str | None
) -> None:
    _rewrite(world / "nodes.csv.gz", old, new)
    with pytest.raises(WorldError) as refusal:
        read_world(world)
    assert (refusal.value.file.name, refusal.value.line, refusal.value.column) == (
        "nodes.csv.gz",
        line,
        column,
    )


@pytest.mark.parametrize("wrong", ["2026-03-02", "yesterday", "2026-03-02T10:00:00"])
def test_a_time_without_an_offset_is_named_by_its_place(world: Path, wrong: str) -> None:
    first = next(iter(generate_organisation(SMALL, seed=1, now=MONDAY).checkins))
    _rewrite(world / "checkins.csv.gz", str(first[3]), wrong)
    with pytest.raises(WorldError, match=r"checkins\.csv\.gz, line 2, column at: ") as refusal:
        read_world(world)
    assert wrong not in str(refusal.value).partition("column at: ")[2].split(" such as ")[0]


NOT_TABLES = {
    "no gzip": b"not gzip",
    "cut short": gzip.compress(b"id,parent_id\n")[:-9],
    "not UTF-8": gzip.compress(b"\xff\n"),
}


@pytest.mark.parametrize("content", NOT_TABLES.values(), ids=NOT_TABLES.keys())
def test_a_damaged_file_is_named(world: Path, content: bytes) -> None:
    (world / "nodes.csv.gz").write_bytes(content)
    with pytest.raises(WorldError, match=r"nodes\.csv\.gz"):
        read_world(world)
