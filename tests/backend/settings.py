"""The backend's own settings; its name is the same as one of ours."""

COMPANY = "Acme"
