"""Builder of the npm package for Node: ``.venv/bin/python -m client.npm FOLDER``.

The package is `client/node/` with the version of the client and the scripts of the wheel, so that both send the
same ones. It needs npm, which packs it; nothing is uploaded.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from client.wheel import PACKAGE, build_wheel

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "client/node"
_READ = f"""
import json, sys
from pathlib import Path
import {PACKAGE}
from {PACKAGE}.producers.operation import script_source
from {PACKAGE}.producers.link.script import read_script
sessions = Path({PACKAGE}.__file__).parent / "sessions"
found = {{name: script_source(name) for name in ("enqueue", "enqueue_latest", "take_out", "result")}}
found |= {{path.stem: read_script(sessions, path.stem) for path in sorted(sessions.glob("*.lua"))}}
json.dump([{PACKAGE}.__version__, found], sys.stdout)
"""


class BrokenPackage(Exception):
    """The package cannot be built; the text is npm's output."""


def write_package(folder: Path) -> Path:
    """Write the package's files into a folder, and return it.

    Raises:
        BrokenWheel: the wheel, from which the scripts come, cannot be built.
    """
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch) / "site"
        build_wheel(ROOT, Path(scratch)).unpack_to(site)
        read = subprocess.run(  # noqa: S603  this very Python and a fixed text
            [sys.executable, "-c", _READ],
            env={"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=True,
        )
    version, scripts = json.loads(read.stdout)
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "scripts.json").write_text(json.dumps(scripts), encoding="utf-8")
    described = json.loads((SOURCE / "package.json").read_text(encoding="utf-8")) | {"version": version}
    (folder / "package.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    return folder


def pack_package(folder: Path) -> Path:
    """Build the package's archive in a folder, and return its path.

    Raises:
        BrokenPackage: npm is absent or failed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise BrokenPackage("npm is not on the PATH; install Node 20 or later")
    with tempfile.TemporaryDirectory() as scratch:
        source = write_package(Path(scratch) / "package")
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "pack", "--silent", "--pack-destination", str(folder.resolve())]
        packed = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)  # noqa: S603  fixed
    if packed.returncode:
        raise BrokenPackage(packed.stderr.strip())
    return folder / packed.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    print(pack_package(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")))
