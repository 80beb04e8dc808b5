"""Data directories of embedded servers, and the passwords kept beside the data.

A directory is private to its owner (0700). As root, a server that refuses to run as root gets a directory
of its own that belongs to the user it runs as; a directory that belongs to a third party is refused, never
taken over.
"""

import os
import pwd
import secrets
import subprocess
from pathlib import Path

from local.errors import DataDirectoryError

_PRIVATE = 0o700


def open_directory(path: Path, *, owner: str | None = None) -> Path:
    """Return the absolute path of the directory, created if absent, private and writable.

    Args:
        path: location of the data.
        owner: as root, the user that the server will run as; None for this user.

    Raises:
        DataDirectoryError: it is a file, cannot be created or written, belongs to another user, or lies
            where `owner` cannot enter.
    """
    path = path.absolute()
    try:
        path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        _give(path, owner)
    except (FileExistsError, NotADirectoryError):
        raise DataDirectoryError(path, "it is a file, or has one in its path") from None
    except OSError as error:
        raise DataDirectoryError(path, f"it cannot be created ({error.strerror})") from None
    if not _can_write(path, owner):
        raise DataDirectoryError(path, f"{_who(owner)} cannot enter it or write to it")
    return path


def read_or_make_password(path: Path, *, owner: str | None = None) -> str:
    """Return the password in this file, made on first use. Only its owner may read the file (0600).

    Args:
        path: the file, inside a directory from `open_directory`.
        owner: as root, the user that must be able to read it too.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return path.read_text("ascii").strip()
    with os.fdopen(file, "w", encoding="ascii") as text:
        if owner is not None:
            os.fchown(file, *_ids(owner))
        text.write(secrets.token_urlsafe(24))
    return path.read_text("ascii").strip()


def _give(path: Path, owner: str | None) -> None:
    held_by = path.lstat().st_uid
    wanted = os.geteuid() if owner is None else _ids(owner)[0]
    if held_by not in {wanted, os.geteuid()}:
        raise DataDirectoryError(path, f"it belongs to another user (uid {held_by})")
    if owner is not None and held_by != wanted:
        os.chown(path, *_ids(owner), follow_symlinks=False)


def _can_write(path: Path, owner: str | None) -> bool:
    if owner is None:
        return os.access(path, os.W_OK | os.X_OK)
    # Tested as that user: only the system knows every directory above, and root may enter all of them.
    asked = subprocess.run(  # noqa: S603  a fixed command
        ["/bin/sh", "-c", 'test -w "$1" && test -x "$1"', "sh", str(path)],
        check=False,
        cwd="/",
        user=owner,
        group=_ids(owner)[1],
        extra_groups=[],
    )
    return asked.returncode == 0


def _ids(user: str) -> tuple[int, int]:
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def _who(owner: str | None) -> str:
    return "this user" if owner is None else f"the user {owner}, which the server runs as when started by root,"
