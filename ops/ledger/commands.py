"""Commands of ``ops ledger``, each from its own file."""

from ops.command import Group
from ops.ledger import conservation, records, retention

LEDGER = Group(
    "ledger",
    "show what the ledger has recorded, compare it with Redis, remove what is old",
    (*records.COMMANDS, *conservation.COMMANDS, *retention.COMMANDS),
)
