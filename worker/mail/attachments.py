"""Attachments by reference: files that the worker reads when the mail goes out, and checks by size and SHA-256.

A missing file, or one with another SHA-256, is the mail's own fault: the mail is given up, and the reason names
the attachment. A folder that is not configured or not mounted is the worker's fault: the mail waits, uncharged.

Only files in the folder can be read: a path has no ``..``, each directory is opened relative to the one before,
and symbolic links are not followed, so that no file can be exchanged between check and read.
"""

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from worker.engine import GiveUp, TryLater

_WAIT = timedelta(minutes=5)
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENAMETOOLONG})
_STEP = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # non-blocking: opening a pipe would wait


class _FileMismatch(Exception):
    """The file at the path is not the file that the mail refers to."""


@dataclass(frozen=True, slots=True)
class _FileReference:
    name: str = field(repr=False)
    ref: str = field(repr=False)
    size: int
    sha256: str


async def read_attachments(frozen: Mapping[str, Any], folder: Path | None) -> dict[str, bytes]:
    """Return the content of each attachment that the frozen mail refers to, by its ``ref``.

    Raises:
        GiveUp: a file is missing or has changed; the reason names the attachment.
        TryLater: the folder is not configured or cannot be read.
    """
    wanted = _read_references(frozen.get("attachments") or ())
    if not wanted:
        return {}
    if folder is None:
        raise TryLater(
            "MOMENTUS_MAIL__ATTACHMENTS: is not set, and the mail has attachments by reference; set their folder",
            after=_WAIT,
            charged=False,
        )
    return await asyncio.to_thread(_read_all, wanted, folder)


def _read_references(files: Any) -> list[_FileReference]:  # noqa: ANN401  a foreign producer may have written any type
    try:
        return [
            _FileReference(str(one["name"]), str(one["ref"]), int(one["size"]), str(one["sha256"]))
            for one in files
            if "ref" in one
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise GiveUp(
            f"attachments: cannot be read from the frozen mail ({type(error).__name__}: {error}); see docs/wire.md"
        ) from None


def _read_all(files: list[_FileReference], folder: Path) -> dict[str, bytes]:
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise TryLater(
            f"MOMENTUS_MAIL__ATTACHMENTS: cannot be opened ({_error_text(error)}); mount it or grant access",
            after=_WAIT,
            charged=False,
        ) from error
    with ExitStack() as stack:
        stack.callback(os.close, root)
        return {file.ref: _read_one(file, root) for file in files}


def _read_one(file: _FileReference, root: int) -> bytes:
    try:
        content = _read_content(PurePosixPath(file.ref), root, size=file.size)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise _FileMismatch("has changed since the mail was composed (its SHA-256 differs)")
    except _FileMismatch as error:
        raise GiveUp(f"attachment {file.name!r}: {error}") from None
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise GiveUp(f"attachment {file.name!r}: is missing ({_error_text(error)})") from error
        raise TryLater(f"attachment {file.name!r}: cannot be read ({_error_text(error)})") from error
    return content


def _read_content(path: PurePosixPath, root: int, *, size: int) -> bytes:
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in str(path):
        raise _FileMismatch("is outside the attachment folder")
    with ExitStack() as stack:
        at = root
        for step in path.parts:
            at = os.open(step, _STEP, dir_fd=at)
            stack.callback(os.close, at)
        found = os.fstat(at)
        if not stat.S_ISREG(found.st_mode):
            raise _FileMismatch("is not a regular file")
        if found.st_size != size:
            raise _FileMismatch(f"has changed since the mail was composed ({found.st_size} bytes, not {size})")
        with open(os.dup(at), "rb") as opened:  # noqa: PTH123  a descriptor, not a path
            return opened.read(size + 1)


def _error_text(error: OSError) -> str:
    """Return the error's text without the path, which may say more than the attachment's name."""
    return error.strerror or type(error).__name__
