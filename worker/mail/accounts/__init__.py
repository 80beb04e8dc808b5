"""Accounts of mail servers: which one carries a mail, and how much it may carry."""
