"""Addresses of the servers of a running ``./run up`` or ``./run demo``, in a small file of the data directory.

``./run ops`` in a second terminal finds by it the servers whose ports were chosen at the start. The file
exists while they run, holds their passwords, and only its owner can read it. A file that a killed process left
behind names servers that no longer answer; commands report that.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

NAME = "running.json"


class RunningUnreadable(Exception):
    """The file exists but cannot be used; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class RunningServers:
    """Addresses of the servers in use, configured or embedded, with their passwords."""

    redis_url: str = field(repr=False)
    postgres_dsn: str = field(default="", repr=False)


def running_servers(data_dir: Path) -> RunningServers | None:
    """Return the addresses of the running servers, or None if nothing runs on this data directory.

    Raises:
        RunningUnreadable: the file belongs to another user or is damaged.
    """
    path = data_dir / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return RunningServers(str(found["redis_url"]), str(found.get("postgres_dsn", "")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunningUnreadable(f"{path} cannot be read ({error.strerror}); set MOMENTUS_REDIS_URL") from None
    except (ValueError, TypeError, KeyError):
        raise RunningUnreadable(f"{path} is damaged; delete it and start ./run up again") from None
