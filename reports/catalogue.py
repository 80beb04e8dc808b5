"""Report files on disk: the selected shipped reports, and those of a folder that the user names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.definition import Report, ReportError, parse_report

SHIPPED = Path(__file__).parent
"""The folder of the reports that come with the product."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Result of reading a folder: its reports by name, and an error for every file that cannot be used."""

    reports: Mapping[str, Report]
    faults: tuple[ReportError, ...]


def load_reports(folder: Path | None = None, *, shipped: str = "on") -> Mapping[str, Report]:
    """Return every declared report by name.

    Args:
        folder: folder of further report files; a report with the name of a shipped one replaces it.
        shipped: selection of the shipped reports, see :func:`read_shipped`.

    Raises:
        ReportError: a file that cannot be used, a folder that cannot be read, or a name that is not shipped.
    """
    reports: dict[str, Report] = {}
    for found in (read_shipped(shipped), *([] if folder is None else [read_folder(folder)])):
        if found.faults:
            raise found.faults[0]
        reports |= found.reports
    return reports


def read_shipped(words: str = "on") -> Folder:
    """Read the shipped reports: all for ``on``, none for ``off``, else those in a comma-separated list.

    >>> sorted(read_shipped("blockers, workload").reports), read_shipped("off").reports
    (['blockers', 'workload'], {})

    Raises:
        ReportError: a name that is not shipped.
    """
    if words == "off":
        return Folder({}, ())
    folder = read_folder(SHIPPED)
    if words == "on":
        return folder
    names = [name.strip() for name in words.split(",")]
    for name in names:
        if name not in folder.reports:
            known = ", ".join(sorted(folder.reports))
            raise ReportError("MOMENTUS_REPORTS__SHIPPED", f"{name!r} is not a shipped report; allowed: {known}")
    return Folder({name: report for name, report in folder.reports.items() if name in names}, folder.faults)


def read_folder(folder: Path) -> Folder:
    """Read all reports of one folder, and collect the errors of files that cannot be used.

    Raises:
        ReportError: the path is not a folder.
    """
    if not folder.is_dir():
        raise ReportError("MOMENTUS_REPORTS__PATH", f"{folder} is not a folder; name one that holds .sql files")
    reports: dict[str, Report] = {}
    faults: list[ReportError] = []
    for path in sorted(folder.glob("*.sql")):
        try:
            report = _read(path)
            if report.name in reports:
                raise report.place.error_at(
                    "name", f"{report.name!r} is already the name of another report in this folder; choose another"
                )
            reports[report.name] = report
        except ReportError as fault:
            faults.append(fault)
    return Folder(reports, tuple(faults))


def schema_file(folder: Path, name: str) -> Path:
    """Return the path at which the JSON Schema of a report's documents is pinned, beside the report."""
    return folder / f"{name}.schema.json"


def _read(path: Path) -> Report:
    trees = {one.stem: _text(one) for one in (path.parent / "trees").glob("*.sql")}
    schema = _schema(schema_file(path.parent, path.stem))
    return parse_report(_text(path), file=path.name, trees=trees, schema=schema)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path.name}:1", f"cannot be read as UTF-8 text: {error}") from None


def _schema(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    try:
        schema = json.loads(_text(path))
    except ValueError as error:
        raise ReportError(
            f"{path.name}:1", f"is not JSON: {error}; write it with ./run ops reports check --pin"
        ) from None
    if not isinstance(schema, dict):
        raise ReportError(f"{path.name}:1", "must be a JSON Schema; ./run ops reports check --pin writes it")
    return schema
