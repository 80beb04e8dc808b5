"""Commands for single workers: list, quiet, resume, stop."""
