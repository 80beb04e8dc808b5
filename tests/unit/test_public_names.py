"""Public names of `producers`: they are loaded at first use, so a wrong module shows only here."""

import ast
from pathlib import Path

import pytest

import producers

DECLARED = sorted(
    alias.name
    for node in ast.walk(ast.parse(Path(producers.__file__).read_text(encoding="utf-8")))
    if isinstance(node, ast.ImportFrom) and node.level == 1
    for alias in node.names
)


@pytest.mark.parametrize("name", DECLARED)
def test_a_public_name_of_the_producers_can_be_imported(name: str) -> None:
    assert getattr(producers, name).__name__ == name
