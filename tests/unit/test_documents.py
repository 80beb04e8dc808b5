"""What the documents say of the code is so: files, rooms, imports, commands, settings, events, limits, exit codes.

Each fact is read from the code and looked for in the documents, or the other way round. The table of imports is
held by tests/test_architecture.py, the page of settings by tests/unit/test_settings.py.
"""

import argparse
import fnmatch
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

from jobs import LANES
from jobs.mail.attachment import INLINE_LIMIT, MESSAGE_LIMIT
from jobs.mail.parts import BODY_LIMIT
from ops import __main__ as ops, help_es
from ops.translator import Translator
from producers.compose import BUDGET
from producers.envelope import SIZE_LIMIT
from reader.connection import DEADLINE as READER_DEADLINE
from reader.report import PATIENCE_S
from sessions.operations import CAP_LIMIT, DEADLINE as SESSIONS_DEADLINE, GRACE as ROTATION_GRACE
from settings import Settings, each_field
from tests.test_architecture import MAY_IMPORT
from worker.engine.runner import STOP_SECONDS

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = {".git", ".venv", ".uv", ".momentus", ".hypothesis", "__pycache__", "dist"}
DOCUMENTS = [path for folder in (ROOT, ROOT / "client", ROOT / "docs") for path in sorted(folder.glob("*.md"))]
NOW = [path for path in DOCUMENTS if path.name not in {"CHANGELOG.md", "decisions.md"}]
"""Those that say what is; the other two say what was as well."""
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"[\w.*{},-][\w.*{},/-]*\.(?:py|lua|sql|md|toml|txt|yaml|mjs|html|json)")
RUN = re.compile(r"\./run ([a-z]+)((?: [a-z-]+){0,2})")
SETTING = re.compile(r"\bMOMENTUS_[A-Z]+(?:_[A-Z]+)*(?:__[A-Z]+(?:_[A-Z]+)*)?\b(?![_*])")
FAMILIES = "redis|job|lane|worker|task|board|report|mail|account|prober|clock|wake"
EVENT = re.compile(rf"(?:{FAMILIES})\.[a-z_]+")
KIND = re.compile(rf'"((?:{FAMILIES})\.[a-z_]+)"')

EXAMPLES = {
    *("pylock.toml", "open_orders.sql", "trees/shops.sql"),
    *("reports/NAME.sql", "scripts/NAME.lua", "NAME.schema.json"),
}
"""Files that are the reader's own, or that are told not to exist."""


