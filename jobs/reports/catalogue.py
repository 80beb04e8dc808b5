"""All reports: those of this folder, and those of a folder the user names."""

from collections.abc import Mapping
from pathlib import Path

from .definition import Report, ReportError, parse_report

_OWN = Path(__file__).parent


def load_reports(folder: Path | None = None) -> Mapping[str, Report]:
    """Every declared report by name.

    Args:
        folder: more report files; one with the name of a shipped report replaces it.

    Raises:
        ReportError: a file that cannot be used, or a folder that cannot be read.
    """
    if folder is not None and not folder.is_dir():
        raise ReportError("MOMENTUS_REPORTS__PATH", f"{folder} is not a folder; name one that holds .sql files")
    own = _read(_OWN)
    return own if folder is None else {**own, **_read(folder)}


def _read(folder: Path) -> dict[str, Report]:
    reports: dict[str, Report] = {}
    trees = {path.stem: path.read_text(encoding="utf-8") for path in (folder / "trees").glob("*.sql")}
    for path in sorted(folder.glob("*.sql")):
        report = parse_report(path.read_text(encoding="utf-8"), file=path.name, trees=trees)
        if report.name in reports:
            raise ReportError(f"{path.name}: name", f"{report.name!r} names another report of this folder")
        reports[report.name] = report
    return reports
