"""The refresh of reports: one transaction, a roll-up, one atomic write."""
