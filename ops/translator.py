"""Spanish for sentences that are written in English where they arise: help, refusals and errors of `./run`.

A refusal is raised with its sentence, so that the code is readable, and so that logs, tests and ``--json`` have
one language. The terminal is where it becomes Spanish: the sentence is recognised among the templates of a
catalogue, ``{0} is damaged``, and its values are put into the Spanish one. A value that is a sentence of the
catalogue is translated too, because refusals quote each other. A sentence without a template stays English.

Texts that the terminal shares with pages are tables of words by language instead (`ops.depth.texts`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_VALUE = re.compile(r"\{\d\}")
_QUOTES = ("'", '"')
_BETWEEN = "; "
_MOST_PARTS = 3
_QUOTED = 4
"""Sentences within sentences that are translated; no refusal quotes deeper."""


@dataclass(frozen=True, slots=True)
class SentenceTemplate:
    """An English sentence around its values, and the Spanish one.

    Attributes:
        literals: the text before, between and after the values.
        spanish: with ``{0}``, ``{1}`` in any order.
    """

    literals: tuple[str, ...]
    spanish: str

    def match(self, text: str) -> "SentenceMatch | None":
        """Return the values in a text, or None if it is another sentence. The time grows linearly."""
        first, *between, last = self.literals
        if not text.startswith(first):
            return None
        values, place = [], len(first)
        for literal in between:
            end = text.find(literal, place)
            if end < 0:
                return None
            values.append(text[place:end])
            place = end + len(literal)
        end = len(text) - len(last)
        if end < place or not text.endswith(last):
            return None
        values.append(text[place:end])
        return None if any(map(_ends_within_quotes, values)) else SentenceMatch(self, tuple(values))


@dataclass(frozen=True, slots=True)
class SentenceMatch:
    """A template that fits a text, with the values found in it."""

    template: SentenceTemplate
    values: tuple[str, ...]

    @property
    def rank(self) -> tuple[int, int]:
        """Sort key; the best match, lowest, begins first, so that it encloses the others, and is longest."""
        own = self.template.literals
        return (0 if own[0] else len(self.values[0]), -sum(map(len, own)))


class Translator:
    """Translator into Spanish.

    Args:
        catalogue: Spanish by English; values are ``{0}``, ``{1}``, in English in their order.

    Example:
        >>> Translator({"{0} is damaged": "{0} está dañado"}).translate("x.json is damaged")
        'x.json está dañado'
    """

    def __init__(self, catalogue: Mapping[str, str]) -> None:
        self._whole = catalogue
        self._templates = [
            SentenceTemplate(tuple(_VALUE.split(english)), spanish)
            for english, spanish in catalogue.items()
            if _VALUE.search(english)
        ]

    def translate(self, text: str) -> str:
        """Return the text in Spanish; unchanged if the catalogue does not have it.

        A text without values may also be as in the catalogue, or with a capital and a full stop.
        """
        return self._translated(text, _QUOTED)

    def translate_all(self, text: str) -> str:
        """Translate several sentences with ``; `` between them; some may contain ``; `` too."""
        parts, done = text.split(_BETWEEN), list[str]()
        while parts:
            heads = (_BETWEEN.join(parts[:count]) for count in range(1, min(len(parts), _MOST_PARTS) + 1))
            known = next((head for head in heads if self.translate(head) != head), parts[0])
            done.append(self.translate(known))
            del parts[: known.count(_BETWEEN) + 1]
        return _BETWEEN.join(done)

    def _translated(self, text: str, depth: int) -> str:
        if (whole := self._whole.get(text)) is not None:
            return whole
        if (whole := self._whole.get(_without_stop(text))) is not None:
            return f"{whole[:1].upper()}{whole[1:]}{'.' if text.endswith('.') else ''}"
        matches = (template.match(text) for template in self._templates) if depth else ()
        best = min((match for match in matches if match is not None), key=lambda match: match.rank, default=None)
        if best is None:
            return text
        values = (value if _is_quoted(value) else self._translated(value, depth - 1) for value in best.values)
        return best.template.spanish.format(*values)


def _is_quoted(value: str) -> bool:
    """Return True for the user's own text, which no sentence matches."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES


def _ends_within_quotes(value: str) -> bool:
    unescaped = value.replace("\\\\", "").replace("\\'", "")
    return value[:1] in _QUOTES and unescaped.count(value[0]) % 2 == 1


def _without_stop(text: str) -> str:
    return text[:1].lower() + text[1:].removesuffix(".")
