"""The worker's part of the ledger: it hands staged jobs to Redis, and records in Postgres how they ended.

Postgres has a row of each job until long after it has ended (``ledger/``); Redis has the live ones. Between them:

    relay      pushes jobs whose row is pending, and removes them from the pending ones
    recorder   writes ends, which scripts leave in Redis, to Postgres
    marks      writes to Postgres that an effect is about to begin, beside the mark in Redis
    reconcile  makes jobs pending again that Redis has lost

Any number of workers do this side by side. What a crash causes at each point is in ``docs/decisions.md``.
"""
