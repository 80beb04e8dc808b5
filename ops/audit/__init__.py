"""Audit log: who changed what on the console, and why."""
