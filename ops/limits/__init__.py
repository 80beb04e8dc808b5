"""Commands that show, define, remove and hold limits."""
