"""The commands of ``ops reports``, each from the file that does it."""

from ops.command import Group
from ops.reports import advise, check, forget, install_postgres, preview, status

REPORTS = Group(
    "reports",
    "look after reports: what the database marks as changed",
    (
        *(*install_postgres.COMMANDS, *check.COMMANDS, *preview.COMMANDS, *status.COMMANDS, *advise.COMMANDS),
        *forget.COMMANDS,
    ),
)
