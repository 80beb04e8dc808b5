"""The lanes: queues with their own slots, so that a flood in one never holds up another (a bulkhead).

A lane's group is the word before its first dot. All keys of a group share one hash tag, ``{mail}`` for
instance, so that one script may touch several of them on a Redis Cluster.
"""

MAIL_URGENT = "mail.urgent"
MAIL_NORMAL = "mail.normal"
MAIL_BULK = "mail.bulk"
REPORTS = "reports"

MAIL_LANES = (MAIL_URGENT, MAIL_NORMAL, MAIL_BULK)
"""The lanes of mails, in order of priority."""

LANES = (*MAIL_LANES, REPORTS)
"""Every lane, in the order in which tables show them."""
