"""The Spanish pages in docs/es say what the English ones say: the same sections, rows, names and code.

A Spanish heading names the English one behind it, in a comment. So a section that is added, moved or renamed in
English fails here until the Spanish page has followed, and so does a name, a row or a block of code. Blocks called
`console` have the same commands; their output is in the language of the terminal, and
`tests/acceptance/test_guide.py` compares it.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from ops.depth.drain import Reason
from ops.depth.table_texts import LANE_HEADS
from ops.depth.texts import reason_text
from ops.workers.texts import HEADS as WORKER_HEADS
from tests.sources import nodes, parsed

ROOT = Path(__file__).resolve().parents[2]
ENGLISH = {"README.md": ROOT / "README.md"}
"""English pages that do not lie in docs/ under the Spanish one's name."""
PAGES = sorted(path for path in (ROOT / "docs/es").glob("*.md"))
ASKED = {
    *("README.md", "alerts.md", "console.md", "deploying.md", "findings.md", "guide.md", "ledger.md", "mail.md"),
    *("managers_page.md", "metrics.md", "operations.md", "producers.md", "promises.md", "reader.md"),
    *("reports.md", "sessions.md", "tracing.md"),
}
"""Pages that must exist in Spanish."""
AS_ON_SCREEN = {"arrendamiento": "arriendo", "concesi": "arriendo", "fichero": "archivo", "trabajador": "worker"}
"""Other words for the same thing, with the one that commands and console use."""
HEADING = re.compile(r"^(#+) (.+?)(?: <!-- (.+) -->)?$")
PAGE = re.compile(r"docs/(?:es/)?(\w+\.md)(?:, ([^;,.]+))?")
"""A page that a text names, and the section in it."""
SPAN = re.compile(r"`([^`]+)`")


@dataclass(slots=True)
class Section:
    """One heading and what stands below it, up to the next heading of any level."""

    level: int
    title: str
    lines: list[str]
    blocks: list[str]

    @property
    def names(self) -> set[str]:
        """Names in code spans, outside of blocks; the Spanish pages themselves are named in English alone."""
        spans = (" ".join(span.split()) for span in SPAN.findall("\n".join(self.lines)))
        return {name for name in spans if not name.startswith("docs/es/")}

    @property
    def rows(self) -> int:
        """Rows of its tables."""
        return sum(line.startswith("|") for line in self.lines)


def sections(page: Path, *, english: bool) -> list[Section]:
    """The sections of a page; of a Spanish one, under the English titles in its comments."""
    found: list[Section] = []
    fenced = console = False
    for line in page.read_text(encoding="utf-8").splitlines():
        heading = None if fenced else HEADING.match(line)
        if heading:
            title = heading[2] if english else heading[3] or f"without its English heading: {heading[2]}"
            found.append(Section(len(heading[1]), title, [], []))
            continue
        fence = line.startswith("```")
        console = line == "```console" if fence else console
        if console and not fence and not line.startswith("$ "):
            continue
        target = found[-1].blocks if fenced or fence or line.startswith("    ") else found[-1].lines
        target.append(code_of(line))
        fenced ^= fence
    return found


def code_of(line: str) -> str:
    """A line of code without its comment, which is prose and may be translated."""
    return re.split(r"\s+(?:#|--|//) ", line)[0].rstrip()


def english_of(page: Path) -> Path:
    return ENGLISH.get(page.name, ROOT / "docs" / page.name)


def test_the_pages_for_newcomers_and_operators_are_there_in_spanish() -> None:
    assert {page.name for page in PAGES} >= ASKED


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_spanish_page_has_the_sections_of_the_english_one_in_their_order(page: Path) -> None:
    ours = [(one.level, one.title) for one in sections(page, english=False)]
    assert ours == [(one.level, one.title) for one in sections(english_of(page), english=True)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_spanish_section_names_all_that_the_english_one_names_in_as_many_rows(page: Path) -> None:
    pairs = zip(sections(page, english=False), sections(english_of(page), english=True), strict=True)
    missing = {
        english.title: sorted(english.names - spanish.names)
        for spanish, english in pairs
        if english.names - spanish.names
    }
    assert not missing
    pairs = zip(sections(page, english=False), sections(english_of(page), english=True), strict=True)
    assert not [english.title for spanish, english in pairs if english.rows != spanish.rows]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_is_the_same_in_both_languages_but_for_its_comments(page: Path) -> None:
    pairs = zip(sections(page, english=False), sections(english_of(page), english=True), strict=True)
    assert not [english.title for spanish, english in pairs if english.blocks != spanish.blocks]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_spanish_page_calls_things_as_commands_and_console_do(page: Path) -> None:
    text = page.read_text(encoding="utf-8").lower()
    assert not {other: word for other, word in AS_ON_SCREEN.items() if other in text}


def test_operators_find_columns_and_reasons_as_their_terminal_shows_them() -> None:
    manual = {one.title: "\n".join(one.lines) for one in sections(ROOT / "docs/es/operations.md", english=False)}
    lane, *columns = LANE_HEADS["es"]
    assert lane == "CARRIL"
    assert not [column for column in columns if column not in manual["Reading depth"]]
    assert not [lag for lag in WORKER_HEADS["es"] if "RETRASO" in lag and lag not in manual["One worker"]]
    texts = [reason_text(reason, slots=7, language="es") or "" for reason in get_args(Reason)]
    shown = [re.split(r" \(|: ", text.replace("los 7", "los N"))[0] for text in texts]
    assert not [text for text in shown if text not in manual["A lane does not move"]]


def test_each_metric_has_its_type_and_its_labels_in_both_languages() -> None:
    row = re.compile(r"^\| `(momentus_\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)
    english, spanish = (
        row.findall((ROOT / page).read_text(encoding="utf-8"))
        for page in ("docs/metrics.md", "docs/es/metrics.md")
    )
    assert spanish == english
    assert len(english) > 50


def spanish_texts() -> Iterator[str]:
    """Every text of the commands and the console in Spanish: of a file of its own, or under its language."""
    for file in (ROOT / "ops").rglob("*.py"):
        for table in nodes(parsed(file)):
            if isinstance(table, ast.Dict):
                rows = zip(table.keys, table.values, strict=True)
                yield from (text for key, row in rows if _is_spanish(file, key) for text in _texts(row))


def _is_spanish(file: Path, key: ast.expr | None) -> bool:
    return file.stem.endswith("_es") or (isinstance(key, ast.Constant) and key.value == "es")


def _texts(row: ast.expr) -> Iterator[str]:
    for node in ast.walk(row):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_a_spanish_text_names_the_spanish_page_and_its_section_where_there_is_one() -> None:
    named = [(found, text) for text in spanish_texts() for found in PAGE.finditer(text)]
    assert len(named) > 10
    english = [
        text for found, text in named if "docs/es/" not in found[0] and (ROOT / "docs/es" / found[1]).exists()
    ]
    assert not english
    for found, text in named:
        page = ROOT / found[0].partition(",")[0]
        assert found[2] is None or found[2].strip() in page.read_text(encoding="utf-8"), text
