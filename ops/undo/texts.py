"""Texts about undoing, in Spanish and English."""

from collections.abc import Mapping

from ops.language import Language

UNDO: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "how": "Undo it within ten minutes: ./run ops undo {number}",
        "nothing": "Nothing is kept under {number}: it is older than ten minutes, is already undone, or "
        "removed nothing; nothing was done.",
        "restored": "Jobs that are back as they were: {count}.",
        "taken": "Jobs that stay removed, since their id or key is in use again: {count}.",
        "vanished": "Jobs that stay removed, since their payload is gone: {count}.",
        "ledger": "Jobs that stay removed, since the ledger has recorded their end: {count}. Send them again.",
        "back": "Reasons that are on the suppression list again: {count}.",
        "left": "Reasons that were on it already, or have expired: {count}.",
    },
    "es": {
        "how": "Para deshacerlo en los próximos diez minutos: ./run ops undo {number}",
        "nothing": "No hay nada guardado con {number}: tiene más de diez minutos, ya se deshizo, o no quitó "
        "nada; no se ha hecho nada.",
        "restored": "Trabajos que vuelven a estar como estaban: {count}.",
        "taken": "Trabajos que siguen quitados, porque su id o su clave se usa otra vez: {count}.",
        "vanished": "Trabajos que siguen quitados, porque su contenido ya no está: {count}.",
        "ledger": "Trabajos que siguen quitados, pues el libro tiene anotado su fin: {count}. Envíelos otra vez.",
        "back": "Motivos que vuelven a la lista de supresión: {count}.",
        "left": "Motivos que ya estaban otra vez en ella, o que han vencido: {count}.",
    },
}
