"""Attachments that travelled as references: read when the mail goes out, and compared with what was meant.

A file that is not there, or is not the one whose hash the mail carries, is the mail's own fault: it is given up,
with the file's name. A folder that is not configured or not mounted is ours, and the mail waits, uncharged.

Nothing outside the folder can be read: a path has no ``..``, every step is opened from the one before it, and no
symbolic link is followed, so that nothing can be exchanged between the look and the reading.
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
_STEP = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # non-blocking: a pipe is no file to wait for


class _NotTheFile(Exception):
    """What stands there is not what was meant."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str = field(repr=False)
    ref: str = field(repr=False)
    size: int
    sha256: str


async def read_attachments(frozen: Mapping[str, Any], folder: Path | None) -> dict[str, bytes]:
    """The content of each attachment that the frozen mail refers to, by its ``ref``.

    Raises:
        GiveUp: a file is gone, or has changed; names the attachment.
        TryLater: the folder is not configured or cannot be read.
    """
    wanted = _wanted(frozen.get("attachments") or ())
    if not wanted:
        return {}
    if folder is None:
        raise TryLater(
            "it has attachments: set MOMENTUS_MAIL__ATTACHMENTS to their folder", after=_WAIT, charged=False
        )
    return await asyncio.to_thread(_read_all, wanted, folder)


def _wanted(files: Any) -> list[_Wanted]:  # noqa: ANN401  what another producer wrote may be anything
    try:
        return [
            _Wanted(str(one["name"]), str(one["ref"]), int(one["size"]), str(one["sha256"]))
            for one in files
            if "ref" in one
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise GiveUp(
            f"the attachments of the frozen mail cannot be read: {type(error).__name__}: {error}"
        ) from None


def _read_all(files: list[_Wanted], folder: Path) -> dict[str, bytes]:
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise TryLater(
            f"MOMENTUS_MAIL__ATTACHMENTS cannot be opened: {_words(error)}", after=_WAIT, charged=False
        ) from error
    with ExitStack() as stack:
        stack.callback(os.close, root)
        return {file.ref: _read_one(file, root) for file in files}


def _read_one(file: _Wanted, root: int) -> bytes:
    try:
        content = _content(PurePosixPath(file.ref), root, size=file.size)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise _NotTheFile("has changed since the mail was composed: another SHA-256")
    except _NotTheFile as error:
        raise GiveUp(f"attachment {file.name!r} {error}") from None
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise GiveUp(f"attachment {file.name!r} is not there any more: {_words(error)}") from error
        raise TryLater(f"attachment {file.name!r} cannot be read: {_words(error)}") from error
    return content


def _content(path: PurePosixPath, root: int, *, size: int) -> bytes:
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in str(path):
        raise _NotTheFile("is outside the attachment folder")
    with ExitStack() as stack:
        at = root
        for step in path.parts:
            at = os.open(step, _STEP, dir_fd=at)
            stack.callback(os.close, at)
        found = os.fstat(at)
        if not stat.S_ISREG(found.st_mode):
            raise _NotTheFile("is no file")
        if found.st_size != size:
            raise _NotTheFile(f"has changed since the mail was composed: {found.st_size} octets, not {size}")
        with open(os.dup(at), "rb") as opened:  # noqa: PTH123  a descriptor, not a path
            return opened.read(size + 1)


def _words(error: OSError) -> str:
    """Without the path, which may say more than the attachment's name."""
    return error.strerror or type(error).__name__
