"""Commands of ``ops reports``, each from its own file."""

from ops.command import Group
from ops.reports import advise, check, forget, install_postgres, preview, refresh, status

REPORTS = Group(
    "reports",
    "manage reports: marks in the database, checks, previews, status",
    (
        *(*install_postgres.COMMANDS, *check.COMMANDS, *preview.COMMANDS, *status.COMMANDS, *advise.COMMANDS),
        *(*refresh.COMMANDS, *forget.COMMANDS),
    ),
)
