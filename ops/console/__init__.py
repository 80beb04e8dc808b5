"""The operators' page: what the queue holds, in a browser on the same machine. It only reads."""
