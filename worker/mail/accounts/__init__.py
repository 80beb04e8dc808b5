"""Accounts at mail servers: choice of the account for a mail, and the limits of each account."""
