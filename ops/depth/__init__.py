"""Depth: how many jobs wait, why, and until when."""