@cache
def repository() -> list[PurePosixPath]:
    """Every file and folder of the project."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in HIDDEN]  # nobody walks through the others
        place = Path(folder).relative_to(ROOT)
        found += [PurePosixPath(place / name) for name in (*folders, *files) if name not in HIDDEN]
    return found


@cache
def endings() -> frozenset[str]:
    """Every path of the project, and each of its ends that begins with a whole name."""
    return frozenset("/".join(path.parts[at:]) for path in repository() for at in range(len(path.parts)))


@cache
def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """A section of a document, up to the next heading of its level."""
    return text_of(ROOT / name).split(f"\n## {heading}\n")[1].split("\n## ")[0]


def named_files(text: str) -> list[str]:
    """The names of files in code spans."""
    return [span for span in CODE.findall(FENCE.sub("", text)) if FILE.fullmatch(span)]


def exists(name: str) -> bool:
    """Whether a file has that name, or a path that ends so; `*` and `{a,b}` stand for anything."""
    pattern = re.sub(r"\{[^}]*\}", "*", name)
    if "*" not in pattern:
        return pattern in endings()
    return any(fnmatch.fnmatch(f"/{path}", f"*/{pattern}") for path in repository())


@pytest.mark.parametrize("document", NOW, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    assert not sorted({name for name in named_files(text_of(document)) if not exists(name)} - EXAMPLES)


def test_a_file_that_does_not_exist_would_be_noticed() -> None:
    assert named_files("see `worker/mail/lost.py` and `x`\n") == ["worker/mail/lost.py"]
    assert not exists("worker/mail/lost.py")
    assert exists("finish.lua")
    assert exists("sessions/*.lua")


# ---- the map of ARCHITECTURE.md


def map_rows() -> Iterator[tuple[list[str], list[str]]]:
    """The places of each row, and the names in its duty."""
    for line in section("ARCHITECTURE.md", "Rooms").splitlines():
        if line.startswith("| `"):
            places, duty = line.strip("| ").split(" | ", 1)
            yield CODE.findall(places), CODE.findall(duty)


ROWS = list(map_rows())


def lies_in(name: str, place: str) -> bool:
    """Whether a file or folder of that name is directly in that room, or is a path of the project."""
    wanted = name.rstrip("/")
    beside = (path for path in repository() if str(path).startswith(place))
    return any(wanted in {path.name, path.stem} or str(path) == wanted for path in beside)


@pytest.mark.parametrize(("places", "names"), ROWS, ids=[row[0][0] for row in ROWS])
def test_what_the_map_names_lies_where_the_map_says(places: list[str], names: list[str]) -> None:
    assert not [place for place in places if not (ROOT / place).exists()]
    words = [name for name in names if re.fullmatch(r"[a-z_0-9.]+/?", name) and name not in MAY_IMPORT]
    words = [name for name in words if not (ROOT / name).exists() and not name.startswith((".", "__"))]
    assert not [name for name in words if not any(lies_in(name, place) for place in places)]


def test_the_map_has_every_room_and_every_folder_of_code() -> None:
    places = {place.rstrip("/") for found, _ in ROWS for place in found}
    folders = {str(path.parent) for path in repository() if path.suffix == ".py"}
    rooms = {folder for folder in folders if folder.partition("/")[0] in MAY_IMPORT}
    named = {
        f"{place.rstrip('/')}/{name.rstrip('/')}" for found, names in ROWS for place in found for name in names
    }
    assert not sorted(rooms - places - named)
    tops = {
        path.parts[0]
        for path in repository()
        if path.suffix == ".py" and path.parts[0] not in {"docs", "findings"}
    }
    assert not sorted(tops - places)


# ---- commands


@cache
def parser() -> argparse.ArgumentParser:
    return ops._parser()


@cache
def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command line of `./run ops` that does something, without its arguments."""
    return dict(_commands(parser(), ""))


