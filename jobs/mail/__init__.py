"""Mail: composing, checking and encoding it into the exact bytes to send. Pure; the worker sends it."""
