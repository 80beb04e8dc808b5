"""Limits: shown, changed, removed."""
