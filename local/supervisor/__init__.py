"""Runs the processes of one machine, starts them again when they end, and stops them in order."""
