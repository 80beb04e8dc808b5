"""Lane groups whose jobs can be staged: all but that of reports, which no transaction asks for."""

from jobs.lanes import OWN

LEDGER_GROUPS = ("mail", OWN)
