"""The client wheel in somebody else's backend, which has its own `jobs`, `worker` and `settings`.

The wheel is built from this checkout, unpacked into a folder of its own, and used by tests/backend in a process
that sees neither the repository nor its modules. Without this test the renaming of the rooms would rot unseen.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest
import redis

from client.wheel import build_wheel, read_wheel
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


def room_files() -> set[str]:
    """The files of the three rooms."""
    return set().union(*(files_of(ROOT / room, ROOT) for room in ("jobs", "producers", "sessions")))


def test_everything_in_the_wheel_is_under_one_name_that_is_ours(contents: set[str]) -> None:
    assert {PurePosixPath(name).parts[0] for name in contents} == {"momentus_client"}
    assert {PurePosixPath(name).parts[1] for name in contents - OWN} == {"jobs", "producers", "sessions"}


def test_the_wheel_has_every_module_script_and_template_and_no_sql(contents: set[str]) -> None:
    assert contents == room_files() | OWN
    suffixes = {PurePosixPath(name).suffix for name in contents}
    assert suffixes >= {".py", ".lua", ".html", ".text", ".subject"}


def test_a_backend_with_the_same_names_enqueues_one_mail(installed: Path, valkey_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "assign_task.py", valkey_url],
        cwd=BACKEND,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"},
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
