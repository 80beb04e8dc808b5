"""Words of the commands for jobs, in Spanish and English; `ops.jobs.texts` makes texts of them."""

from collections.abc import Mapping

from ops.jobs.edit import EditOutcome
from ops.jobs.explain import Wait
from ops.jobs.operations import RemovalOutcome, ReviveOutcome
from ops.jobs.parked import UnparkOutcome
from ops.language import Language

REVIVED: Mapping[Language, Mapping[ReviveOutcome, str]] = {
    "en": {
        "revived": "{id} is back in {lane}.",
        "staged": "Redis has lost {id}; a worker hands it over again from the ledger, to {lane}.",
        "vanished": "{id} has lost its payload and is counted as vanished in {lane}.",
        "erased": "{id} stays dead: its content was erased (MOMENTUS_MAIL__ERASE_AFTER, mail forget). "
        "Send it again, and remove this one: ./run ops discard",
        "suppressed": "{id} stays dead: its recipient is suppressed, so it would not be sent. See why: ./run ops "
        "mail suppressed ADDRESS; allow it: ./run ops mail unsuppress ADDRESS; then revive the job",
        "needs_ledger": "{id} stays dead: it has a row in the ledger, which would still say that it is dead. Set "
        "MOMENTUS_POSTGRES_DSN to the database with the ledger, as the workers have it, and repeat the command.",
        "not dead": "{id} is not dead; nothing was done.",
    },
    "es": {
        "revived": "{id} vuelve a estar en {lane}.",
        "staged": "Redis ha perdido {id}; un worker lo entrega de nuevo desde el libro, a {lane}.",
        "vanished": "{id} ha perdido sus datos y cuenta como desaparecido en {lane}.",
        "erased": "{id} sigue muerto: su contenido se borró (MOMENTUS_MAIL__ERASE_AFTER, mail forget). "
        "Envíelo otra vez, y elimine este: ./run ops discard",
        "suppressed": "{id} sigue muerto: su destinatario está suprimido, así que no se enviaría. Vea por qué: "
        "./run ops mail suppressed ADDRESS; permítalo: ./run ops mail unsuppress ADDRESS; después reviva el "
        "trabajo",
        "needs_ledger": "{id} sigue muerto: tiene una fila en el libro, que seguiría diciendo que está muerto. "
        "Ponga MOMENTUS_POSTGRES_DSN a la base de datos con el libro, como los workers, y repita la orden.",
        "not dead": "{id} no está muerto; no se ha hecho nada.",
    },
}
TAKEN_OUT: Mapping[Language, Mapping[RemovalOutcome, str]] = {
    "en": {
        "gone": "{id} is removed from {lane} and counted as {how}.",
        "stopping": "{id} runs; its worker stops it within a few seconds and counts it as cancelled in {lane}.",
        "told": "{id} runs and is already being stopped.",
        "running": "{id} runs; only a job that does not run can be discarded. Stop it: ./run ops cancel",
        "foreign": "{id} runs on a stock arq worker, which cannot be stopped from here; nothing was done.",
        "dead": "{id} is already dead; remove it: ./run ops discard",
        "unknown": "{id} is not waiting, running or dead; nothing was done.",
    },
    "es": {
        "gone": "{id} se ha quitado de {lane} y cuenta como {how}.",
        "stopping": "{id} está en curso; su worker lo detiene en unos segundos y cuenta como cancelado en {lane}.",
        "told": "{id} está en curso y ya se está deteniendo.",
        "running": "{id} está en curso; solo se puede descartar uno que no lo esté. Deténgalo: ./run ops cancel",
        "foreign": "{id} corre en un worker de arq, que no se puede detener desde aquí; no se ha hecho nada.",
        "dead": "{id} ya está muerto; elimínelo: ./run ops discard",
        "unknown": "{id} ni espera ni está en curso ni está muerto; no se ha hecho nada.",
    },
}
UNPARKED: Mapping[Language, Mapping[UnparkOutcome, str]] = {
    "en": {
        "unparked": "{id} is back in {lane}; a worker claims it now.",
        "not parked": "{id} is not parked; nothing was done.",
    },
    "es": {
        "unparked": "{id} vuelve a estar en {lane}; un worker lo toma ahora.",
        "not parked": "{id} no está aparcado; no se ha hecho nada.",
    },
}
EDITED: Mapping[Language, Mapping[EditOutcome, str]] = {
    "en": {
        "edited": "{id}: changed {fields}. It is still dead; revive it: ./run ops revive",
        "not dead": "{id} is {state}; only a dead job can be edited. Nothing was done.",
        "changed": "{id} changed in the meantime; read it again. Nothing was done.",
    },
    "es": {
        "edited": "{id}: cambiado {fields}. Sigue muerto; revívalo: ./run ops revive",
        "not dead": "{id}: {state}; solo se puede editar un trabajo muerto. No se ha hecho nada.",
        "changed": "{id} ha cambiado entre tanto; vuelva a leerlo. No se ha hecho nada.",
    },
}
STATES: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "staged": "staged",
        "ready": "ready",
        "scheduled": "scheduled",
        "retrying": "retrying",
        "parked": "parked",
        "leased": "leased",
        "dead": "dead",
        "done": "done",
        "suppressed": "suppressed",
        "expired": "expired",
        "unknown": "unknown",
    },
    "es": {
        "staged": "anotado",
        "ready": "listo",
        "scheduled": "programado",
        "retrying": "en reintento",
        "parked": "aparcado",
        "leased": "en curso",
        "dead": "muerto",
        "done": "hecho",
        "suppressed": "suprimido",
        "expired": "vencido",
        "unknown": "desconocido",
    },
}
SINCE: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "staged": "staged at",
        "ready": "due since",
        "scheduled": "due at",
        "retrying": "due again at",
        "parked": "next check",
        "leased": "lease until",
        "dead": "dead since",
        "done": "done at",
        "suppressed": "not sent (suppressed) at",
        "expired": "expired at",
    },
    "es": {
        "staged": "anotado",
        "ready": "desde",
        "scheduled": "previsto",
        "retrying": "reintento",
        "parked": "se revisa",
        "leased": "arriendo hasta",
        "dead": "muerto desde",
        "done": "hecho",
        "suppressed": "no enviado (suprimido)",
        "expired": "vencido",
    },
}
WAITS: Mapping[Language, Mapping[Wait, str]] = {
    "en": {
        "handover": "a worker that hands it over from the ledger; none has yet",
        "held": "the lane is {held}",
        "time": "its time, in {in_time}",
        "limit": "{limits}",
        "worker": "a worker: no live one serves {lane}",
        "quiet": "a worker that claims: those of {lane} are quiet or stopping; ./run ops workers resume",
        "slot": "a slot: all {slots} are in use; {place} before it",
        "ceiling": "a worker that may run one more: slots are free, but not under MOMENTUS_WORKER__MAX_RUNNING; "
        "{place} before it",
        "claiming": "a worker that claims: slots are free, and none does; it is stopping, or cannot reach Redis",
        "turn": "its turn: {place} before it",
        "ability": "a worker that knows {needs}: deploy one; it unparks the job when it starts",
        "decision": "an operator, {why}: {reason}; decide: ./run ops unpark, or ./run ops discard",
        "people": "an operator: ./run ops revive, edit or discard",
        "end": "nothing: it runs on worker {worker}",
    },
    "es": {
        "handover": "un worker que lo entregue desde el libro; ninguno lo ha hecho aún",
        "held": "el carril está {held}",
        "time": "su hora, dentro de {in_time}",
        "limit": "{limits}",
        "worker": "un worker: ninguno vivo atiende {lane}",
        "quiet": "un worker que tome trabajos: los de {lane} están en pausa o parando; ./run ops workers resume",
        "slot": "un puesto: los {slots} están ocupados; {place} antes que él",
        "ceiling": "un worker que pueda hacer uno más: hay puestos, pero no bajo MOMENTUS_WORKER__MAX_RUNNING; "
        "{place} antes que él",
        "claiming": "un worker que tome trabajos: hay puestos libres y ninguno toma; se para o no llega a Redis",
        "turn": "su turno: {place} antes que él",
        "ability": "un worker que conozca {needs}: despliegue uno; al arrancar desaparca el trabajo",
        "decision": "un operador, {why}: {reason}; decida: ./run ops unpark, o ./run ops discard",
        "people": "un operador: ./run ops revive, edit o discard",
        "end": "nada: está en curso en el worker {worker}",
    },
}
LABELS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "lane": "lane",
        "kind": "kind",
        "fields": "fields",
        "attempt": "attempt",
        "expires": "expires",
        "trace": "trace",
        "progress": "progress",
        "limit": "limit",
        "waits_for": "waits for",
    },
    "es": {
        "lane": "carril",
        "kind": "tipo",
        "fields": "campos",
        "attempt": "intento",
        "expires": "vence",
        "trace": "traza",
        "progress": "progreso",
        "limit": "límite",
        "waits_for": "espera a",
    },
}
HISTORY_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("AT", "ATTEMPT", "OUTCOME", "REASON"),
    "es": ("CUÁNDO", "INTENTO", "RESULTADO", "MOTIVO"),
}
DEAD_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("ID", "LANE", "DEAD SINCE", "KIND", "ATTEMPT", "REASON"),
    "es": ("ID", "CARRIL", "MUERTO DESDE", "TIPO", "INTENTO", "MOTIVO"),
}
PARKED_HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("ID", "LANE", "WHY", "NEEDS", "REASON"),
    "es": ("ID", "CARRIL", "POR QUÉ", "NECESITA", "MOTIVO"),
}
WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "unknown": "{id}: unknown. No trace is left: done long ago, discarded, cancelled, or it never existed. "
        "In a shell, put the id in quotes.",
        "no_dead": "There are no dead jobs.",
        "no_parked": "There are no parked jobs.",
        "unreadable": "unreadable",
        "version": ", version {version}",
        "stopping": ", and is being stopped",
        "not_defined": ", not defined",
        "none_before": "no ready job",
        "before": "{count} ready jobs",
        "deferred": " (deferred: {reason})",
        "share": "{done:g} of {total:g} ({percent:.0f} %){note}, reported at {at}",
        "back": "{count} jobs are back in {lane}{vanished}{staged}{erased}.",
        "vanished": "; {count} had lost their payload and are counted as vanished",
        "staged": "; {count} had lost their payload and are handed over again from the ledger",
        "erased": "; {count} stay dead because their content was erased",
        "suppressed": "\n{count} stay dead: their recipients are suppressed, so they would not be sent. See why: "
        "./run ops mail suppressed\nIf a server was at fault, allow them again: ./run ops mail unsuppress "
        "--domain DOMAIN --since 2h; then ./run ops revive --all {lane}",
        "needs_ledger": "\n{count} stay dead: they have rows in the ledger. Set MOMENTUS_POSTGRES_DSN to the "
        "database with the ledger, as the workers have it, and repeat the command.",
        "discarded": "discarded",
        "cancelled": "cancelled",
        "refused": "Refused, nothing was changed. {reason}",
        "held_already": "{lane} already has this hold; nothing was done.",
        "held": "{lane} is {held}. Running jobs continue.\nRelease it: ./run ops release {lane}",
        "released": "{lane} is released.",
        "not_held": "{lane} was not held.",
    },
    "es": {
        "unknown": "{id}: desconocido. No queda rastro: hecho hace mucho, descartado, cancelado, o nunca existió. "
        "En un shell, ponga el id entre comillas.",
        "no_dead": "No hay ningún trabajo muerto.",
        "no_parked": "No hay ningún trabajo aparcado.",
        "unreadable": "ilegible",
        "version": ", versión {version}",
        "stopping": ", y se está deteniendo",
        "not_defined": ", sin definir",
        "none_before": "ningún trabajo listo",
        "before": "{count} trabajos listos",
        "deferred": " (aplazado: {reason})",
        "share": "{done:g} de {total:g} ({percent:.0f} %){note}, comunicado {at}",
        "back": "{count} trabajos vuelven a estar en {lane}{vanished}{staged}{erased}.",
        "vanished": "; {count} habían perdido sus datos y cuentan como desaparecidos",
        "staged": "; {count} habían perdido sus datos y se entregan de nuevo desde el libro",
        "erased": "; {count} siguen muertos porque su contenido se borró",
        "suppressed": "\n{count} siguen muertos: sus destinatarios están suprimidos, así que no se enviarían. Vea "
        "por qué: ./run ops mail suppressed\nSi la culpa fue de un servidor, permítalos de nuevo: ./run ops mail "
        "unsuppress --domain DOMAIN --since 2h; después ./run ops revive --all {lane}",
        "needs_ledger": "\n{count} siguen muertos: tienen filas en el libro. Ponga MOMENTUS_POSTGRES_DSN a la "
        "base de datos con el libro, como la tienen los workers, y repita la orden.",
        "discarded": "descartado",
        "cancelled": "cancelado",
        "refused": "Rechazado, no se ha cambiado nada. {reason}",
        "held_already": "{lane} ya está retenido así; no se ha hecho nada.",
        "held": "{lane} está {held}. Los trabajos en curso continúan.\nLibérelo: ./run ops release {lane}",
        "released": "{lane} está liberado.",
        "not_held": "{lane} no estaba retenido.",
    },
}
