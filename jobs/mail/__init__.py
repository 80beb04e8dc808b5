"""Mail: what may be written, to whom, and the exact octets that go out. Pure; sending is the worker's."""
