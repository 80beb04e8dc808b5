"""Look after sessions: who is logged in where, and log them out."""
