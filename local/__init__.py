"""A whole installation on one machine: servers, processes, an invented company, a mail sink."""
