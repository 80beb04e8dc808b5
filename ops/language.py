"""Spanish and English: the languages of texts for operators, by a browser's preference or a terminal's locale."""

from collections.abc import Mapping
from typing import Literal

Language = Literal["es", "en"]
LANGUAGES: tuple[Language, ...] = ("es", "en")


def terminal_language(environment: Mapping[str, str]) -> Language:
    """Choose the language by the locale of a terminal (POSIX, Base Definitions 8.2); English when in doubt.

    >>> terminal_language({"LC_ALL": "", "LANG": "es_MX.UTF-8"})
    'es'
    """
    names = (environment.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    locale = next((name for name in names if name), "")
    return "es" if locale.partition(".")[0].split("_")[0].lower() == "es" else "en"


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
