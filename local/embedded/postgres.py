"""Embedded Postgres on 127.0.0.1, with a password kept beside its data.

The directory holds `cluster` (made by initdb) and `password`. The server has no Unix socket: its path has a
length limit that a deep data directory would break. Started by root, everything in the directory belongs to
the user that the server runs as, because Postgres refuses root.

Throw-away data (`durable=False`) is kept without fsync: several times faster, and lost with the machine's
power, but not with the process. It is stopped by SIGINT, Postgres' "fast" stop; SIGTERM would wait for every
client to disconnect.
"""

import asyncio
import pwd
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from local.embedded.binaries import find_postgres, server_user
from local.embedded.folders import open_directory, read_or_make_password
from local.embedded.ports import free_port, require_free
from local.errors import DataDirectoryError
from local.supervisor.process import Process

_SUPERUSER = "momentus"
_LOCALE = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"  # macOS has no C.UTF-8
_STATUS_LINE = 8  # of postmaster.pid, as pg_ctl reads it; the first line is the pid


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """One server; see `in_directory`."""

    data: Path
    port: int
    password: str
    binaries: Path
    setting: str
    durable: bool

    @classmethod
    def in_directory(
        cls,
        directory: Path,
        *,
        port: int | None = None,
        setting: str = "MOMENTUS_POSTGRES_DSN",
        durable: bool = True,
    ) -> Self:
        """Return a server on the data in `directory`, which is created if absent.

        Args:
            directory: holds the data from one run to the next.
            port: on 127.0.0.1; a free one if None.
            setting: name in the message about a port in use.
            durable: False for data that may be lost with the machine's power.

        Raises:
            BinaryNotFound, DataDirectoryError: see `local.errors`.

        Example:
            postgres = Postgres.in_directory(Path(".momentus/postgres"))
            async with Supervisor([postgres.process()]):
                connection = await asyncpg.connect(postgres.dsn)
        """
        user = server_user()
        data = open_directory(directory, owner=user)
        return cls(
            data=data,
            port=port or free_port(),
            password=read_or_make_password(data / "password", owner=user),
            binaries=find_postgres(),
            setting=setting,
            durable=durable,
        )

    @property
    def dsn(self) -> str:
        """Address for clients, as superuser of the database `postgres`; holds the password."""
        return f"postgresql://{_SUPERUSER}:{quote(self.password)}@127.0.0.1:{self.port}/postgres"

    def process(self, name: str = "postgres") -> Process:
        """Return the process to supervise."""
        return Process(
            name=name,
            argv=[str(self.binaries / "postgres"), "-D", str(self._cluster), *self._options()],
            cwd=Path("/"),
            user=server_user(),
            prepare=self._prepare,
            ready=self._ready,
            stop_signal=signal.SIGINT,
        )

    @property
    def _cluster(self) -> Path:
        return self.data / "cluster"

    def _options(self) -> list[str]:
        options = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "shared_buffers=64MB",
            "log_checkpoints=off",
        ]
        if not self.durable:
            options += ["fsync=off", "full_page_writes=off"]
        return [part for option in options for part in ("-c", option)]

    async def _prepare(self) -> None:
        """Raise for a port in use; make the cluster on first use.

        Raises:
            PortInUse: naming `setting`.
            DataDirectoryError: initdb failed; with its output.
        """
        require_free(self.port, server="Postgres", setting=self.setting)
        if not (self._cluster / "PG_VERSION").exists():
            await asyncio.to_thread(self._make_cluster)

    def _make_cluster(self) -> None:
        """Make the cluster whole or not at all; an interrupted initdb leaves an unusable directory."""
        building = self.data / "cluster.new"
        shutil.rmtree(building, ignore_errors=True)
        command = [
            str(self.binaries / "initdb"),
            *("-D", str(building), "-U", _SUPERUSER, "--pwfile", str(self.data / "password")),
            *("--auth=scram-sha-256", "--encoding=UTF8", f"--locale={_LOCALE}", "--no-instructions"),
            *([] if self.durable else ["--no-sync"]),
        ]
        user = server_user()
        made = subprocess.run(  # noqa: S603  a fixed command
            command,
            check=False,
            cwd="/",
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if made.returncode:
            raise DataDirectoryError(self.data, f"initdb failed: {made.stdout.strip()}")
        building.rename(self._cluster)

    async def _ready(self, pid: int) -> bool:
        """Return True if this process's status says so; the file of an earlier, killed one has another pid."""
        lines = (self._cluster / "postmaster.pid").read_text("utf-8").splitlines()
        is_own = len(lines) >= _STATUS_LINE and lines[0] == str(pid)
        return is_own and lines[_STATUS_LINE - 1].strip() == "ready"
