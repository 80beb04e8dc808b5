"""Commands for mail: accounts, single mails, suppression, bounces."""
