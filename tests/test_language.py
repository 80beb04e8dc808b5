"""What can be checked of the language of the source: how docstrings begin, plain words, names."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.sources import nodes, parsed

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "jobs",
    "producers",
    "sessions",
    "reports",
    "ledger",
    "reader",
    "worker",
    "ops",
    "metrics",
    "local",
    "client",
)
QUESTIONS = {"What", "Whether", "How", "Who", "Where", "Which", "Why", "When", "Whose", "If"}
PLAINER = {
    r"\banew\b": "again",
    r"\bat the most\b": "at most",
    r"\bin vain\b": "without success",
    r"\bjust so\b": "say what is meant",
    r"\breckon(s|ed|ing)?\b": "compute",
    r"\bwhoever\b": "name who",
}

WITHOUT_OBJECT = re.compile(
    "answer|ask|carry|conclude|decide|give|judge|keep|lead|look|mend|note|pass|put|says?|take|tell|turn|weigh"
)
"""Verbs that say nothing without the thing to which they are done: `judge_reply`, not `judge`."""
NO_NOUNS = re.compile(
    r"(Asked|Ended|Found|Given|Held|Kept|Known|Left|Listed|Opened|Seen|Sent|Stored|Taken|Told|Turned|Unknown|Wanted)"
)
TWO_MEANINGS = {
    "Forbidden": "of FastAPI and of Flask, which nobody uses together",
    "Momentus": "of FastAPI and of Flask",
    "NotInstalled": "of FastAPI and of Flask",
    "NotLoggedIn": "of FastAPI and of Flask",
}
"""Names of several classes, each with its reason."""
OF_BACKENDS = {"producers/testing/queue.py:Sent"}
"""Names that backends use."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def documented() -> list[tuple[str, Documented]]:
    """Each module, class and function of the product, with its file."""
    files = [*ROOT.glob("*.py"), *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
    return [
        (str(file.relative_to(ROOT)), node)
        for file in files
        for node in nodes(parsed(file))
        if isinstance(node, Documented)
    ]


def docstrings() -> list[tuple[str, str]]:
    """Each docstring of the product, with its place."""
    return [
        (f"{file}:{getattr(node, 'lineno', 1)}", text)
        for file, node in documented()
        if (text := ast.get_docstring(node))
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


def test_what_is_done_says_to_what() -> None:
    bare = [
        f"{file}:{node.lineno} {node.name}: name its object"
        for file, node in documented()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and WITHOUT_OBJECT.fullmatch(node.name)
    ]
    assert not bare, "\n".join(bare)


def test_a_class_has_a_noun_for_its_name() -> None:
    adjectives = [
        f"{file}:{node.name}"
        for file, node in documented()
        if isinstance(node, ast.ClassDef) and NO_NOUNS.fullmatch(node.name.lstrip("_"))
    ]
    assert set(adjectives) == OF_BACKENDS


def test_a_name_of_a_class_means_one_thing() -> None:
    count = Counter(node.name for _, node in documented() if isinstance(node, ast.ClassDef))
    assert {name for name, times in count.items() if times > 1} == TWO_MEANINGS.keys()