def _commands(parser: argparse.ArgumentParser, words: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield words.strip(), parser
    for group in groups:
        for word, below in group.choices.items():
            yield from _commands(below, f"{words} {word}")


@pytest.mark.parametrize("words", commands())
def test_the_example_of_a_command_is_a_command_line_of_it(words: str) -> None:
    example = str(commands()[words].epilog).partition("./run ops ")[2]
    assert f"{example} ".startswith(f"{words} ")
    parser().parse_args(shlex.split(re.split(r" [>|] ", example)[0]))


def command_table(does: str, translator: Translator) -> str:
    """The table of docs/operations.md, "All commands", or of the Spanish page."""
    rows = (f"| `{words}` | {_about(parser, translator)} |" for words, parser in sorted(commands().items()))
    return "\n".join([f"| `./run ops` | {does} |", "|---|---|", *rows])


def _about(parser: argparse.ArgumentParser, translator: Translator) -> str:
    return translator.translate(str(parser.description)).rstrip(".").replace("|", "\\|")


@pytest.mark.parametrize(
    ("page", "heading", "does", "catalogue"),
    [
        ("docs/operations.md", "All commands", "does", {}),
        ("docs/es/operations.md", "Todas las órdenes <!-- All commands -->", "hace", help_es.SPANISH),
    ],
    ids=["en", "es"],
)
def test_every_command_stands_in_the_table_of_all_commands_as_its_help_says_it(
    page: str, heading: str, does: str, catalogue: Mapping[str, str]
) -> None:
    table = command_table(does, Translator(catalogue))
    assert table in section(page, heading), table


@pytest.mark.parametrize("document", NOW, ids=lambda path: path.name)
def test_every_command_that_a_document_names_exists(document: Path) -> None:
    doors = set(re.findall(r"^\./run ([a-z]+)", text_of(ROOT / "run"), re.MULTILINE))
    known = {" ".join(words.split()[:count]) for words in commands() for count in (1, 2)}
    for door, rest in RUN.findall(text_of(document)):
        assert door in doors, f"./run {door}"
        words = rest.split()
        if door == "ops" and words and not words[0].startswith("-"):
            assert words[0] in known, f"./run ops {words[0]}"
            if any(command.startswith(f"{words[0]} ") for command in known) and len(words) > 1:
                assert " ".join(words[:2]) in known, f"./run ops {' '.join(words)}"


# ---- settings, events, lanes, limits, exit codes


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_that_a_document_names_exists(document: Path) -> None:
    known = {name for name, _ in each_field()}
    sections = {name.partition("__")[0] for name in known}
    named = {name if name in known else name.removesuffix("_FILE") for name in SETTING.findall(text_of(document))}
    assert not sorted(named - known - sections)


@cache
def events() -> set[str]:
    """The dotted names that our code says: events of the log, kinds of jobs, lanes."""
    sources = (path for room in MAY_IMPORT for path in (ROOT / room).rglob("*.py"))
    said = (KIND.findall(path.read_text(encoding="utf-8")) for path in [*sources, ROOT / "background.py"])
    return {name for names in said for name in names} | set(LANES)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_event_and_kind_that_a_document_names_is_said_by_the_code(document: Path) -> None:
    named = {span for span in CODE.findall(text_of(document)) if EVENT.fullmatch(span)}
    assert not sorted(named - events() - {"redis.register_script"})


def milliseconds(span: timedelta) -> int:
    return round(span / timedelta(milliseconds=1))


LEASE = Settings.model_fields["worker"].default.lease
GRACE = Settings.model_fields["worker"].default.grace


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("README.md", f"its lease lapses ({LEASE.seconds} s)"),
        ("README.md", f"{BUDGET * 1000:.0f} ms"),
        ("ARCHITECTURE.md", f"| a backend in `send` | Redis | {BUDGET * 1000:.0f} ms"),
        ("ARCHITECTURE.md", f"| a session call | Redis | {milliseconds(SESSIONS_DEADLINE)} ms"),
        ("ARCHITECTURE.md", f"| the reader | Redis | {milliseconds(READER_DEADLINE)} ms"),
        ("ARCHITECTURE.md", f"waits up to {PATIENCE_S * 1000:.0f} ms for a refresh"),
        ("ARCHITECTURE.md", f"| a handler that was told to stop | its end | {STOP_SECONDS:.0f} s"),
        ("docs/operations.md", f"`MOMENTUS_WORKER__GRACE` ({GRACE.seconds} s)"),
        ("docs/producers.md", f"budget={BUDGET}"),
        ("docs/producers.md", f"the envelope is over {SIZE_LIMIT >> 10} KiB"),
        ("docs/wire.md", f"UTF-8 JSON, at most {SIZE_LIMIT >> 10} KiB"),
        ("docs/mail.md", f"are over {BODY_LIMIT >> 10} KiB; one of these over {INLINE_LIMIT >> 10} KiB"),
        ("docs/mail.md", f"the mail over {MESSAGE_LIMIT // 1_000_000} MB"),
        ("docs/sessions.md", f"for the grace ({ROTATION_GRACE.seconds} s)"),
        ("docs/sessions.md", f"at most {CAP_LIMIT}"),
    ],
)
def test_a_limit_in_a_document_is_the_one_of_the_code(document: str, words: str) -> None:
    assert words in text_of(ROOT / document)


def test_the_exit_codes_of_the_commands_are_told_as_they_are() -> None:
    told = re.findall(r"^\| (\d) \| (.*) \|$", text_of(ROOT / "docs/operations.md"), re.MULTILINE)
    codes = [
        (0, "fine"),
        (ops.EXIT_FINDING, "a finding"),
        (ops.EXIT_CONFIGURATION, "a wrong"),
        (ops.EXIT_REDIS, "Redis"),
    ]
    assert [
        (int(code), words[: len(begin)]) for (code, words), (_, begin) in zip(told, codes, strict=True)
    ] == codes
