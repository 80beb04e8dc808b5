"""Words of ``ops sessions``, in Spanish and English."""

from collections.abc import Mapping

from ops.language import Language

SESSION_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("SESSION", "LOGGED IN (UTC)", "LAST USED (UTC)", "LABEL"),
    "es": ("SESIÓN", "INICIADA (UTC)", "ÚLTIMO USO (UTC)", "ETIQUETA"),
}
TOKEN_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("NAME", "TOKEN", "CREATED (UTC)", "LAST USED (UTC)", "EXPIRES (UTC)", "ROOTS"),
    "es": ("NOMBRE", "TOKEN", "CREADO (UTC)", "ÚLTIMO USO (UTC)", "VENCE (UTC)", "RAÍCES"),
}
WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "no_session": "This user has no session.",
        "all_ended": "All sessions of this user have ended.",
        "ended": "The session has ended.",
        "made": "{token}\nKeep it now: it is shown only this once and stored nowhere. It expires at {ends} UTC.",
        "no_token": "There is no service token.",
        "no_such_token": "There is no service token called {name!r}.",
        "revoked": "revoked: {tokens}",
    },
    "es": {
        "no_session": "Este usuario no tiene ninguna sesión.",
        "all_ended": "Todas las sesiones de este usuario han terminado.",
        "ended": "La sesión ha terminado.",
        "made": "{token}\nGuárdelo ahora: solo se muestra esta vez y no se almacena. Vence el {ends} UTC.",
        "no_token": "No hay ningún token de servicio.",
        "no_such_token": "No hay ningún token de servicio llamado {name!r}.",
        "revoked": "revocados: {tokens}",
    },
}
