"""The page's words in Spanish and English, and which of the two a browser prefers."""

from typing import Literal

Language = Literal["es", "en"]

WORDS: dict[Language, dict[str, str]] = {
    "es": {
        "title": "Correo recogido",
        "explanation": "Todo lo que se envía a este servidor llega aquí y a nadie más.",
        "accepted": "Correos aceptados",
        "duplicated": "Message-ID repetidos",
        "empty": "Todavía no ha llegado ningún correo.",
        "received": "Recibido (UTC)",
        "from": "De",
        "to": "Para",
        "subject": "Asunto",
        "no_subject": "(sin asunto)",
        "times": "Veces",
        "back": "Todos los correos",
        "html": "Mensaje",
        "plain": "Solo texto",
        "raw": "Original",
        "not_found": "Aquí no hay nada: ese correo no existe o ya no se guarda.",
    },
    "en": {
        "title": "Caught mail",
        "explanation": "Everything sent to this server arrives here and nowhere else.",
        "accepted": "Mails accepted",
        "duplicated": "Message-IDs repeated",
        "empty": "No mail has arrived yet.",
        "received": "Received (UTC)",
        "from": "From",
        "to": "To",
        "subject": "Subject",
        "no_subject": "(no subject)",
        "times": "Times",
        "back": "All mails",
        "html": "Message",
        "plain": "Text only",
        "raw": "Original",
        "not_found": "There is nothing here: no such mail, or it is no longer kept.",
    },
}


def preferred(accept_language: str) -> Language:
    """The language to answer in, by the Accept-Language header (RFC 9110, 12.5.4); English when in doubt.

    >>> preferred("fr, es-MX;q=0.8, en;q=0.5")
    'es'
    """
    return "es" if _wish(accept_language, "es") > _wish(accept_language, "en") else "en"


def _wish(accept_language: str, language: Language) -> float:
    """How much this language is wanted, 0 to 1."""
    wishes = (choice.partition(";") for choice in accept_language.lower().split(","))
    return max((_quality(rest) for tag, _, rest in wishes if tag.strip().split("-")[0] == language), default=0)


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
