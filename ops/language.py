"""Spanish and English: the languages of all texts for operators, and the choice by a browser's preference."""

from typing import Literal

Language = Literal["es", "en"]


def preferred_language(accept_language: str) -> Language:
    """Choose the language by the Accept-Language header (RFC 9110, 12.5.4); English when in doubt.

    >>> preferred_language("fr, es-MX;q=0.8, en;q=0.5")
    'es'
    """
    return "es" if _preference(accept_language, "es") > _preference(accept_language, "en") else "en"


def _preference(accept_language: str, language: Language) -> float:
    """Return the quality value of a language, 0 to 1."""
    choices = (choice.partition(";") for choice in accept_language.lower().split(","))
    return max((_quality(rest) for tag, _, rest in choices if tag.strip().split("-")[0] == language), default=0)


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
