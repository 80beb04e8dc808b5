"""Texts of the page in Spanish and English."""

from ops.language import Language

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
