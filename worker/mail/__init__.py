"""Mail delivery: SMTP by stages, a pool of open connections, and the meaning of a server's replies."""
