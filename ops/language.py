"""Spanish or English: the languages of every text for people, and which of the two a browser prefers."""

from typing import Literal

Language = Literal["es", "en"]


def preferred_language(accept_language: str) -> Language:
    """The language to answer in, by the Accept-Language header (RFC 9110, 12.5.4); English when in doubt.

    >>> preferred_language("fr, es-MX;q=0.8, en;q=0.5")
    'es'
    """
    return "es" if _preference(accept_language, "es") > _preference(accept_language, "en") else "en"


def _preference(accept_language: str, language: Language) -> float:
    """How much this language is wanted, 0 to 1."""
    wishes = (choice.partition(";") for choice in accept_language.lower().split(","))
    return max((_quality(rest) for tag, _, rest in wishes if tag.strip().split("-")[0] == language), default=0)


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
