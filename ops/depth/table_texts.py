"""Texts of the depth table, in Spanish and English."""

from collections.abc import Mapping

from ops.language import Language

LANE_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": (
        *(
            "LANE",
            "READY",
            "LEASED",
            "SCHEDULED",
            "RETRYING",
            "PARKED",
            "DEAD",
            "UNCERTAIN",
            "SUPPRESSED",
            "OLDEST",
        ),
        *("IN/MIN", "OUT/MIN", "SLOTS", "DRAINS"),
    ),
    "es": (
        *("CARRIL", "LISTOS", "EN CURSO", "PROGRAMADOS", "REINTENTOS", "APARCADOS", "MUERTOS", "INCIERTOS"),
        *("SUPRIMIDOS", "EL MÁS ANTIGUO", "ENTRAN/MIN", "SALEN/MIN", "PUESTOS", "SE VACÍA"),
    ),
}
WORKER_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("WORKER", "HOST", "PID", "SEEN", "SLOTS BUSY"),
    "es": ("WORKER", "MÁQUINA", "PID", "VISTO", "PUESTOS OCUPADOS"),
}
REPORT_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("REPORT", "STATE", "AGE", "SOFT", "HARD", "LAST ERROR"),
    "es": ("INFORME", "ESTADO", "EDAD", "BLANDO", "DURO", "ÚLTIMO ERROR"),
}
STATES: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "fresh": "fresh",
        "stale": "stale",
        "refused": "refused",
        "waiting": "waiting",
        "never": "never",
        "unreadable": "unreadable",
    },
    "es": {
        "fresh": "al día",
        "stale": "atrasado",
        "refused": "no se sirve",
        "waiting": "espera",
        "never": "nunca",
        "unreadable": "ilegible",
    },
}
"""Texts for the freshness of a report."""
WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "no_workers": "No worker is alive. Start one: ./run worker",
        "no_reports": "No report is declared yet; the first worker with a Postgres declares them.",
        "ago": "{time} ago",
        "doubt": "{doubt}; ./run ops mail suppressed",
        "promise": "{name}: {what} at most {limit} in {target}% of the time; {left} of the error budget of 30 "
        "days is left, burn rate {hour} (1 h), {six} (6 h)",
        "lane_age": "oldest ready job",
        "report_age": "age",
        "ledger": "{group}: {live} live jobs are in the ledger too, {unrecorded} have ended and wait to be "
        "recorded there",
        "unbalanced": "{lane}: NOT CONSERVED: {accepted} jobs accepted, {found} found, {count} {how}; "
        "see docs/operations.md",
        "missing": "missing",
        "too_many": "too many",
        "failing": "reports fail: {reports}; see ./run ops reports status",
        "faults": "worker {worker}: background tasks failed and were restarted: {tasks}; see its log",
        "task": "{task} {count} times",
        "left_behind": "worker {worker}: handlers still run that were told to stop: {lanes}; restart it",
    },
    "es": {
        "no_workers": "No hay ningún worker vivo. Inicie uno: ./run worker",
        "no_reports": "Todavía no hay informes declarados; los declara el primer worker con Postgres.",
        "ago": "hace {time}",
        "doubt": "{doubt}; ./run ops mail suppressed",
        "promise": "{name}: {what} de {limit} como máximo el {target}% del tiempo; queda el {left} del margen de "
        "error de 30 días, ritmo de consumo {hour} (1 h), {six} (6 h)",
        "lane_age": "trabajo listo más antiguo",
        "report_age": "edad",
        "ledger": "{group}: {live} trabajos vivos están también en el libro, {unrecorded} han terminado y falta "
        "registrarlos allí",
        "unbalanced": "{lane}: NO CUADRA: {accepted} trabajos aceptados, {found} encontrados, {count} {how}; "
        "vea docs/es/operations.md, NO CUADRA",
        "missing": "faltan",
        "too_many": "sobran",
        "failing": "informes que fallan: {reports}; vea ./run ops reports status",
        "faults": "worker {worker}: fallaron tareas de fondo y se reiniciaron: {tasks}; vea su registro",
        "task": "{task} {count} veces",
        "left_behind": "worker {worker}: siguen en marcha manejadores que debían parar: {lanes}; reinícielo",
    },
}
