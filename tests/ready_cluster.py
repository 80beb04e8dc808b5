"""Throw-away Postgres servers that start from a copy, because initdb costs more than most tests.

A cluster is made once for each set of programs, and kept in `.momentus/clusters`. Copies have one system
identifier and one password: for servers that must not pass for each other, use `Postgres.in_directory`.
"""

import fcntl
import hashlib
import pwd
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from local.embedded.binaries import find_postgres, server_user
from local.embedded.postgres import Postgres
from tests.environments import ROOT
from tests.support import scratch_directory

KEPT = ROOT / ".momentus/clusters"


def postgres_from_copy(directory: Path, *, binaries: Path | None = None) -> Postgres:
    """Return a server on a copy of the ready cluster, in a directory that does not exist yet.

    Args:
        binaries: of other servers than the embedded ones.
    """
    _copy(_ready(binaries), directory)
    return _in_directory(directory, binaries)


def _ready(binaries: Path | None) -> Path:
    KEPT.mkdir(parents=True, exist_ok=True)
    programs = binaries or find_postgres()
    said = subprocess.run([str(programs / "initdb"), "--version"], capture_output=True, check=True).stdout
    made = KEPT / hashlib.sha256(str(programs).encode() + said).hexdigest()[:12]
    with (KEPT / f"{made.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with scratch_directory() as scratch:
                server = _in_directory(scratch / "made", binaries)
                server._make_cluster()
                if binaries is None:  # older ones than 16 have no such setting
                    _hash_once(server)
                shutil.rmtree(made.with_suffix(".new"), ignore_errors=True)
                _copy(server.data, made.with_suffix(".new"))
            made.with_suffix(".new").rename(made)
    return made


def _hash_once(server: Postgres) -> None:
    """Hash passwords once, not 4,096 times, which is a third of a connection's cost; nobody guesses them here."""
    with (server._cluster / "postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.write("scram_iterations = 1\n")
    user = server_user()
    subprocess.run(
        [str(server.binaries / "postgres"), "--single", "-D", str(server._cluster), "postgres"],
        input=f"ALTER ROLE CURRENT_USER PASSWORD '{server.password}'\n".encode(),
        capture_output=True,
        check=True,
        cwd="/",
        user=user,
        group=None if user is None else pwd.getpwnam(user).pw_gid,
        extra_groups=None if user is None else [],
    )


def _copy(source: Path, target: Path) -> None:
    """Copy with the owners: as root, the servers run as somebody else."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)  # noqa: S607  the system's own


def _in_directory(directory: Path, binaries: Path | None) -> Postgres:
    server = Postgres.in_directory(directory, durable=False)
    return replace(server, binaries=binaries or server.binaries)
