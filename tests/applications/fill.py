"""Invented rows for the two applications; the same for the same seed."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

DEPARTMENTS, EMPLOYEES, ATTENDANCES, EXPENSES = 40, 120, 300, 150
WORKSPACES, PROJECTS, MODULES, ISSUES, PEOPLE = 3, 12, 25, 250, 20
HOUR = timedelta(hours=1)


async def fill_personnel(database: Any, *, now: datetime, seed: int = 1) -> None:
    """Departments of several companies, some archived in the middle of the tree, and what their people did."""
    draw, utc = Random(seed), now.astimezone(UTC).replace(tzinfo=None)  # noqa: S311  invented rows
    paths: dict[int, str] = {}
    departments = []
    for number in range(1, DEPARTMENTS + 1):
        parent = None if number <= 3 else draw.randint(1, number - 1)
        paths[number] = f"{paths[parent] if parent else ''}{number}/"
        names = {"en_US": f"Department {number}"} | ({"es_PE": f"Área {number}"} if number % 3 else {})
        living = number <= 3 or draw.random() > 0.15
        departments.append((json.dumps(names), parent, paths[number], living or None, 1 + number % 2, utc))
    columns = ["name", "parent_id", "parent_path", "active", "company_id", "create_date"]
    await _copy(database, "hr_department", columns, departments)
    employees = [
        (f"Person {number}", draw.randint(1, DEPARTMENTS) if number % 20 else None, draw.random() > 0.1, utc)
        for number in range(1, EMPLOYEES + 1)
    ]
    await _copy(database, "hr_employee", ["name", "department_id", "active", "create_date"], employees)
    attendances = []
    for _ in range(ATTENDANCES):
        began = utc - draw.random() * 72 * HOUR
        ended = began + draw.random() * 9 * HOUR
        attendances.append(
            (draw.randint(1, EMPLOYEES), began, ended if ended < utc or draw.random() > 0.5 else None)
        )
    await _copy(database, "hr_attendance", ["employee_id", "check_in", "check_out"], attendances)
    expenses = [
        (
            draw.randint(1, EMPLOYEES),
            f"Expense {number}",
            draw.choice(["draft", "reported", "approved", "done", "refused"]),
            (now - draw.randint(0, 90) * timedelta(days=1)).date(),
            None if number % 50 == 0 else Decimal(draw.randint(1, 10**9)) / draw.choice([1, 10, 100, 10_000]),
        )
        for number in range(EXPENSES)
    ]
    await _copy(database, "hr_expense", ["employee_id", "name", "state", "date", "total_amount"], expenses)


async def fill_delivery(database: Any, *, now: datetime, seed: int = 1) -> None:
    """Workspaces, projects and modules, some of each deleted or archived, and issues in all of them."""
    draw = Random(seed)  # noqa: S311  invented rows
    workspaces, projects, modules, issues, people = (
        [UUID(int=draw.getrandbits(128), version=4) for _ in range(many)]
        for many in (WORKSPACES, PROJECTS, MODULES, ISSUES, PEOPLE)
    )

    def rarely(share: float) -> datetime | None:
        return now - draw.random() * 100 * HOUR if draw.random() < share else None

    rows: list[tuple[Any, ...]] = [(one, f"Workspace {number}", None) for number, one in enumerate(workspaces)]
    await _copy(database, "workspaces", ["id", "name", "deleted_at"], rows, schema="plan")
    rows = [
        (one, draw.choice(workspaces), f"Project {number}" if number else None, rarely(0.1), rarely(0.1))
        for number, one in enumerate(projects)
    ]
    columns = ["id", "workspace_id", "name", "archived_at", "deleted_at"]
    await _copy(database, "projects", columns, rows, schema="plan")
    above = {one: draw.choice(projects) for one in modules}
    rows = [
        (one, above[one], f"Module {number}", (now + draw.randint(-20, 60) * 24 * HOUR).date(), rarely(0.1))
        for number, one in enumerate(modules)
    ]
    columns = ["id", "project_id", "name", "target_date", "deleted_at"]
    await _copy(database, "modules", columns, rows, schema="plan")
    rows = []
    for one in issues:
        module = draw.choice([*modules, None])
        created = now - draw.random() * 900 * HOUR
        done = created + draw.random() * 600 * HOUR
        target = (now + draw.randint(-10, 30) * 24 * HOUR).date() if draw.random() < 0.6 else None
        estimate = Decimal(draw.randint(0, 10**7)) / 100 if draw.random() < 0.8 else None
        priority = draw.choice(["urgent", "high", "medium", "low", "none"])
        project = above[module] if module else draw.choice(projects)
        rows.append(
            (one, project, module, priority, estimate, target, created, done if done < now else None, rarely(0.05))
        )
    columns = [
        "id",
        "project_id",
        "module_id",
        "priority",
        "estimate",
        "target_date",
        "created_at",
        "completed_at",
    ]
    await _copy(database, "issues", [*columns, "deleted_at"], rows, schema="plan")
    rows = [(draw.choice(issues), person, rarely(0.1)) for person in people for _ in range(draw.randint(0, 20))]
    await _copy(database, "assignees", ["issue_id", "user_id", "deleted_at"], rows, schema="plan")


async def _copy(
    database: Any, table: str, columns: list[str], rows: list[tuple[Any, ...]], schema: str = "public"
) -> None:
    await database.copy_records_to_table(table, schema_name=schema, columns=columns, records=rows)
