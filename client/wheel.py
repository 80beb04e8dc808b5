"""Building and reading of the client wheel of a checkout.

A backend gets the wheel. So every statement about the client (its version, its API reference) is read from a wheel
built for the purpose, never from the folders of the checkout, whose names differ.
"""

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

PACKAGE = "momentus_client"


class BrokenWheel(Exception):
    """The wheel cannot be built; the text is the builder's output."""


@dataclass(frozen=True)
class Wheel:
    """A built wheel: its file, the names of the files in it, and its metadata."""

    file: Path
    names: frozenset[str]
    metadata: Message

    def unpack_to(self, folder: Path) -> None:
        """Write the wheel's files into a folder for ``sys.path``; a wheel of pure Python needs no more."""
        with zipfile.ZipFile(self.file) as archive:
            archive.extractall(folder)


def build_wheel(root: Path, folder: Path) -> Wheel:
    """Build the wheel of the checkout ``root`` into ``folder``.

    Raises:
        BrokenWheel: The builder failed.
    """
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603  fixed
    if built.returncode != 0:
        raise BrokenWheel(built.stderr.strip())
    (file,) = folder.glob("*.whl")
    return read_wheel(file)


def read_wheel(file: Path) -> Wheel:
    """Read the names and the metadata of a wheel."""
    with zipfile.ZipFile(file) as archive:
        names = frozenset(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        return Wheel(file, names, HeaderParser().parsestr(archive.read(metadata).decode()))
