"""Report definitions: SQL files with front matter, read and checked. Nothing here connects to a database.

The public names are loaded at first use, since most commands of operators need none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.catalogue import load_reports as load_reports
    from reports.definition import Report as Report, ReportError as ReportError, parse_report as parse_report

_HOMES = {
    "Report": "definition",
    "ReportError": "definition",
    "load_reports": "catalogue",
    "parse_report": "definition",
}


def __getattr__(name: str) -> object:
    """Return a public name from the module that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
