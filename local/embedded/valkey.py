"""Embedded Valkey: durable to about a second, on 127.0.0.1, protected by a password.

Every write goes to the append-only file, synced each second, and nothing is ever evicted: a writer gets an error
when memory runs out, and no job is lost unnoticed. The append-only file is on from the start;
switching it on later makes the server refuse to stop while it writes the first one. It refuses SIGTERM then
("Writing initial AOF, can't exit"), so the signal is repeated.

The password is kept beside the data, and given to the server in a file: every user can read a command line.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self
from urllib.parse import quote

from local.embedded.binaries import find_valkey
from local.embedded.folders import open_directory, read_or_make_password
from local.embedded.ports import free_port, require_free
from local.supervisor.process import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Valkey:
    """One server; see `in_directory`."""

    data: Path
    port: int
    password: str | None
    binary: Path
    setting: str
    arguments: tuple[str, ...]

    @classmethod
    def in_directory(
        cls,
        directory: Path,
        *,
        port: int | None = None,
        setting: str = "MOMENTUS_REDIS_URL",
        protected: bool = True,
        arguments: tuple[str, ...] = (),
    ) -> Self:
        """Return a server on the data in `directory`, which is created if absent.

        Args:
            directory: holds the data from one run to the next.
            port: on 127.0.0.1; a free one if None.
            setting: name in the message about a port in use.
            protected: require the password kept in the directory.
            arguments: further command-line arguments, `("--maxmemory", "64mb")`.

        Raises:
            BinaryNotFound, DataDirectoryError: see `local.errors`.

        Example:
            valkey = Valkey.in_directory(Path(".momentus/valkey"))
            async with Supervisor([valkey.process()]):
                client = redis.asyncio.from_url(valkey.url)
        """
        data = open_directory(directory)
        return cls(
            data=data,
            port=port or free_port(),
            password=read_or_make_password(data / "password") if protected else None,
            binary=find_valkey(),
            setting=setting,
            arguments=arguments,
        )

    @property
    def url(self) -> str:
        """Address for clients; holds the password."""
        credentials = f":{quote(self.password)}@" if self.password else ""
        return f"redis://{credentials}127.0.0.1:{self.port}/0"

    def process(self, name: str = "valkey") -> Process:
        """Return the process to supervise. Its working directory is that of its data."""
        return Process(
            name=name,
            argv=[str(self.binary), self._configuration.name, *self.arguments],
            cwd=self.data,
            prepare=self._prepare,
            ready=self._ready,
            stop_again=timedelta(milliseconds=500),
        )

    @property
    def _configuration(self) -> Path:
        return self.data / "valkey.conf"

    async def _prepare(self) -> None:
        """Raise for a port in use; write the configuration.

        Raises:
            PortInUse: naming `setting`.
        """
        require_free(self.port, server="Valkey", setting=self.setting)
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(self._configured(), "utf-8")

    def _configured(self) -> str:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "loglevel warning",
        ]
        if self.password:
            lines.append(f"requirepass {self.password}")
        return "\n".join([*lines, ""])

    async def _ready(self, pid: int) -> bool:
        """Return True if this process answers; another may have taken the port between check and start."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            login = f"AUTH {self.password}\r\n" if self.password else ""
            writer.write(f"{login}INFO server\r\nINFO persistence\r\nQUIT\r\n".encode("ascii"))
            answer = await reader.read()
        finally:
            writer.close()
        return f"process_id:{pid}\r\n".encode() in answer and b"\r\nloading:0\r\n" in answer
