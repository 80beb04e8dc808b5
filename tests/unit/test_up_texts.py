"""Texts of `./run up` and the language of a terminal."""

import doctest
import re

import pytest

import ops.language
from local import welcome
from local.texts import WORDS
from ops.language import LANGUAGES, Language, terminal_language

LINKS = {
    "page": "http://127.0.0.1:8710/",
    "reader": "http://127.0.0.1:1/v1/reports/management/1",
    "console": "http://127.0.0.1:2/",
}


def test_every_text_is_there_in_every_language() -> None:
    assert set(WORDS) == set(LANGUAGES)
    assert set(WORDS["es"]) == set(WORDS["en"])
    assert not {name for name, text in WORDS["en"].items() if text == WORDS["es"][name]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_the_token_and_the_next_steps_are_printed(language: Language) -> None:
    lines = list(welcome.welcome_lines(LINKS, "ms1.token", language))
    assert "  ms1.token" in lines
    assert all(any(link in line for line in lines) for link in LINKS.values())
    assert [line for line in lines if "Authorization: Bearer ms1.token" in line]
    assert not [line for line in lines if "sessions token" in line]


def test_the_address_of_the_queue_is_printed_as_a_line_for_a_shell_and_only_if_it_is_given() -> None:
    lines = list(welcome.welcome_lines(LINKS, "ms1.token", "en", queue="redis://:secret@127.0.0.1:3/0"))
    assert "  export MOMENTUS_REDIS_URL=redis://:secret@127.0.0.1:3/0" in lines
    assert not [line for line in welcome.welcome_lines(LINKS, "ms1.token", "en") if "REDIS_URL" in line]


def test_without_a_token_the_command_that_creates_one_is_the_first_step() -> None:
    lines = list(welcome.welcome_lines(LINKS, "", "en"))
    steps = [line.strip() for line in lines if re.match("  (curl|[.]/run)", line)]
    assert steps[0].startswith("./run ops sessions token ")
    assert "Bearer $TOKEN" in steps[1]


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "es_MX.UTF-8"}, "es"),
        ({"LANG": "es"}, "es"),
        ({"LC_ALL": "en_US.UTF-8", "LANG": "es_MX.UTF-8"}, "en"),
        ({"LC_MESSAGES": "es_ES.UTF-8", "LANG": "C"}, "es"),
        ({"LANG": "est_EE"}, "en"),
        ({}, "en"),
    ],
)
def test_a_terminal_s_locale_chooses_the_language(environment: dict[str, str], language: Language) -> None:
    assert terminal_language(environment) == language


@pytest.mark.parametrize("module", [welcome, ops.language])
def test_every_example_in_a_docstring_is_true(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]
