"""SMTP: connections, their stages, and what a reply means."""
