"""Commands for schedules: list them, and run one now."""
