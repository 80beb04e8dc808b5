"""Where the servers of a running ``./run up`` or ``./run demo`` are: a small file in the data directory.

It lets ``./run ops depth`` in a second terminal find servers whose ports were chosen at the start. It exists
while they run, holds their passwords, and is readable by its owner only. One left behind by a process that
was killed names servers that no longer answer; that is told as such.
"""

import json
from pathlib import Path

NAME = "running.json"


class RunningUnreadable(Exception):
    """The file is there but cannot be used; the message says which and what to do."""


def running_redis_url(data_dir: Path) -> str | None:
    """The address of the running Redis, or None when nothing runs on this data directory.

    Raises:
        RunningUnreadable: the file belongs to another user or is damaged.
    """
    path = data_dir / NAME
    try:
        url = json.loads(path.read_text(encoding="utf-8"))["redis_url"]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunningUnreadable(f"{path} cannot be read ({error.strerror}); set MOMENTUS_REDIS_URL") from None
    except (ValueError, TypeError, KeyError):
        raise RunningUnreadable(f"{path} is damaged; delete it and start ./run up again") from None
    return str(url)
