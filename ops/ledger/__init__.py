"""Commands for the ledger: its schema in Postgres, its records, its agreement with Redis, its retention."""
