"""Environments with Django and what the client needs, and processes of the application in them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import ROOT, EnvironmentUnavailable, environment, find_python, source_distribution

APPLICATION = ROOT / "tests/django_application"
RUNTIME = ROOT / "requirements/runtime.txt"
SUITES = ROOT / "tests/django_suites"
VERSIONS = {"5.2": ("django==5.2.19", "3.11"), "6": ("django==6.1.3", "3.13")}
"""Each with the lowest Python of its tests: Django 6 runs on 3.12, its own tests of mails need 3.12.5."""
CLIENT_NEEDS = ("email-validator", "jinja2", "orjson", "redis", "hiredis")
TASKS_PACKAGE = {"5.2": ("django-tasks==0.12.0",), "6": ()}
"""Where Django does not have the interface of tasks itself."""


def django_python(version: str, *more: str) -> Path:
    """Return the interpreter of an environment with this Django; skips the test where none can be made."""
    django, python = VERSIONS[version]
    try:
        needed = [*pins(*CLIENT_NEEDS), *TASKS_PACKAGE[version]]
        return environment("django", django, *needed, *more, python=python)
    except EnvironmentUnavailable as reason:
        pytest.skip(f"Django {version}: {reason}")


def worker_with_django(version: str) -> tuple[Path, dict[str, str]]:
    """Return the interpreter of a worker that can import Django, and the variables for its modules.

    Where this process's own Python will do for that Django, the worker is as in all other tests, and has Django's
    environment on its path.
    """
    python = django_python(version)
    if find_python(VERSIONS[version][1]) == Path(sys.executable):
        (packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
        return Path(sys.executable), {"PYTHONPATH": str(packages)}
    django, lowest = VERSIONS[version]
    pinned = re.findall(
        r"^[A-Za-z0-9_.-]+(?:\[\S+\])?==[^ ;\\]+", RUNTIME.read_text(encoding="utf-8"), re.MULTILINE
    )
    return environment("django-worker", django, *pinned, python=lowest), {}


def run_django(
    python: Path, site: Path, *arguments: str, path: Path = APPLICATION, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m django`` on the application, with the built wheel; warnings are errors."""
    return subprocess.run(
        [python, "-W", "error", "-m", "django", *arguments],
        cwd=path,
        env=django_variables(site, path) | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def django_variables(site: Path, path: Path = APPLICATION) -> dict[str, str]:
    """Return the variables of a process of the application."""
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{site}:{path}",
        "DJANGO_SETTINGS_MODULE": "shop.settings",
    }


def pins(*names: str) -> list[str]:
    """Return packages in the versions of production."""
    found = dict(re.findall(r"^([a-z0-9-]+)==(\S+) ", RUNTIME.read_text(encoding="utf-8"), re.MULTILINE))
    return [f"{name}=={found[name]}" for name in names]


def django_sources(version: str) -> Path:
    """Return the folder of Django's source distribution, with its tests; downloaded once."""
    return source_distribution(*VERSIONS[version])
