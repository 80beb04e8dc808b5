"""Look after mail: accounts, single mails, suppression, bounces."""
