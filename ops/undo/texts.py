"""Texts about undoing, in Spanish and English."""

from collections.abc import Mapping

from ops.language import Language

UNDO: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "how": "Undo it within ten minutes: ./run ops undo {number}",
        "nothing": "Nothing is kept under {number}: it is older than ten minutes, undone already, or has removed "
        "nothing; nothing was done.",
        "restored": "{count} jobs are back as they were.",
        "taken": "{count} jobs stay removed: their id or their key is in use again.",
        "vanished": "{count} jobs stay removed: their payload is gone.",
        "ledger": "{count} jobs stay removed: they are of the ledger, whose records have their end; send them "
        "again.",
        "back": "{count} reasons are on the suppression list again.",
        "left": "{count} reasons were on it again, or are over.",
    },
    "es": {
        "how": "Para deshacerlo en los próximos diez minutos: ./run ops undo {number}",
        "nothing": "No hay nada guardado con {number}: tiene más de diez minutos, ya se deshizo, o no quitó "
        "nada; no se ha hecho nada.",
        "restored": "{count} trabajos vuelven a estar como estaban.",
        "taken": "{count} trabajos siguen quitados: su id o su clave ya se usa otra vez.",
        "vanished": "{count} trabajos siguen quitados: su contenido ya no está.",
        "ledger": "{count} trabajos siguen quitados: son del libro, que tiene anotado su fin; envíelos otra vez.",
        "back": "{count} motivos vuelven a la lista de supresión.",
        "left": "{count} motivos ya estaban otra vez en ella, o han vencido.",
    },
}
