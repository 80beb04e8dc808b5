"""The backend's own jobs: the word means open positions here."""

OPEN_POSITIONS = 3
