"""mypy and pyright accept the lines of the documents, the modules for frameworks and the tests' applications."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.environments import ROOT, client_site
from tests.web.frameworks import APPLICATIONS, interpreter, run

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = (
    "README.md",
    "client/README.md",
    "docs/django.md",
    "docs/frameworks.md",
    "docs/jobs.md",
    "docs/producers.md",
    "docs/sessions.md",
)
GIVEN = {
    "confirm": "confirm: Any = ...",
    "timedelta": "from datetime import timedelta",
    "mail_for": "def mail_for(task: Any) -> Mail: ...",
    "task": "task: Any = None",
    "EmailMessage": "from django.core.mail import EmailMessage",
    "transaction": "from django.db import transaction",
    "send_on_commit(message": "message: Any = None",
    "shop": "shop: Any = None",
    "assign": "assign: Any = None",
    "@dataclass": "from dataclasses import dataclass",
    "@handles": "from momentus_client.jobs import Job, handles",
    "send(Invoice": "from momentus_client.producers import Producer\nproducer: Producer",
    "Invoice": "from jobs_0 import Invoice",
    "TestClient": "from fastapi.testclient import TestClient",
}
"""Names that a block of a document uses and its reader has."""


def blocks(document: str) -> list[str]:
    """The Python of a document, each block as a module of its own."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [as_module(one) for one in BLOCK.findall(text)]


def as_module(block: str) -> str:
    """A block of a document as a module: what a reader has is given, and what awaits is in a coroutine."""
    imports = [line for line in block.splitlines() if re.match(r"from \S+ import|import ", line)]
    rest = [line for line in block.splitlines() if line not in imports]
    given = [line for name, line in GIVEN.items() if _uses(block, name) and line not in imports]
    head = ["from typing import Any", "from momentus_client.jobs import Mail", *given, *imports]
    if any(re.match(r"async with|await |.* await ", line) for line in rest):
        rest = ["async def main() -> None:", *(f"    {line}" for line in rest)]
    return "\n".join([*head, "", *rest, ""])


def _uses(block: str, name: str) -> bool:
    """Whether a block has a name and does not define it itself."""
    defined = (f"def {name}(", f"class {name}(")
    return bool(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", block)) and not any(one in block for one in defined)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return client_site(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for document in DOCUMENTS:
        for number, block in enumerate(blocks(document)):
            name = f"{Path(document).stem.lower()}_{number}.py"
            (folder / name).write_text(block, encoding="utf-8")
    for application in APPLICATIONS.glob("*_shop.py"):
        (folder / application.name).write_text(application.read_text(encoding="utf-8"), encoding="utf-8")
    assert len(list(folder.iterdir())) >= 8
    return folder


def test_a_document_has_blocks_and_they_are_python() -> None:
    for document in DOCUMENTS:
        assert blocks(document)
        for block in blocks(document):
            compile(block, document, "exec")


def mypy(site: Path, folder: Path, *arguments: str) -> str:
    """What mypy says, empty if nothing; its sources are those of the wheel."""
    options = ("--strict", "--follow-imports=silent", "--no-error-summary", "--disable-error-code=empty-body")
    return run(
        site, "-m", "mypy", *options, *arguments, cwd=folder, MYPYPATH=str(site), MYPY_CACHE_DIR=str(site / "mypy")
    ).stdout


@pytest.mark.long
@pytest.mark.timeout(300)
def test_mypy_accepts_the_lines_of_the_documents_and_the_applications(site: Path, sources: Path) -> None:
    untyped = ("--allow-untyped-defs", "--allow-untyped-calls", "--allow-untyped-decorators")  # tests, and Django
    assert mypy(site, sources, *untyped, *sorted(one.name for one in sources.glob("*.py"))) == ""


@pytest.mark.long
@pytest.mark.timeout(300)
def test_mypy_accepts_the_modules_for_frameworks_in_its_strict_mode(site: Path, tmp_path: Path) -> None:
    modules = [f"-m=momentus_client.{name}" for name in ("fastapi", "flask", "pytest_plugin")]
    assert mypy(site, tmp_path, *modules) == ""


@pytest.mark.long
@pytest.mark.timeout(300)
def test_pyright_accepts_the_documents_the_applications_and_the_modules(site: Path, sources: Path) -> None:
    modules = [str(site / f"momentus_client/{name}.py") for name in ("fastapi", "flask", "pytest_plugin")]
    config = {"extraPaths": [str(site)], "include": [".", *modules], "pythonVersion": "3.11"}
    (sources / "pyrightconfig.json").write_text(json.dumps(config))
    checked = run(site, "-m", "pyright", "--pythonpath", str(interpreter()), "--outputjson", cwd=sources)
    found = json.loads(checked.stdout)
    errors = [f"{one['file']}:{one['range']['start']['line'] + 1} {one['message']}" for one in _errors(found)]
    assert found["summary"]["filesAnalyzed"] >= len(modules) + 8
    assert not errors, "\n".join(errors)


def _errors(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in found["generalDiagnostics"] if one["severity"] == "error"]


@pytest.mark.long
def test_a_wrong_line_is_found(site: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(as_module("await Producer.connect(5)"))
    assert 'Name "Producer" is not defined' in mypy(site, tmp_path, "wrong.py")
