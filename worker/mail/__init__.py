"""Mail delivery: staged SMTP, a pool of kept connections, and the meaning of a server's replies."""
