"""Words of ``ops mail``, in Spanish and English.

States, reasons and outcomes are names (`paused`, `hard_bounce`), the same in both languages, in ``--json`` and in
the pages of docs.
"""

from collections.abc import Mapping

from ops.language import Language

ACCOUNT_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("ACCOUNT", "STATE", "ROOM NOW", "ALLOWED", "CONNECTIONS", "PACE", "WHY"),
    "es": ("CUENTA", "ESTADO", "CABEN AHORA", "PERMITIDO", "CONEXIONES", "RITMO", "POR QUÉ"),
}
ACCOUNTS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "No account is defined; a worker defines its accounts when it starts.",
        "any": "any",
        "day": "day",
        "at_once": "{count} at once",
        "until_resumed": "until it is resumed: {reason}",
        "until": "until {until} UTC: {reason}",
        "paused": "{account} is paused. Resume it: ./run ops mail resume {account}",
        "unchanged": "{account} already has this pause; nothing was done.",
        "resumed": "{account} is resumed.",
        "not_paused": "{account} was neither paused nor closed.",
    },
    "es": {
        "none": "No hay ninguna cuenta definida; un worker define las suyas al arrancar.",
        "any": "sin límite",
        "day": "día",
        "at_once": "{count} a la vez",
        "until_resumed": "hasta que se reanude: {reason}",
        "until": "hasta {until} UTC: {reason}",
        "paused": "{account} está pausada. Reanúdela: ./run ops mail resume {account}",
        "unchanged": "{account} ya está pausada así; no se ha hecho nada.",
        "resumed": "{account} está reanudada.",
        "not_paused": "{account} no estaba pausada ni cerrada.",
    },
}
ETA: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "{lane}: no mail waits",
        "unknown": "{lane}: {mails} mails, time unknown; see ./run ops mail accounts and ./run ops depth",
        "takes": "{lane}: {mails} mails will be sent in {takes}, at {at} UTC",
    },
    "es": {
        "none": "{lane}: no espera ningún correo",
        "unknown": "{lane}: {mails} correos, tiempo desconocido; vea ./run ops mail accounts y ./run ops depth",
        "takes": "{lane}: {mails} correos se habrán enviado en {takes}, a las {at} UTC",
    },
}
TRACE_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("AT (UTC)", "ATTEMPT", "OUTCOME", "REASON"),
    "es": ("CUÁNDO (UTC)", "INTENTO", "RESULTADO", "MOTIVO"),
}
TRACE: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "No trace of it is left: done long ago, removed, or it never existed.",
        "by": " by {account}",
        "head": "{state}{by}, attempt {attempt}, {lane}",
        "no_lane": "no longer in a lane",
    },
    "es": {
        "none": "No queda rastro de él: hecho hace mucho, eliminado, o nunca existió.",
        "by": " por {account}",
        "head": "{state}{by}, intento {attempt}, {lane}",
        "no_lane": "ya en ningún carril",
    },
}
UNCERTAIN_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("MAIL", "NOTED (UTC)", "ACCOUNT", "NOW"),
    "es": ("CORREO", "ANOTADO (UTC)", "CUENTA", "AHORA"),
}
UNCERTAIN: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "No mail is uncertain.",
        "waiting": "\nMails that are still uncertain wait for a decision: "
        "./run ops mail resolve ID accepted|resend",
        "total": "\n{total} in all.",
        "accepted": "It is resolved as accepted.",
        "resend": "It will be sent again.",
        "not_waiting": "It does not wait for a decision; see ./run ops mail trace.",
    },
    "es": {
        "none": "No hay ningún correo incierto.",
        "waiting": "\nLos que siguen inciertos esperan una decisión: ./run ops mail resolve ID accepted|resend",
        "total": "\n{total} en total.",
        "accepted": "Queda resuelto como aceptado.",
        "resend": "Se enviará otra vez.",
        "not_waiting": "No espera ninguna decisión; vea ./run ops mail trace.",
    },
}
REASON_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("REASON", "SCOPE", "SINCE", "UNTIL", "BY"),
    "es": ("MOTIVO", "ÁMBITO", "DESDE", "HASTA", "POR"),
}
LIST_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("DOMAIN", "DIGEST", *REASON_HEADS["en"]),
    "es": ("DOMINIO", "RESUMEN", *REASON_HEADS["es"]),
}
LOG_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("AT (UTC)", "BY", "ACTION", "REASON AND SCOPE", "DIGEST", "EVIDENCE"),
    "es": ("CUÁNDO (UTC)", "POR", "ACCIÓN", "MOTIVO Y ÁMBITO", "RESUMEN", "PRUEBA"),
}
MATCH_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("DOMAIN", "REASON", "ADDRESSES"),
    "es": ("DOMINIO", "MOTIVO", "DIRECCIONES"),
}
SUPPRESSION: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "No address is suppressed.",
        "not_suppressed": "This address is not suppressed.",
        "total": "\n{total} addresses in all.",
        "doubted": "Such refusals suppress no address, and workers retry these mails until they are too old. "
        "Check that server.\nIf an address no longer exists: ./run ops mail suppress ADDRESS",
        "for_ever": "for ever",
        "no_log": "The log has no entry yet.",
        "suppressed": "The address is suppressed.",
        "unchanged": "The address already had this reason; nothing was done.",
        "removed": "{removed} reasons removed; the address gets mail again.",
        "no_reason": "There is no such reason.",
        "some_left": "{removed} reasons removed; {left} remain.",
        "no_match": "No entry of the list matches.",
        "removed_many": "{removed} reasons removed. Dead mails to these addresses: ./run ops revive --all LANE",
        "match": "{count} reasons match. Nothing was removed; remove them with --yes",
    },
    "es": {
        "none": "No hay ninguna dirección suprimida.",
        "not_suppressed": "Esta dirección no está suprimida.",
        "total": "\n{total} direcciones en total.",
        "doubted": "Tales rechazos no suprimen ninguna dirección, y los workers reintentan esos correos hasta que "
        "son demasiado antiguos. Revise ese servidor.\n"
        "Si una dirección ya no existe: ./run ops mail suppress ADDRESS",
        "for_ever": "siempre",
        "no_log": "El registro todavía no tiene entradas.",
        "suppressed": "La dirección está suprimida.",
        "unchanged": "La dirección ya tenía ese motivo; no se ha hecho nada.",
        "removed": "{removed} motivos eliminados; la dirección vuelve a recibir correo.",
        "no_reason": "No existe tal motivo.",
        "some_left": "{removed} motivos eliminados; quedan {left}.",
        "no_match": "No coincide ninguna entrada de la lista.",
        "removed_many": "{removed} motivos eliminados. Correos muertos a esas direcciones: "
        "./run ops revive --all LANE",
        "match": "Coinciden {count} motivos. No se ha eliminado nada; elimínelos con --yes",
    },
}
BOUNCE_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("AT (UTC)", "WHY", "STATUS", "DOMAIN", "REPORTER", "MESSAGE-ID"),
    "es": ("CUÁNDO (UTC)", "POR QUÉ", "ESTADO", "DOMINIO", "INFORMANTE", "MESSAGE-ID"),
}
BOUNCES: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "processed": "Processed: {counts}.",
        "none": "There was no bounce to process.",
        "no_unknown": "There is no unmatched bounce.",
    },
    "es": {
        "processed": "Procesados: {counts}.",
        "none": "No había ningún rebote que procesar.",
        "no_unknown": "No hay ningún rebote sin correspondencia.",
    },
}
FORGOTTEN: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "cancelled": "waiting mails cancelled",
        "discarded": "dead mails discarded",
        "stopping": "running mails being stopped; run this again in a moment",
        "removed": "results and journals of sent mails removed",
        "unopened": "sealed mails that could not be opened; set MOMENTUS_MAIL__SEAL_KEYS and run this again",
        "recorded": "records of the ledger erased",
        "live": "mails of the ledger that have not ended; run this again in a moment",
    },
    "es": {
        "cancelled": "correos en espera cancelados",
        "discarded": "correos muertos descartados",
        "stopping": "correos en curso que se están deteniendo; repita esto en un momento",
        "removed": "resultados y diarios de correos enviados eliminados",
        "unopened": "correos sellados que no se pudieron abrir; defina MOMENTUS_MAIL__SEAL_KEYS y repita esto",
        "recorded": "registros del libro borrados",
        "live": "correos del libro que no han terminado; repita esto en un momento",
    },
}
FORGET: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "suppressed": "Suppressed for ever, as a digest.",
        "unsuppressed": "Removed from the suppression list.",
    },
    "es": {
        "suppressed": "Suprimida para siempre, como resumen.",
        "unsuppressed": "Eliminada de la lista de supresión.",
    },
}
PREVIEW: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "mail": "Subject: {subject}\n\n{text}",
        "warning": "\nwarning: {warning}",
        "written": "\nwritten to {out}",
    },
    "es": {
        "mail": "Asunto: {subject}\n\n{text}",
        "warning": "\naviso: {warning}",
        "written": "\nescrito en {out}",
    },
}
