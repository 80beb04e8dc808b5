"""SMTP: connections, their stages, and the meaning of replies."""
