"""Commands that hold and release lanes."""
