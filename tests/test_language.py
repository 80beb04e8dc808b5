"""What can be checked of the language of the source: how docstrings begin, and words that have a plainer one."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("jobs", "producers", "sessions", "reports", "reader", "worker", "ops", "local", "client")
QUESTIONS = {"What", "Whether", "How", "Who", "Where", "Which", "Why", "When", "Whose", "If"}
PLAINER = {
    r"\banew\b": "again",
    r"\bat the most\b": "at most",
    r"\bin vain\b": "without success",
    r"\bjust so\b": "say what is meant",
    r"\breckon(s|ed|ing)?\b": "compute",
    r"\bwhoever\b": "name who",
}

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def docstrings() -> list[tuple[str, str]]:
    """Each docstring of the product, with its place."""
    files = [*ROOT.glob("*.py"), *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
    return [
        (f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text)
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, Documented) and (text := ast.get_docstring(node))
    ]


def complaints(place: str, text: str) -> Iterator[str]:
    if (word := text.split(maxsplit=1)[0]) in QUESTIONS:
        yield f"{place} begins with {word!r}: begin with a verb (function) or a noun (class, module)"
    yield from (
        f"{place} says {found[0]!r}: {plainer}"
        for word, plainer in PLAINER.items()
        if (found := re.search(word, text))
    )


def test_docstrings_begin_with_a_verb_or_a_noun_and_use_plain_words() -> None:
    found = [one for place, text in docstrings() for one in complaints(place, text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", ["Whether it runs.", "Compute it anew.", "A limit: ten at the most."])
def test_what_breaks_the_rule_is_seen(text: str) -> None:
    assert list(complaints("here", text))
