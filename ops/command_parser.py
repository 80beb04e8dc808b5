"""Parser of a command line whose help and errors are in the language of the terminal.

Commands are declared in English; names, options and placeholders (``LANE``) are the same in both languages.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from functools import cache
from typing import Any, NoReturn

from ops.language import Language, terminal_language
from ops.translator import Translator

_EXIT_CONFIGURATION = 2


class CommandParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` in the terminal's language; it keeps the line breaks of descriptions."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  those of argparse
        formatter = _SpanishHelp if _speaks_spanish() else argparse.RawDescriptionHelpFormatter
        super().__init__(**{"formatter_class": formatter, **options})

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and end the process with code 2."""
        self.print_usage(sys.stderr)
        self.exit(_EXIT_CONFIGURATION, f"{self.prog}: error: {terminal_text(message)}\n")


def terminal_text(text: str) -> str:
    """Return an error in the language of the terminal."""
    return _spanish_errors().translate(text) if _speaks_spanish() else text


def quoted_texts(text: str, language: Language) -> str:
    """Return the sentences that a finding quotes, with ``; `` between them, in this language."""
    return _spanish_errors().translate_all(text) if language == "es" else text


def _speaks_spanish() -> bool:
    return terminal_language(os.environ) == "es"


@cache
def _spanish_errors() -> Translator:
    from ops.errors_es import SPANISH  # noqa: PLC0415  an English terminal does without

    return Translator(SPANISH)


@cache
def _spanish_help() -> Translator:
    from ops.help_es import SPANISH  # noqa: PLC0415  an English terminal does without

    return Translator(SPANISH)


class _SpanishHelp(argparse.RawDescriptionHelpFormatter):
    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        super().add_usage(usage, actions, groups, "uso: " if prefix is None else prefix)

    def start_section(self, heading: str | None) -> None:
        super().start_section(heading and _spanish_help().translate(heading))

    def add_text(self, text: str | None) -> None:
        super().add_text(text and _spanish_help().translate(text))

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help and _spanish_help().translate(action.help)
