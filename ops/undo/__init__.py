"""The command that undoes a deletion within ten minutes."""
