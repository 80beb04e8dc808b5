"""Stands in for arq's own worker, for code written for it: ``docs/arq.md``."""
