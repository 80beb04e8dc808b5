"""The syntax trees of source files, read once for all tests of a process that look at them."""

import ast
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


@cache
def parsed(file: Path) -> ast.Module:
    """Parse a source file."""
    with _without_collector():
        return ast.parse(file.read_bytes())


@cache
def nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Return all nodes of a file."""
    with _without_collector():
        return tuple(ast.walk(tree))


@contextmanager
def _without_collector() -> Iterator[None]:
    """Collect no garbage: a tree is many objects of which none is, and looking costs more than parsing."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
