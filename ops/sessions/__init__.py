"""Commands that list and end sessions, and create tokens for machines."""
