"""A terminal in Spanish gets all in Spanish: help, errors, faults of settings, the depth table, `./run` itself.

English sentences stand where they arise; the tests read them out of the source and the parsers, so that one that
is added or changed fails here until its Spanish one has followed.
"""

import argparse
import ast
import doctest
import re
import subprocess
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from string import Formatter

import pytest
from hypothesis import given, strategies as st

import local.__main__ as local_entry
import local.sink.texts
import local.texts
import ops.__main__ as ops_entry
import ops.console.texts
import ops.depth.table_texts
import ops.depth.texts
import ops.jobs.words
import ops.ledger.words
import ops.limits.texts
import ops.losses
import ops.mail.doubt
import ops.mail.words
import ops.metrics.commands
import ops.sessions.words
from ops import errors_es, help_es, translator
from ops.command_parser import CommandParser, terminal_text
from ops.language import LANGUAGES
from ops.reports import remedies
from ops.translator import Translator
from reports import catalogue_postgres
from settings import allowed_values, each_field, load_or_exit
from tests.sources import nodes as nodes_of, parsed

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    ROOT / "settings.py",
    ROOT / "durations.py",
    *(ROOT / "ops").rglob("*.py"),
    *(ROOT / "local").rglob("*.py"),
]
TEXTS = (
    *(local.texts, local.sink.texts, ops.console.texts, ops.depth.table_texts, ops.depth.texts),
    *(
        ops.jobs.words,
        ops.ledger.words,
        ops.limits.texts,
        ops.losses,
        ops.mail.doubt,
        ops.mail.words,
        ops.metrics.commands,
        ops.sessions.words,
    ),
)
RAISED = {
    *("CommandRefused", "ArgumentTypeError", "_print_error", "_exit_with", "QueueInUse", "RunningUnreadable"),
    *("DataDirectoryError", "SupervisorError", "CannotEdit", "FilterRefused"),
}
"""Calls whose sentence reaches a terminal."""
FROM_PYDANTIC = {
    english for english in errors_es.SETTINGS if english.startswith(("input should", "string should"))
}
ERRORS = Translator(errors_es.SPANISH)
VALUE = re.compile(r"\{(\d)\}")


@pytest.fixture
def in_spanish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "es_MX.UTF-8")


# The catalogues and the source


