"""Commands of ``ops mail``, each from its own file."""

from ops.command import Group
from ops.mail import accounts, bounces, eta, forget, preview, suppression, trace, uncertain, unsuppress

MAIL = Group(
    "mail",
    "manage mail: accounts, single mails, suppression, bounces",
    (
        *accounts.COMMANDS,
        *eta.COMMANDS,
        *trace.COMMANDS,
        *uncertain.COMMANDS,
        *suppression.COMMANDS,
        *unsuppress.COMMANDS,
        *bounces.COMMANDS,
        *forget.COMMANDS,
        *preview.COMMANDS,
    ),
)
