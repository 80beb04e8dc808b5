"""Lanes: held and released."""
