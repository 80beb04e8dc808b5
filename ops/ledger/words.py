"""Words of ``ops db`` and ``ops ledger``, in Spanish and English."""

from collections.abc import Mapping

from ops.language import Language

SCHEMA: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "installed": "The ledger is installed, at migration {number}.",
        "current": "The ledger is installed, at migration {number}, the latest that this build knows.",
        "days": "last day with a partition: {day}",
        "no_days": (
            "No worker makes partitions: rows of later days go to the default ones. Start a worker, or run "
            "db install."
        ),
        "backends": "may stage: {roles}",
        "workers": "may also read and record: {roles}",
        "none": "The database has no ledger.",
        "removed": "The ledger and all that it had recorded are removed.",
    },
    "es": {
        "installed": "El libro está instalado, en la migración {number}.",
        "current": "El libro está instalado, en la migración {number}, la última que conoce esta versión.",
        "days": "último día con partición: {day}",
        "no_days": (
            "Ningún worker crea particiones: las filas de días posteriores van a las de reserva. Arranque un "
            "worker o ejecute db install."
        ),
        "backends": "pueden anotar trabajos: {roles}",
        "workers": "también pueden leer y registrar: {roles}",
        "none": "La base de datos no tiene libro.",
        "removed": "El libro y todo lo que había registrado se han eliminado.",
    },
}
RECORD_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("STAGED (UTC)", "ID", "KIND", "TEMPLATE", "STATE", "ATTEMPT", "ACCOUNT", "ENDED (UTC)", "REPLY"),
    "es": ("ANOTADO (UTC)", "ID", "TIPO", "PLANTILLA", "ESTADO", "INTENTO", "CUENTA", "FIN (UTC)", "RESPUESTA"),
}
RECORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "No job in the ledger matches.",
        "unknown": "The ledger has no job with this id.",
        "state": "{state}, attempt {attempt}, lane {lane}, kind {kind}",
        "staged": "staged {at} UTC",
        "due": "due {at} UTC",
        "ended": "ended {at} UTC",
        "account": "by {account}",
        "uncertain": "may have been delivered more than once",
        "effect": "attempt {attempt} began its effect {at} UTC: {note}",
        "recipients": "recipients, as digests: {digests}",
        "written": "{count} jobs written to {file}",
    },
    "es": {
        "none": "Ningún trabajo del libro coincide.",
        "unknown": "El libro no tiene ningún trabajo con este id.",
        "state": "{state}, intento {attempt}, carril {lane}, tipo {kind}",
        "staged": "anotado {at} UTC",
        "due": "previsto {at} UTC",
        "ended": "terminado {at} UTC",
        "account": "por {account}",
        "uncertain": "quizá se entregó más de una vez",
        "effect": "el intento {attempt} comenzó su efecto {at} UTC: {note}",
        "recipients": "destinatarios, como resúmenes: {digests}",
        "written": "{count} trabajos escritos en {file}",
    },
}
STATES: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "staged": "staged",
        "queued": "queued",
        "done": "done",
        "suppressed": "suppressed",
        "dead": "dead",
        "cancelled": "cancelled",
        "discarded": "discarded",
        "expired": "expired",
        "duplicate": "duplicate",
        "quarantined": "quarantined",
    },
    "es": {
        "staged": "anotado",
        "queued": "en cola",
        "done": "hecho",
        "suppressed": "suprimido",
        "dead": "muerto",
        "cancelled": "cancelado",
        "discarded": "descartado",
        "expired": "vencido",
        "duplicate": "duplicado",
        "quarantined": "en cuarentena",
    },
}
CONSERVATION: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "postgres": "Postgres: {jobs} jobs = {ended} ended + {live} live, {pending} of them not handed over",
        "redis": "Redis: {live} live, {unrecorded} ended and not recorded yet",
        "agree": "Both stores agree about every job.",
        "lost": "{id} of {day}: Redis has lost it; a worker hands it over again within 5 minutes",
        "stray": "{id} of {day}: Redis has it, Postgres does not",
        "ended": "{id} of {day}: it has ended, and Redis still has it as live",
        "no job": "{id} of {day}: Postgres has a note about it, but no such job",
        "more": "and {count} more",
        "returned": "{count} jobs are pending again; a worker hands them over.",
        "none_lost": "Redis has lost no job.",
    },
    "es": {
        "postgres": (
            "Postgres: {jobs} trabajos = {ended} terminados + {live} vivos, {pending} de ellos sin entregar"
        ),
        "redis": "Redis: {live} vivos, {unrecorded} terminados y aún sin registrar",
        "agree": "Los dos almacenes coinciden en cada trabajo.",
        "lost": "{id} de {day}: Redis lo ha perdido; un worker lo entrega de nuevo antes de 5 minutos",
        "stray": "{id} de {day}: Redis lo tiene, Postgres no",
        "ended": "{id} de {day}: ha terminado, y Redis aún lo tiene como vivo",
        "no job": "{id} de {day}: Postgres tiene una nota sobre él, pero no el trabajo",
        "more": "y {count} más",
        "returned": "{count} trabajos esperan de nuevo su entrega; un worker los entrega.",
        "none_lost": "Redis no ha perdido ningún trabajo.",
    },
}
RETENTION: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "No day is that old.",
        "removed": "{day}: removed",
        "would": "{day}: would be removed",
        "live": "{day}: stays, because it has jobs that have not ended",
        "locked": "{day}: stays, because a lock was not free; try again",
    },
    "es": {
        "none": "Ningún día es tan antiguo.",
        "removed": "{day}: eliminado",
        "would": "{day}: se eliminaría",
        "live": "{day}: se queda, porque tiene trabajos sin terminar",
        "locked": "{day}: se queda, porque no se consiguió un bloqueo; inténtelo de nuevo",
    },
}
