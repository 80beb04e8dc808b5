"""How much waits, why, and until when."""
