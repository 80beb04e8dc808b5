"""The job modules of a backend: imported at the worker's start, and searched for handlers.

A module is named by `MOMENTUS_WORKER__JOBS`, or by an entry point of the group `momentus.jobs` of an installed
package. Every function in its namespace that is marked with `jobs.handles` counts, even one that it imports; so a
package's `__init__` may gather those of its modules. A value `LIMITS` defines limits for the whole fleet; `LANES`
names the lanes of a kind whose jobs have several.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from jobs.handler import JobHandler
from producers.limits.limit import Limit
from worker.engine.upcast import check_upcasters
from worker.own_jobs.modules import JobModuleError as JobModuleError, add_to_path, import_module, marked_handlers

ENTRY_POINTS = "momentus.jobs"


@dataclass(frozen=True, slots=True)
class OwnJobs:
    """Handlers of own jobs by kind, and the limits that their modules define.

    Attributes:
        lanes: by kind, the lanes of its jobs, if the sender chooses one and the class does not name it.
    """

    handlers: Mapping[str, JobHandler] = field(default_factory=dict)
    limits: Sequence[Limit] = ()
    modules: Sequence[str] = ()
    lanes: Mapping[str, Collection[str]] = field(default_factory=dict)


def load_jobs(names: str | None, folder: Path | None = None) -> OwnJobs:
    """Import the job modules and return what they declare.

    Args:
        names: modules, separated by commas; those of entry points are added.
        folder: put first on the module path.

    Raises:
        JobModuleError: a module cannot be imported or has no handler, or two functions handle one kind.
    """
    if folder is not None:
        add_to_path(folder)
    modules = [import_module(name, "MOMENTUS_WORKER__JOBS") for name in listed_modules(names)]
    modules += [
        import_module(one.module, f"entry point {one.name}") for one in sorted(entry_points(group=ENTRY_POINTS))
    ]
    handlers: dict[str, JobHandler] = {}
    for module in modules:
        found = list(marked_handlers(module))
        if not found:
            raise JobModuleError(
                f"MOMENTUS_WORKER__JOBS: {module.__name__} has no handler; mark a function with @handles(...)"
            )
        for one in found:
            _add(handlers, one)
    limits = [limit for module in modules for limit in _limits(module)]
    lanes = {kind: found for module in modules for kind, found in getattr(module, "LANES", {}).items()}
    return OwnJobs(handlers, limits, [module.__name__ for module in modules], lanes)


def has_jobs(names: str | None) -> bool:
    """Return True if the setting names a module or an installed package has an entry point for one."""
    return bool(listed_modules(names)) or bool(entry_points(group=ENTRY_POINTS))


def listed_modules(names: str | None) -> list[str]:
    """Return the names of the modules in a setting."""
    return [] if names is None else [name.strip() for name in names.split(",") if name.strip()]


def _add(handlers: dict[str, JobHandler], new: JobHandler) -> None:
    known = handlers.setdefault(new.job.kind, new)
    if known is not new:
        raise JobModuleError(
            f"{new.job.kind}: both {known.name} and {new.name} handle this kind; keep one of them"
        )
    try:
        check_upcasters(new.upcasters, version=new.job.version)
    except ValueError as error:
        raise JobModuleError(f"{new.name}: {error}") from None


def _limits(module: ModuleType) -> list[Limit]:
    limits = list(getattr(module, "LIMITS", ()))
    if wrong := [one for one in limits if not isinstance(one, Limit)]:
        raise JobModuleError(
            f"{module.__name__}.LIMITS: {wrong[0]!r} is not a Limit of momentus_client.producers.limits"
        )
    return limits
