"""Each library in a place of its own, made once: a virtual environment, or a folder of Node modules.

The place is named for what is to be in it, so a changed list of packages makes a new one, and a file written
last proves that it is whole. Packages come from wherever this machine's pip, uv or npm takes them; nothing is
built from source by npm (its install scripts are off).

What can go wrong: no network, no such version for this Python, no Node. Each is a `NotInstalled` with the
tool's last words; the other peers go on.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.queue_peers.peers import Peer

_HERE = Path(__file__).parent
_MODULE = "bench.queue_peers"
_PATIENCE = 600


class NotInstalled(Exception):
    """A peer cannot be measured on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A peer that can be started.

    Attributes:
        version: of its first package; empty for ourselves.
        start: the command, before the script's name.
        script: how a script is named after it, with `{}` for worker or producer.
        environment: additions to ours.
    """

    peer: Peer
    version: str
    start: tuple[str, ...]
    script: str
    environment: dict[str, str]

    def command(self, script: str, *arguments: str) -> list[str]:
        """The command line of its `worker` or `producer`."""
        return [*self.start, self.script.format(script), *arguments]


@dataclass(frozen=True, slots=True)
class NodeModules:
    """A folder of Node modules.

    Attributes:
        version: of the package that the folder is named for.
        environment: additions to ours, with which Node finds them.
    """

    node: str
    version: str
    environment: dict[str, str]


def install(peer: Peer) -> Installed:
    """Make the peer's place, unless it is there.

    Raises:
        NotInstalled: with the reason.
    """
    folder = _HERE / peer.folder
    if (folder / "package.json").is_file():
        return _node_peer(peer, folder)
    requirements = folder / "requirements.txt"
    if not requirements.is_file():
        return _python_peer(peer, "", Path(sys.executable))
    python = install_environment(peer.folder, requirements)
    return _python_peer(peer, pinned(requirements.read_text("utf-8")), python)


def install_environment(name: str, requirements: Path) -> Path:
    """Make a virtual environment with these packages, unless it is there; its Python.

    Raises:
        NotInstalled: with the reason.
    """
    place = _place(name, requirements)
    if not _whole(place):
        _make_environment(place, requirements)
    return place / "bin" / "python"


def pinned(requirements: str) -> str:
    r"""The first package of a list with its version.

    Example:
        >>> pinned("arq==0.28.0\nredis==5.3.1\n")
        'arq 0.28.0'
    """
    return requirements.split("\n", 1)[0].replace("==", " ")


def _python_peer(peer: Peer, version: str, python: Path) -> Installed:
    # -P: no script's folder on the path, where a `worker.py` or `queue.py` would hide what is meant.
    script = f"{_MODULE}.{peer.folder}.{{}}"
    return Installed(peer, version, (str(python), "-P", "-m"), script, {"PYTHONPATH": str(_HERE.parents[1])})


def install_modules(folder: Path) -> NodeModules:
    """Make the place for a folder's package.json, unless it is there; the folder is named for its first package.

    Raises:
        NotInstalled: with the reason.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotInstalled("skipped: no node and npm on this machine")
    packages = folder / "package.json"
    place = _place(folder.name, packages)
    if not _whole(place):
        place.mkdir(parents=True)
        shutil.copy(packages, place)
        options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        _run([npm, "install", *options], place)
        _prove(place)
    version = _run([node, "-p", f"require('{folder.name}/package.json').version"], place)
    return NodeModules(node, f"{folder.name} {version}", {"NODE_PATH": str(place / "node_modules")})


def _node_peer(peer: Peer, folder: Path) -> Installed:
    modules = install_modules(folder)
    return Installed(peer, modules.version, (modules.node,), str(folder / "{}.js"), modules.environment)


def _place(name: str, wanted: Path) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    content = wanted.read_bytes() + platform.python_version().encode("ascii")
    return cache / "momentus-bench" / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"


def _whole(place: Path) -> bool:
    """Whether the place is ready; half of one is removed."""
    if (place / ".complete").is_file():
        return True
    shutil.rmtree(place, ignore_errors=True)
    return False


def _prove(place: Path) -> None:
    (place / ".complete").touch()


def _make_environment(place: Path, requirements: Path) -> None:
    python = place / "bin" / "python"
    if uv := shutil.which("uv"):
        _run([uv, "venv", "--python", sys.executable, str(place)], _HERE)
        _run([uv, "pip", "install", "--python", str(python), "-r", str(requirements)], _HERE)
    else:
        _run([sys.executable, "-m", "venv", str(place)], _HERE)
        _run([str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)], _HERE)
    _prove(place)


def _run(command: list[str], where: Path) -> str:
    """What it printed.

    Raises:
        NotInstalled: it failed; with its last line.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        ended = subprocess.run(  # noqa: S603  the command is ours
            command, cwd=where, env=environment, check=False, capture_output=True, text=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"failed: {Path(command[0]).name} did not end well: {type(error).__name__}") from error
    if ended.returncode:
        last = (ended.stderr.strip() or ended.stdout.strip() or "it said nothing").splitlines()[-1]
        raise NotInstalled(f"failed: {Path(command[0]).name} exited with code {ended.returncode}: {last}")
    return ended.stdout.strip()
