"""Lane groups whose jobs can be staged: all but that of reports, which no transaction requests."""

from jobs.lanes import OWN

LEDGER_GROUPS = ("mail", OWN)
