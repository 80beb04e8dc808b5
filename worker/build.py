"""The version of this build, for heartbeats."""

import re
from pathlib import Path

_FILE = Path(__file__).parents[1] / "client/package/__init__.py"
_VERSION = re.compile(r'^__version__ = "([^"\n]{1,64})"$', re.MULTILINE)


def read_version() -> str:
    """Return the version, "" if its file is not part of this installation."""
    try:
        found = _VERSION.search(_FILE.read_text(encoding="utf-8"))
    except OSError:
        return ""
    return found[1] if found else ""
