"""Texts about workers, in Spanish and English."""

from collections.abc import Mapping

from ops.language import Language

HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("WORKER", "HOST", "STATE", "VERSION", "SEEN", "LOOP LAG", "LEASE LAG", "BUSY"),
    "es": ("WORKER", "MÁQUINA", "ESTADO", "VERSIÓN", "VISTO", "RETRASO BUCLE", "RETRASO ARRIENDOS", "OCUPADOS"),
}
STATES: Mapping[Language, Mapping[str, str]] = {
    "en": {"runs": "runs", "quiet": "quiet", "stops": "stops", "": "older version"},
    "es": {"runs": "trabaja", "quiet": "en pausa", "stops": "parando", "": "versión anterior"},
}
ORDERS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "No worker is alive. Start one: ./run worker",
        "quiet": "{id} will claim no new jobs, within seconds; its running jobs end as usual, and it stays.\n"
        "Let it claim again: ./run ops workers resume {id}",
        "resume": "{id} will claim jobs again, within seconds.",
        "stop": "{id} will claim no new jobs, let the running ones end within its grace, and exit with 0. A "
        "service manager that always restarts it starts another one.",
        "unchanged": "{id} already has this order; nothing was done.",
        "stops": "{id} is already stopping; nothing was done.",
        "beside": "{id} is the process for reports of another worker, which would start it again; stop that one, "
        "or quiet this one. Nothing was done.",
        "deaf": "{id} has an earlier version, which takes no orders; stop it by SIGTERM. Nothing was done.",
        "gone": "{id} is not a live worker: it has ended, or never was one; nothing was done. See ./run ops "
        "workers list",
    },
    "es": {
        "none": "No hay ningún worker vivo. Inicie uno: ./run worker",
        "quiet": "{id} no tomará trabajos nuevos, en unos segundos; los que tiene en curso terminan como "
        "siempre, y sigue vivo.\nPara que vuelva a tomar: ./run ops workers resume {id}",
        "resume": "{id} volverá a tomar trabajos, en unos segundos.",
        "stop": "{id} no tomará trabajos nuevos, dejará terminar los que tiene en curso dentro de su plazo, y "
        "acabará con 0. Un gestor de servicios que siempre lo reinicia inicia otro.",
        "unchanged": "{id} ya tiene esta orden; no se ha hecho nada.",
        "stops": "{id} ya se está parando; no se ha hecho nada.",
        "beside": "{id} es el proceso de informes de otro worker, que lo volvería a iniciar; pare ese, o ponga "
        "este en pausa. No se ha hecho nada.",
        "deaf": "{id} tiene una versión anterior, que no admite órdenes; párelo con SIGTERM. No se ha hecho nada.",
        "gone": "{id} no es un worker vivo: ha terminado, o nunca lo fue; no se ha hecho nada. Véase ./run ops "
        "workers list",
    },
}
