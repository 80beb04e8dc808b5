"""Operators' page: the state of the queue in a browser on the same machine. It only reads."""
