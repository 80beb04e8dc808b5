"""API reference of the client, written as HTML pages: ``./run docs api [FOLDER]``.

The pages are made from the wheel, so they show the names that a backend imports. A page holds the classes and
functions of a module and what it exports; a module has a page if ``PAGES`` names it, the others are internal.
pdoc's warnings (an annotation that cannot be resolved, a module that cannot be imported) are errors here.
"""

import ast
import inspect
import sys
import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pdoc
import pdoc.doc
import pdoc.render

from client.wheel import PACKAGE, build_wheel

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "momentus_client",
    "momentus_client.jobs",
    "momentus_client.jobs.mail.seal",
    "momentus_client.producers",
    "momentus_client.producers.limits",
    "momentus_client.producers.suppression",
    "momentus_client.producers.testing",
    "momentus_client.sessions",
    "momentus_client.sessions.epochs_postgres",
    "momentus_client.sessions.testing",
)
"""The modules that a backend may import from; docs/ names no other, besides those for frameworks.

A module for a framework has no page, because pdoc imports what it describes, and the framework is not installed
here: its page is one of docs/.
"""


def write_reference(folder: Path) -> list[Path]:
    """Write a page for each public module, an index and the search into ``folder``; returns the pages.

    Raises:
        BrokenWheel: The wheel cannot be built.
        UserWarning: pdoc complains of a module; the text names it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch) / "site"
        build_wheel(ROOT, Path(scratch)).unpack_to(site)
        sys.path.insert(0, str(site))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return _write_pages(folder)
        finally:
            sys.path.remove(str(site))


def _write_pages(folder: Path) -> list[Path]:
    pdoc.render.configure(docformat="google", show_source=False, footer_text=f"{PACKAGE} {_version()}")
    modules = {name: pdoc.doc.Module(_with_exports(import_module(name))) for name in PAGES}
    written = [
        _write(folder / f"{name.replace('.', '/')}.html", pdoc.render.html_module(module, modules))
        for name, module in modules.items()
    ]
    _write(folder / "index.html", pdoc.render.html_index(modules))
    _write(folder / "search.js", pdoc.render.search_index(modules))
    return written


def _version() -> str:
    return str(import_module(PACKAGE).__version__)


def _with_exports(module: ModuleType) -> ModuleType:
    """Set a module's ``__all__`` to its exports and load them; pdoc leaves out imported names otherwise."""
    exports = exported_names(inspect.getsource(module))
    module.__dict__.update({name: getattr(module, name) for name in exports}, __all__=exports)
    return module


def exported_names(source: str) -> list[str]:
    """Return the public names of a module: its classes and functions, and its imports as ``x as x``."""
    tree = ast.parse(source)
    own = [
        node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    froms = [alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    return sorted({name for name in own if name[0] != "_"} | {one.name for one in froms if one.asname == one.name})


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def main(arguments: list[str]) -> int:
    """Write the pages into the given folder, or into dist/api."""
    folder = Path(arguments[0]) if arguments else ROOT / "dist/api"
    write_reference(folder)
    print(folder / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