def sentence(node: ast.expr) -> str | None:
    """A text or an f-string as the catalogue writes it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        numbers = iter(range(10))
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else f"{{{next(numbers)}}}" for part in node.values
        )
    return sentence(node.values[-1]) if isinstance(node, ast.BoolOp) else None


def nodes(*files: Path) -> Iterator[ast.AST]:
    return chain.from_iterable(nodes_of(parsed(file)) for file in files)


def raised(*files: Path, names: set[str]) -> set[str]:
    calls = (node for node in nodes(*files) if isinstance(node, ast.Call) and node.args)
    named = (call for call in calls if getattr(call.func, "id", getattr(call.func, "attr", "")) in names)
    sentences = (sentence(argument) for call in named for argument in call.args)
    return {one for one in sentences if one and " " in VALUE.sub("", one).strip()}


def constants() -> str:
    catalogues = {ROOT / "ops/errors_es.py", ROOT / "ops/help_es.py"}
    rooms = (ROOT / room for room in ("jobs", "producers", "sessions"))
    files = (file for room in rooms for file in room.rglob("*.py"))
    client = {file for file in files if re.search(r"raise \w+\(", file.read_text(encoding="utf-8"))}
    client |= {ROOT / "reports/catalogue_postgres.py", ROOT / "ledger/schema.py"}
    texts = (sentence(node) for node in nodes(*client, *set(SOURCES) - catalogues) if isinstance(node, ast.expr))
    return "\n".join(text for text in texts if text)


def test_every_error_that_reaches_a_terminal_has_its_spanish_one() -> None:
    files = [file for file in SOURCES if file != ROOT / "local/sink/__main__.py"]  # the supervisor alone starts it
    errors = raised(*files, names=RAISED) | raised(ROOT / "local/errors.py", names={"__init__"})
    assert errors - set(errors_es.SPANISH) == set()
    assert len(errors) > 50


def test_every_fault_of_a_setting_has_its_spanish_one() -> None:
    yields = (node.value for node in nodes(ROOT / "settings.py") if isinstance(node, ast.Yield) and node.value)
    faults = {one for node in yields if (one := sentence(node)) and one.startswith("MOMENTUS_")}
    assert faults - set(errors_es.SPANISH) == set()
    values = raised(ROOT / "settings.py", names={"ValueError"})
    named = {one if one in errors_es.SPANISH else f"MOMENTUS_X_FILE: {one}" for one in values}
    assert not {one for one in named if ERRORS.translate(one) == one}
    assert len(faults | values) > 10
    codes = re.compile(r"(`[^`]+`(, | = )?)+")
    for name, field in each_field():
        fault = f"{name}: x; allowed: {allowed_values(field)}"
        if not codes.fullmatch(allowed_values(field)):
            assert "allowed" not in ERRORS.translate(fault)
            assert ERRORS.translate(fault).partition("se admite: ")[2] != allowed_values(field), name


def test_no_spanish_text_is_left_of_an_error_that_is_gone() -> None:
    there = constants()
    ours = set(errors_es.SPANISH) - set(errors_es.ARGPARSE) - FROM_PYDANTIC
    parts = re.compile(r"\{\d\}|; |: ")
    gone = [one for one in ours if not all(part in there for part in parts.split(one))]
    assert not gone


@pytest.mark.parametrize("catalogue", [errors_es.SPANISH, help_es.SPANISH])
def test_spanish_and_english_have_the_same_values_settings_options_and_commands(
    catalogue: Mapping[str, str],
) -> None:
    same = re.compile(r"MOMENTUS_\w+|(?<![\w-])--[a-z-]+|\./run \w+|docs/\w+\.md|\b[A-Z]{2,}\b(?![a-z])|`[^`]+`")
    for english, spanish in catalogue.items():
        assert VALUE.findall(english) == sorted(VALUE.findall(english)), english
        assert set(VALUE.findall(spanish)) == set(VALUE.findall(english)) or english in FROM_PYDANTIC, english
        missing = set(same.findall(english)) - set(same.findall(spanish.replace("docs/es/", "docs/"))) - {"DSN"}
        assert not missing, english


def test_a_template_says_enough_to_fit_no_other_sentence() -> None:
    short = [
        one for one in errors_es.SPANISH if VALUE.search(one) and len(VALUE.sub("", one).strip()) < len("--path:")
    ]
    assert not short


# Translating


def test_the_sentence_around_the_others_is_recognised_and_those_within_it_too() -> None:
    nested = "argument --for: '3' is not a duration: write a number and a unit, like 250ms, 90s, 10m, 1.5h or 2d"
    assert ERRORS.translate(nested) == (
        "argumento --for: '3' no es una duración: escriba un número y una unidad, como 250ms, 90s, 10m, 1.5h o 2d"
    )


@given(st.text() | st.text("\\'\" a;,.") | st.sampled_from(sorted(errors_es.SPANISH)).map(lambda one: one * 3))
def test_whatever_an_error_quotes_is_told_as_it_is(quoted: str) -> None:
    told = ERRORS.translate(f"{quoted!r} is not a change; give FIELD=VALUE")
    assert told == f"{quoted!r} no es un cambio; dé FIELD=VALUE"


def test_an_unknown_sentence_stays_as_it_is() -> None:
    assert ERRORS.translate("the sky: is falling; run to the hills") == "the sky: is falling; run to the hills"


def test_reasons_and_remedies_that_findings_quote_are_translated_one_by_one() -> None:
    reasons = [
        *(words.format(name="shop.orders") for words in catalogue_postgres._WORDS.values()),
        *(catalogue_postgres._STANDBY, catalogue_postgres._OUTSIDE.format(name="shop.orders")),
        *map(catalogue_postgres._unusable, (None, "DELETE on momentus.dirty")),
        *(catalogue_postgres._call_in_words("paid", relation) for relation in (None, "shop.orders")),
    ]
    told = [ERRORS.translate(one) for one in (*reasons, *remedies._REMEDIES.values(), remedies._USUAL)]
    assert not {*reasons, *remedies._REMEDIES.values(), remedies._USUAL} & set(told)
    assert ERRORS.translate_all("; ".join(reasons)) == "; ".join(told[: len(reasons)])
    assert ERRORS.translate_all("; ".join(reversed(reasons))) == "; ".join(reversed(told[: len(reasons)]))


def test_every_example_in_a_docstring_is_true() -> None:
    assert doctest.testmod(translator).failed == 0


# Help


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers(one)


def help_texts(parser: argparse.ArgumentParser) -> Iterator[str]:
    for one in parsers(parser):
        groups = one._action_groups
        texts = [one.description, one.epilog, *(group.title for group in groups)]
        for action in one._actions:
            chosen = action._choices_actions if isinstance(action, argparse._SubParsersAction) else ()
            texts += [action.help, *(choice.help for choice in chosen)]
        yield from (text for text in texts if text)


def test_every_help_text_has_its_spanish_one_and_none_is_left_over() -> None:
    spanish = Translator(help_es.SPANISH)
    texts = {text for entry in (ops_entry, local_entry) for text in help_texts(entry._parser())}
    names = re.compile(r"[a-z.]+(, [\w.]+)*")  # lanes
    assert not {one for one in texts if spanish.translate(one) == one and not names.fullmatch(one)}
    english = {text[:1].lower() + text[1:].removesuffix(".") for text in texts} | texts
    assert not {one for one in help_es.SPANISH if one not in english and not VALUE.search(one)}


@pytest.mark.usefixtures("in_spanish")
def test_help_is_in_the_language_of_the_terminal() -> None:
    for entry in (ops_entry, local_entry):
        for one in parsers(entry._parser()):
            told = one.format_help()
            assert told.startswith("uso: ./run")
            assert "opciones:" in told
            assert not re.search(r"\b(usage|options|commands|arguments|the|show this)\b", told.split("ejemplo")[0])


@pytest.mark.usefixtures("in_spanish")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "faltan los argumentos: ID, --for, --n"),
        (("a", "--for"), "argumento --for: espera un valor"),
        (("a", "--for", "1", "--n", "x"), "argumento --n: valor no válido: 'x' no es de tipo int"),
        (("a", "--for", "1", "--n", "7"), "argumento --n: opción no válida: 7 (elija entre 1, 2)"),
        (("a", "b", "--for", "1", "--n", "1"), "argumentos desconocidos: b"),
        (
            ("a", "--for", "1", "--n", "1", "--on", "--off"),
            "argumento --off: no se admite junto al argumento --on",
        ),
        (("a", "--f", "1"), "opción ambigua: --f puede ser --for, --far"),
        (("a", "--for", "1", "--n", "1", "--on=1"), "argumento --on: no admite un valor, y se dio '1'"),
    ],
)
def test_wrong_arguments_are_told_in_spanish(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = CommandParser(prog="./run x")
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--for", required=True)
    parser.add_argument("--far")
    parser.add_argument("--n", type=int, choices=(1, 2), required=True)
    switch = parser.add_mutually_exclusive_group()
    switch.add_argument("--on", action="store_true")
    switch.add_argument("--off", action="store_true")
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(words)
    written = capsys.readouterr().err
    assert written.startswith("uso: ./run x")
    assert written.splitlines()[-1] == f"./run x: error: {told}"


@pytest.mark.usefixtures("in_spanish")
def test_wrong_settings_are_told_in_spanish_a_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"TENANT": "A", "MAIL__MODE": "x", "READER__PORT": "y", "WORKER__LEASE": "soon", "REDIS_URI": "z"}
    for name, value in wrong.items():
        monkeypatch.setenv(f"MOMENTUS_{name}", value)
    with pytest.raises(SystemExit, match="2"):
        load_or_exit(terminal_text)
    head, *lines = capsys.readouterr().err.splitlines()
    assert head.startswith("Los ajustes son erróneos")
    assert len(lines) == len(wrong)
    assert not [line for line in lines if re.search(r"\b(should|allowed|or|to|does|mean|not)\b", line)]


# Tables of words


def tables(module: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    for name, value in vars(module).items():
        if isinstance(value, dict) and set(value) == set(LANGUAGES):
            yield name, value


def rows(words: object) -> dict[object, str]:
    if isinstance(words, Mapping):
        return dict(words)
    return dict(enumerate(words)) if isinstance(words, tuple) else {"": str(words)}


@pytest.mark.parametrize("module", TEXTS, ids=lambda module: module.__name__)
def test_every_table_of_words_has_both_languages_with_the_same_values(module: object) -> None:
    found = list(tables(module))
    assert found
    for name, languages in found:
        english, spanish = rows(languages["en"]), rows(languages["es"])
        assert set(english) == set(spanish), name
        for key, text in english.items():
            assert placeholders(text) == placeholders(spanish[key]), f"{name} {key}"


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


# ./run itself


def run_help(language: str) -> tuple[list[str], list[str]]:
    """Commands and meanings of `./run help`."""
    found = subprocess.run(
        [ROOT / "run", "help"],
        env={"PATH": "/usr/bin:/bin", "LANG": language},
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = [re.split(r" {2,}", line, maxsplit=1) for line in found.stdout.splitlines()]
    return [pair[0] for pair in pairs if len(pair) > 1], [pair[-1] for pair in pairs]


def test_the_only_door_names_the_same_commands_in_both_languages() -> None:
    (english, meanings), (spanish, significados) = run_help("C"), run_help("es_ES.UTF-8")
    assert english == spanish
    assert not set(meanings) & set(significados)
    assert not set(run_help("est_EE")[1]) & set(significados)


def test_the_only_door_says_everything_in_both_languages() -> None:
    script = (ROOT / "run").read_text(encoding="utf-8").replace("\\\n", " ")
    quoted = r'"(?:[^"]|\n)*"'
    calls = re.findall(rf"\b(?:say|stop)\s+({quoted})(\s+{quoted})?", script)
    assert len(calls) > 10
    assert not [english for english, spanish in calls if not spanish]
