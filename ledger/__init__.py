"""The ledger: jobs that are rows in Postgres, in the transaction that requested them, until they have ended.

``schema`` installs its tables by the numbered migrations in ``sql/``. The worker hands staged rows to Redis and
records how they end; ``ops`` shows them. A backend needs nothing from this room: it inserts rows.
"""
