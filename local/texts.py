"""Texts of `./run up` for people, in Spanish and English."""

from collections.abc import Mapping

from ops.language import Language

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "starting": "Starting; Ctrl-C ends everything.",
        "running": "Everything runs. Pages:",
        "token": "A token for all reports of the invented organisation; it ends with this run:",
        "next": "Next steps, in another terminal:",
        "own_token": "create a token for one reader of the reports",
        "read": "read a report",
        "depth": "show the queue: what waits, why, and until when",
        "check": "check servers, mail accounts and domains",
        "status": "show how fresh each report is",
    },
    "es": {
        "starting": "Arrancando; Ctrl-C termina todo.",
        "running": "Todo está en marcha. Páginas:",
        "token": "Un token para todos los informes de la organización inventada; termina con esta ejecución:",
        "next": "Siguientes pasos, en otra terminal:",
        "own_token": "crear un token para un lector de los informes",
        "read": "leer un informe",
        "depth": "mostrar la cola: qué espera, por qué y hasta cuándo",
        "check": "comprobar servidores, cuentas de correo y dominios",
        "status": "mostrar lo reciente que es cada informe",
    },
}
