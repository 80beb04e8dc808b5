"""Environment of the tests of web frameworks: FastAPI, Flask and their servers beside the built client wheel."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.environments import ROOT, environment, source_distribution

APPLICATIONS = Path(__file__).parent / "applications"
FRAMEWORKS = (
    *("fastapi==0.165.0", "starlette==1.10.0", "uvicorn==0.54.0", "httpx2==2.16.2"),
    *("flask[async]==3.1.3", "werkzeug==3.1.9", "gunicorn==27.0.1", "gevent==26.9.0"),
    *("pytest==9.2.0", "pytest-asyncio==1.5.0"),
)
CHECKERS = ("mypy==2.4.1", "pyright==1.1.414", "django==5.2.19", "django-stubs==6.1.2")
NEEDED = ("email-validator", "hiredis", "jinja2", "orjson", "redis")
"""The client's dependencies, in the versions of the lock file."""


def interpreter() -> Path:
    """The Python of the environment; made at the first call."""
    return environment("web", *FRAMEWORKS, *CHECKERS, *_pinned())


def _pinned() -> list[str]:
    lock = (ROOT / "requirements/runtime.txt").read_text(encoding="utf-8")
    found = dict(re.findall(r"^([a-z0-9-]+)(==\S+)", lock, re.MULTILINE))
    return [f"{name}{found[name]}" for name in NEEDED if name in found]


def starlette_sources() -> Path:
    """Return the folder of Starlette's source distribution, with its tests; downloaded once."""
    return source_distribution(next(one for one in FRAMEWORKS if one.startswith("starlette==")), "3.11")


def variables(site: Path, **more: str) -> dict[str, str]:
    """Environment variables for a process that sees the wheel and the applications."""
    path = os.pathsep.join([str(site), str(APPLICATIONS)])
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"PYTHONPATH": path} | more


def run(site: Path, *arguments: str, cwd: Path = APPLICATIONS, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the environment's Python with these arguments to its end."""
    command = [str(interpreter()), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=variables(site, **more), capture_output=True, text=True, check=False
    )


@contextmanager
def server(site: Path, *arguments: str, log: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server of the environment, started by ``python -m``, ended at the end; its output goes to a file."""
    command = [str(interpreter()), "-m", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=APPLICATIONS, env=variables(site, **more), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                sys.stderr.write(log.read_text(errors="replace"))
