"""Operators' page: the state of the queue in a browser, and changes to it."""
