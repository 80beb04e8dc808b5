"""Staging of jobs in Postgres: rows of the ledger, written on a connection of the application.

A row belongs to the transaction of that connection. A worker's relay hands it over to Redis after the commit;
without a commit there is no job. No library is imported here: the connection brings the application's own.

| file | has |
|---|---|
| :mod:`.level` | the levels of a call, and which arguments belong to them |
| :mod:`.facts`, :mod:`.row` | what a row says, and how it is made of an entry |
| :mod:`.statement` | the one statement that inserts rows |
| :mod:`.kinds` | which connections there are, and how they are told apart |
| :mod:`.asyncpg_rows`, :mod:`.psycopg_rows`, … | the writing to each of them |
| :mod:`.faults` | errors of the database |
| :mod:`.token`, :mod:`.wake`, :mod:`.sync_wake` | the token that tells relays |
"""
