"""Staging of jobs in Postgres: rows of the ledger, written on a connection of the application.

A row belongs to the transaction of that connection. A worker's relay hands it over to Redis after the commit;
without a commit there is no job. No library is imported here: the connection brings the application's own.
"""
