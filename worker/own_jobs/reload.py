"""`./run worker --reload`, for development: the worker is restarted when a file of the job modules changes.

The worker is a process of its own. It is told to stop (SIGTERM), so running jobs finish within its grace or return
to the queue uncharged. One that ends by itself, for example for a module that cannot be imported, has reported the
reason; the next change starts it again.

Changes are found by a check twice a second, not by kernel notifications: a few hundred file times take
milliseconds, need no package, and are right in containers and on network drives too, where notifications do not
arrive.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from worker.own_jobs import client_alias
from worker.own_jobs.modules import JobModuleError
from worker.own_jobs.parent_death import signal_at_parents_death

_LOOK_SECONDS = 0.5
_GRACE = ("MOMENTUS_WORKER__GRACE", "3s")
"""Setting and value of the grace of a worker that is restarted often, if it is not set."""
_PASSED_BY = {"node_modules", "__pycache__"}


class _Stop:
    """Flag that a signal sets. A plain value, because its handler may interrupt code that holds a lock."""

    def __init__(self) -> None:
        self.asked = False

    def request_stop(self, *_: object) -> None:
        self.asked = True

    def pause_scan(self) -> bool:
        """Sleep between two scans; return False once this process was asked to end."""
        if not self.asked:
            time.sleep(_LOOK_SECONDS)
        return not self.asked


FileTimes = Mapping[Path, int]
"""Times of the last change of files, in nanoseconds."""


def run_reloading(places: Sequence[Path], *, say: Callable[[str], object]) -> int:
    """Run a worker and restart it at each change, until SIGINT or SIGTERM; return the last worker's exit code.

    Args:
        places: files, and folders with files at any depth, to watch.
        say: takes the lines for the developer.
    """
    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop.request_stop)
    say(f"reload: watching {', '.join(map(str, places))}")
    while True:
        times = file_times(places)
        worker = _start()
        changed = _watch(worker, places, times, stop, say)
        if worker.poll() is None:
            worker.terminate()
        code = worker.wait()
        if stop.asked:
            return max(code, 0)
        say(f"reload: {changed} has changed; the worker restarts")


def watched_places(modules: Iterable[str], folder: Path | None) -> list[Path]:
    """Return the paths to watch: the folder of the job modules, or else their packages or files.

    Raises:
        JobModuleError: a module cannot be found.
    """
    if folder is not None:
        return [folder]
    packages = {name.partition(".")[0] for name in modules} - {client_alias.NAME}  # ours does not change
    return sorted(map(_home, packages))


def file_times(places: Iterable[Path]) -> FileTimes:
    """Return the modification time of each Python file; hidden folders are skipped."""
    found: dict[Path, int] = {}
    for path in (path for place in places for path in _python_files(place)):
        try:
            found[path] = path.stat().st_mtime_ns
        except OSError:  # removed meanwhile
            continue
    return found


def changed_file(before: FileTimes, now: FileTimes) -> Path | None:
    """Return a file that was added, removed or changed, or None.

    >>> changed_file({Path("a.py"): 1, Path("b.py"): 1}, {Path("a.py"): 1, Path("b.py"): 2}).name
    'b.py'
    """
    changed = {path for path, _ in before.items() ^ now.items()}
    return min(changed, default=None)


def _watch(
    worker: "subprocess.Popen[bytes]",
    places: Sequence[Path],
    times: FileTimes,
    stop: _Stop,
    say: Callable[[str], object],
) -> Path | None:
    """Wait for a change that no other follows, and return the changed file; None if this process must end."""
    ended = False
    while stop.pause_scan():
        if not ended and worker.poll() is not None:
            ended = True
            say(f"reload: the worker has exited with code {worker.returncode}; waiting for a change")
        if changed := changed_file(times, now := file_times(places)):
            while stop.pause_scan() and now != (now := file_times(places)):
                pass
            return changed
    return None


def _start() -> "subprocess.Popen[bytes]":
    name, grace = _GRACE
    return subprocess.Popen(
        [sys.executable, "-m", "worker"],
        # Compiled files are told apart by whole seconds: two changes within one would run the former code.
        env={name: grace, **os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=partial(_prepare, os.getpid()),  # noqa: PLW1509  this process has one thread
    )


def _prepare(parent: int) -> None:
    """Ignore Ctrl-C until the worker handles it, and end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal_at_parents_death(signal.SIGTERM, parent)


def _home(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not (spec.submodule_search_locations or spec.origin):
        raise JobModuleError(
            f"MOMENTUS_WORKER__JOBS: {package} cannot be found; MOMENTUS_WORKER__JOBS_FOLDER names the folder "
            "that holds your modules"
        )
    return Path(next(iter(spec.submodule_search_locations or [str(spec.origin)])))


def _python_files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for folder, folders, names in os.walk(place):
        if "pyvenv.cfg" in names:  # a virtual environment
            folders.clear()
            continue
        folders[:] = [one for one in folders if not one.startswith(".") and one not in _PASSED_BY]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))
