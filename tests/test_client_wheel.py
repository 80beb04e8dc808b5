"""The client wheel in somebody else's backend, which has its own `jobs`, `worker` and `settings`.

The wheel is built from this checkout, unpacked into a folder of its own, and used by tests/backend in a process
that sees neither the repository nor its modules. Without this test the renaming of the rooms would rot unseen.
"""

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
import redis

from client.reference import PAGES
from client.wheel import build_wheel, read_wheel
from producers.link.script import PARTS
from tests.environments import unpack_wheel

ROOT = Path(__file__).resolve().parents[1]
BACKEND = ROOT / "tests/backend"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = build_wheel(ROOT, tmp_path_factory.mktemp("wheel")).file
    assert built.match("momentus_client-*-py3-none-any.whl")
    return built


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the wheel unpacked in it."""
    return unpack_wheel(wheel, tmp_path_factory.mktemp("site"))


def files_of(folder: Path, below: Path) -> set[str]:
    """The files of a folder, as the wheel would name them; what makes a report stays."""
    files = [file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    kept = [file for file in files if not file.name.endswith((".sql", ".schema.json"))]
    return {f"momentus_client/{file.relative_to(below).as_posix()}" for file in kept}


OWN = files_of(ROOT / "client/package", ROOT / "client/package")
"""What only the wheel has: its version, and the modules for frameworks."""


MOST_DEPENDENCIES = 4
MOST_BYTES = 318_000
SUFFIXES = {".py", ".lua", ".html", ".text", ".subject", ".typed"}
FRAMEWORKS = tuple(f"momentus_client.{name}" for name in ("django", "fastapi", "flask", "pytest_plugin"))
FRAMEWORKS += tuple(f"momentus_client.django.{name}" for name in ("apps", "sessions", "tasks"))
"""Modules that an application or a framework names in its settings, besides the public ones."""
OPERATION = re.compile(r'\bOperation\(\s*"(\w+)"')
LOADED_LATER = {"redis", "hiredis", "jinja2", "email_validator", "email", "ssl", "asyncio", "importlib.metadata"}
"""What an import of the client leaves to the first call: most of a second on a small machine."""
NEVER_LOADED = {"opentelemetry", "opentelemetry.trace"}
"""What it uses only where the application has loaded it."""


def reached(site: Path, *names: str) -> dict[str, Path]:
    """The modules of the client that these import, with their packages, at whatever place in their files."""
    found = dict[str, Path]()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        file = source_of(site, name)
        if file is None or name in found:
            continue
        found[name] = file
        waiting += [name.rpartition(".")[0], *imported(name, file)]
    return found


def source_of(site: Path, name: str) -> Path | None:
    """The file of a module of the client."""
    path = site.joinpath(*name.split("."))
    files = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()]
    return files[0] if name.startswith("momentus_client") and files else None


def imported(name: str, file: Path) -> Iterator[str]:
    """The modules that a module imports; a name that is no module does no harm."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            home = package.rsplit(".", node.level - 1)[0] if node.level else ""
            origin = ".".join(part for part in (home, node.module) if part)
            yield from (origin, *(f"{origin}.{alias.name}" for alias in node.names))


def is_code(name: str) -> bool:
    """Whether a file is one that modules reach; templates and the scripts of sessions are taken by folder."""
    return name.endswith(".py") or name.startswith("momentus_client/producers/scripts/")


def room_files() -> set[str]:
    """The files of the three rooms."""
    return set().union(*(files_of(ROOT / room, ROOT) for room in ("jobs", "producers", "sessions")))


def test_everything_in_the_wheel_is_under_one_name_that_is_ours(contents: set[str]) -> None:
    assert {PurePosixPath(name).parts[0] for name in contents} == {"momentus_client"}
    assert {PurePosixPath(name).parts[1] for name in contents - OWN} == {"jobs", "producers", "sessions"}


def test_the_wheel_has_no_sql_and_nothing_that_is_not_in_the_rooms(contents: set[str]) -> None:
    assert contents <= room_files() | OWN
    assert {PurePosixPath(name).suffix for name in contents} == SUFFIXES


def test_the_wheel_leaves_out_what_no_backend_reaches_and_nothing_else(installed: Path) -> None:
    modules = reached(installed, *PAGES, *FRAMEWORKS)
    scripts = {one for file in modules.values() for one in OPERATION.findall(file.read_text(encoding="utf-8"))}
    scripts |= {part for script in scripts for part in PARTS.get(script, ())}
    needed = {file.relative_to(installed).as_posix() for file in modules.values()}
    needed |= {f"momentus_client/producers/scripts/{script}.lua" for script in scripts}
    package = installed / "momentus_client"
    assert {name for name in files_of(package, package) if is_code(name)} == needed


def test_a_backend_installs_four_packages_with_the_client(wheel: Path) -> None:
    required = read_wheel(wheel).metadata.get_all("Requires-Dist", [])
    assert len([one for one in required if "extra ==" not in one]) <= MOST_DEPENDENCIES


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size <= MOST_BYTES


def test_an_import_of_the_client_loads_nothing_that_connects_renders_or_encrypts(installed: Path) -> None:
    code = f"""
import json, sys
from momentus_client import __version__
from momentus_client.jobs import Attachment, Digest, Job, Mail, Policy, RefreshReport, Schedule, Templates, handles
from momentus_client.producers import NotEnqueued, Producer, Receipt, SyncProducer
from momentus_client.sessions import SessionMiddleware, Sessions, SyncSessions, Visit
json.dump(sorted({LOADED_LATER | NEVER_LOADED!r} & sys.modules.keys()), sys.stdout)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == []


def test_a_backend_with_the_same_names_enqueues_one_mail(installed: Path, valkey_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "assign_task.py", valkey_url],
        cwd=BACKEND,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["own"] == [3, "Acme", "Ana"]
    assert Path(answer["client"]) == installed / "momentus_client"
    with redis.Redis.from_url(valkey_url) as client:
        assert client.exists(f"arq:job:{answer['id']}") == 1
        assert client.zscore("arq:queue:{mail}:mail.normal", answer["id"]) is not None


def test_the_client_says_the_version_that_its_metadata_has(installed: Path) -> None:
    code = (
        "import importlib.metadata as m, momentus_client as c; print(c.__version__, m.version('momentus-client'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    said, recorded = done.stdout.split()
    assert said == recorded


def test_a_type_checker_finds_a_wrong_argument_of_the_client(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    read_wheel(wheel).unpack_to(site)
    caller = tmp_path / "caller.py"
    caller.write_text("from momentus_client.jobs import Mail\nMail(to=5, template='task_assigned')\n")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", environment / "bin/python", "caller.py"],
        cwd=tmp_path,
        env={"MYPY_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'caller.py:2: error: Argument "to" to "Mail" has incompatible type "int"' in checked.stdout
