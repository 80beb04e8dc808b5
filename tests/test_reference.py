"""The API reference is built without a warning, and holds every name that a backend may import."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from client.reference import PAGES, exported_names

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = ROOT / "client/package"
DOCUMENTS = [ROOT / "README.md", ROOT / "client/README.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_FRAMEWORKS = ("momentus_client.django",)
"""Modules without a page: they can be imported only where their framework is installed."""
IMPORT = re.compile(r"^from (momentus_client[a-z_.]*) import ([A-Za-z_, ]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    done = subprocess.run(
        [sys.executable, "-m", "client.reference", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def page(reference: Path, module: str) -> str:
    return (reference / f"{module.replace('.', '/')}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", PAGES)
def test_a_page_describes_each_public_name_of_its_module(reference: Path, module: str) -> None:
    text = page(reference, module)
    inside = module.removeprefix("momentus_client").removeprefix(".")
    names = exported_names(
        Path(import_module(inside or "client.package").__file__ or "").read_text(encoding="utf-8")
    )
    assert not [name for name in names if f'id="{name}"' not in text]


def test_every_name_that_the_documents_import_is_in_the_reference(reference: Path) -> None:
    imports = [found for file in DOCUMENTS for found in IMPORT.findall(file.read_text(encoding="utf-8"))]
    assert len(imports) >= 5
    for module, listed in imports:
        if module.startswith(OF_FRAMEWORKS):
            continue
        names = [name.strip() for name in listed.split(",")]
        if module in PAGES:
            text = page(reference, module)
            assert not [name for name in names if f'id="{name}"' not in text], module
        else:
            assert set(names) <= defined_in(FRAMEWORKS / f"{module.removeprefix('momentus_client.')}.py"), module


def defined_in(file: Path) -> set[str]:
    """The names that a module for a framework defines at its top level."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return {
        node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    } | {target.id for target in targets if isinstance(target, ast.Name)}


def test_the_first_page_leads_to_all_others(reference: Path) -> None:
    first = page(reference, "momentus_client")
    assert not [name for name in PAGES[1:] if f'href="{name.replace(".", "/")}.html"' not in first]


def test_the_public_names_are_the_classes_functions_and_reexports() -> None:
    source = "from .a import B as B, c\nclass D: ...\ndef e(): ...\ndef _f(): ...\nG = 1\n"
    assert exported_names(source) == ["B", "D", "e"]
