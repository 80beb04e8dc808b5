"""Import of a backend's job modules and search for their handlers, for the worker and its children.

It imports little: a child process starts with it.
"""

import importlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from jobs.handler import MARK, JobHandler
from worker.own_jobs import client_alias

ROOT = Path(__file__).resolve().parents[2]
OWN_NAMES = (
    *("jobs", "producers", "reports", "sessions", "worker"),
    *("settings", "log", "background", "clocks", "durations", "hosts"),
)
"""Modules of the worker itself. Another module with such a name cannot be imported beside them."""


class JobModuleError(ValueError):
    """A job module cannot be used; the message names the place, the fault and the remedy."""


def add_to_path(folder: Path) -> None:
    """Put the folder of the job modules first on the module path.

    Raises:
        JobModuleError: it is not a folder, or has a module with the name of one of the worker's own.
    """
    if not folder.is_dir():
        raise JobModuleError(
            f"MOMENTUS_WORKER__JOBS_FOLDER: {folder} is not a folder; name one that holds modules"
        )
    for name in OWN_NAMES if folder.resolve() != ROOT else ():
        if (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists():
            raise JobModuleError(
                f"MOMENTUS_WORKER__JOBS_FOLDER: {folder} has a module {name}, a name that the worker uses itself; "
                f"move it into a package of yours, like shop.{name}"
            )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def import_module(name: str, told_by: str) -> ModuleType:
    """Import a job module.

    Args:
        told_by: the setting that names it.

    Raises:
        JobModuleError: it cannot be imported.
    """
    client_alias.install_alias()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        raise JobModuleError(f"{told_by}: {name} cannot be imported: {_fault(error, name)}") from error


def marked_handlers(module: ModuleType) -> Iterator[JobHandler]:
    """Yield the handlers in the namespace of a module."""
    for value in vars(module).values():
        found = getattr(value, MARK, None) if callable(value) else None
        if isinstance(found, JobHandler):
            yield found


def _fault(error: BaseException, name: str) -> str:
    """Return an error that names the last line outside the import system, where the fault is."""
    if isinstance(error, ModuleNotFoundError):
        if name.endswith(".py"):
            return f"{error}; give the module's name, {name.removesuffix('.py')}, not its file"
        if (error.name or "").partition(".")[0] == name.partition(".")[0]:
            return f"{error}; MOMENTUS_WORKER__JOBS_FOLDER names the folder that holds your modules"
        return f"{error}; it must be in that folder or installed for the worker (docs/jobs.md, Packages)"
    frames = [one for one in traceback.extract_tb(error.__traceback__) if _is_theirs(one.filename)]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _is_theirs(file: str) -> bool:
    """Return True unless a file belongs to the import system or to our own rooms."""
    ours = ROOT in Path(file).parents and Path(file).relative_to(ROOT).parts[0] in {*client_alias.ROOMS, "worker"}
    return "importlib" not in file and not ours
