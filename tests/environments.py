"""Python environments of their own, for packages that do not fit beside ours: other redis-py, web frameworks.

An environment is a folder `.momentus/environments/<name>-<hash>`, made once and kept; the hash stands for the
Python and the pinned requirements, so that another list makes another environment. The client wheel is not in
it: it changes with each commit, and tests put the folder that `client_site` returns on PYTHONPATH.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

from client.wheel import build_wheel

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".momentus/environments"
UV = Path(sys.executable).with_name("uv")


class EnvironmentUnavailable(Exception):
    """The environment cannot be made; the message says what to do."""


def environment(name: str, *requirements: str, python: str = "3.11") -> Path:
    """Return the interpreter of an environment with these packages; made at the first call, and kept.

    Args:
        name: a word for the folder's name, like ``django``.
        requirements: pinned, like ``django==5.2.9``.
        python: the lowest Python that will do; the one that runs the tests, if that is new enough.

    Raises:
        EnvironmentUnavailable: no such Python here, or a package cannot be installed.

    Example:
        interpreter = environment("flask", "flask==3.1.2", "redis==8.1.0")
    """
    base = find_python(python)
    folder = KEPT / f"{name}-{_digest(base, requirements)}"
    complete = folder / ".complete"
    if not complete.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with (KEPT / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)
                _fill(base, folder, requirements)
                complete.touch()
    return folder / "bin/python"


def import_from(interpreter: Path) -> None:
    """Let this process import the packages of an environment; those that it has itself go before them."""
    (packages,) = (interpreter.parents[1] / "lib").glob("python*/site-packages")
    if str(packages) not in sys.path:
        sys.path.append(str(packages))


def find_python(lowest: str) -> Path:
    """Return a Python of this version or a later one, this process's own if it will do.

    Raises:
        EnvironmentUnavailable: there is none.
    """
    wanted = tuple(int(part) for part in lowest.split("."))
    if sys.version_info[:2] >= wanted:
        return Path(sys.executable)
    for minor in range(wanted[1], 15):
        for program in _candidates(f"python3.{minor}"):
            ended = subprocess.run([program, "-c", "import venv, ssl"], capture_output=True, check=False)
            if ended.returncode == 0:
                return program
    raise EnvironmentUnavailable(f"needs a Python {lowest} or later on the PATH (or one of pyenv's)")


def source_distribution(requirement: str, python: str) -> Path:
    """Return the folder of a package's source distribution, with its own tests; downloaded once, and kept.

    Args:
        requirement: pinned, like ``starlette==1.10.0``.
        python: the lowest Python that the package takes.

    Raises:
        EnvironmentUnavailable: no such Python here, or no such package.
    """
    folder, name = KEPT / "sources", requirement.replace("==", "-")
    if not (folder / name / "tests").exists():
        only_source = ["--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
        _run(environment("pip", "pip==25.3", python=python), "-m", "pip", "download", *only_source, requirement)
        with tarfile.open(folder / f"{name}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return folder / name


def client_site(folder: Path) -> Path:
    """Build the client wheel of this checkout; return the folder for PYTHONPATH in which it is unpacked."""
    return unpack_wheel(build_wheel(ROOT, folder).file, folder / "site")


def unpack_wheel(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a folder for PYTHONPATH, without its dependencies; the folder is returned."""
    scheme = {place: str(folder) for place in ("purelib", "platlib", "headers", "scripts", "data")}
    with WheelFile.open(wheel) as source:
        target = SchemeDictionaryDestination(scheme, interpreter=sys.executable, script_kind="posix")
        install(source=source, destination=target, additional_metadata={})
    return folder


def _candidates(name: str) -> list[Path]:
    found = shutil.which(name)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return [*([Path(found)] if found else []), *sorted(pyenv.glob(f"versions/*/bin/{name}"))]


def _digest(base: Path, requirements: tuple[str, ...]) -> str:
    listed = "\n".join([str(base), *sorted(requirements)])
    return hashlib.sha256(listed.encode()).hexdigest()[:12]


def _fill(base: Path, folder: Path, requirements: tuple[str, ...]) -> None:
    """Make the environment with uv, which needs a second where pip needs one minute."""
    _run(UV, "venv", "--quiet", "--python", str(base), str(folder))
    if requirements:
        _run(UV, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *requirements)


def _run(program: Path, *arguments: str) -> None:
    ended = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise EnvironmentUnavailable(
            f"{' '.join(arguments)} failed; it needs a package index. What it said:\n{ended.stderr}"
        )
