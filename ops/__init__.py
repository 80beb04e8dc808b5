"""Tools for operators: the command line, the console, and checks of Redis, Postgres, mail and reports."""
