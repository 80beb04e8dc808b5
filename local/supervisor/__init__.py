"""Supervisor of the processes of one machine: starts them, restarts them, and stops them in order."""
