"""arq's own test suite against our worker: `./run test --arq-suite [--stock] [ARG...]`.

The suite is in arq's sdist and is run as it is there, not one octet changed: its pytest options, its conftest.py,
its tests. What differs lies beside it, in the folder `beside`, which comes first on the path:

    testcontainers        a module of this name that hands out an embedded Valkey instead of a container
    momentus_arq_suite    a pytest plugin that puts our class in the place of `arq.worker.Worker`, and expects the
                          failures that docs/arq.md names, no more and no less; with --stock it is left out

The sdist (`sdist.txt`) and the suite's tools (`tools.txt`) are pinned with hashes, fetched once by pip and
kept in .venv/arq-suite, apart from our own packages: the suite needs an older pytest-asyncio than we do.

Exit codes: pytest's; 2 also when the suite cannot be had.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from local.embedded.valkey import Valkey
from tests.support import Servers, scratch_directory

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEPT = Path(sys.prefix) / "arq-suite"
PLUGINS = ["pytest_asyncio.plugin", "pytest_mock", "pytest_timeout"]
OLD_REDIS = "ignore:Call to deprecated close:DeprecationWarning"
"""arq's own lock has redis-py 4; version 5, which arq allows too, warns of a name that arq calls."""


class SuiteUnavailable(Exception):
    """The suite or its tools cannot be had; the message says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Fetch what is missing, start a server, run the suite; its exit code."""
    try:
        sdist = fetched("sdist", "download", "--no-deps", "--no-build-isolation", "--dest")
        tools = fetched("tools", "install", "--only-binary", ":all:", "--target")
    except SuiteUnavailable as reason:
        sys.stderr.write(f"{reason}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="momentus-arq-") as folder, scratch_directory() as scratch:
        suite = unpack(next(sdist.glob("arq-*.tar.gz")), Path(folder))
        valkey = Valkey.in_directory(scratch / "valkey", protected=False)
        with Servers([valkey.process()], scratch):
            return run(suite, tools, valkey.port, arguments)


def fetched(name: str, *words: str) -> Path:
    """The folder with what `<name>.txt` pins, made anew when that list has changed; pip checks the hashes.

    Raises:
        SuiteUnavailable: no pip, no network, or other octets than the pinned ones.
    """
    folder, proof, pinned = KEPT / name, KEPT / f"{name}.complete", HERE / f"{name}.txt"
    if not proof.exists() or proof.read_bytes() != pinned.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        pip(*words, folder, "-r", pinned)
        shutil.copy(pinned, proof)
    return folder


def pip(*words: str | Path) -> None:
    """Run pip for this interpreter's packages; .venv may have none of its own, so the base's does it."""
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    command = [base, "-m", "pip", "--python", sys.executable, *words, "--require-hashes", "--quiet"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SuiteUnavailable(
            f"arq-suite: could not fetch what is pinned in {HERE.relative_to(ROOT)}: it needs pip for {base} and, "
            f"the first time, a package index. What pip said:\n{done.stderr}"
        )


def unpack(sdist: Path, folder: Path) -> Path:
    """The tests and their options, without arq itself: the installed one is tested."""
    with tarfile.open(sdist) as archive:
        top = archive.getnames()[0].partition("/")[0]
        wanted = (f"{top}/tests/", f"{top}/pyproject.toml")
        members = [one for one in archive.getmembers() if one.name.startswith(wanted)]
        archive.extractall(folder, members, filter="data")
    return folder / top


def run(suite: Path, tools: Path, port: int, arguments: Sequence[str]) -> int:
    """Run pytest in the unpacked suite; its exit code."""
    ours = ["momentus_arq_suite"] if "--stock" not in arguments else []
    plugins = [word for name in PLUGINS + ours for word in ("-p", name)]
    rest = [word for word in arguments if word != "--stock"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (HERE / "beside", tools, ROOT))),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "ARQ_SUITE_PORT": str(port),
        "ARQ_SUITE_PAGE": str(ROOT / "docs/arq.md"),
    }
    command = [sys.executable, "-m", "pytest", *plugins, "-p", "no:cacheprovider", "-W", OLD_REDIS, *rest]
    return subprocess.run(command, cwd=suite, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
