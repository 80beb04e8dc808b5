"""Texts of `./run up` and `./run demo`, in Spanish and English."""

from collections.abc import Mapping

from ops.language import Language

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "starting": "Starting; Ctrl-C ends everything.",
        "running": "Everything runs. Pages:",
        "token": "A token for all reports of the invented organisation; it ends with this run:",
        "queue": "The queue, for your own code:",
        "next": "Next steps, in another terminal:",
        "own_token": "create a token for one reader of the reports",
        "read": "read a report",
        "depth": "show the queue: what waits, why, and until when",
        "check": "check servers, mail accounts and domains",
        "status": "show how fresh each report is",
        "loading": "Starting the servers and loading {nodes} nodes, {employees} people, {checkins} check-ins",
        "queued": "{mails} mails queued in {total} ms (p50 {p50} ms, p99 {p99} ms); the request can answer now",
        "sending": "  {seconds:4.0f} s  waiting {ready:3}  being sent {leased:3}",
        "accepted": "all {mails} accepted after {seconds:.1f} s; one after the other: {one_by_one:.0f} s",
        "reads": "{reads} dashboard reads: p50 {p50} ms, p99 {p99} ms, no SQL at all",
        "checkin": "a check-in in node {node}: dashboard went from {before} to {after} in {seconds:.1f} s",
        "computed": "all {nodes} dashboards computed again in {milliseconds:.0f} ms, in one snapshot",
        "walked": "the same numbers by queries node by node: {milliseconds:.0f} ms, for each view",
        "manager": "The page that the General Manager opens at 10:00:",
        "stays": "\nEverything stays up until Ctrl-C. Also try, in another terminal: ./run ops depth --watch",
    },
    "es": {
        "starting": "Arrancando; Ctrl-C termina todo.",
        "running": "Todo está en marcha. Páginas:",
        "token": "Un token para todos los informes de la organización inventada; termina con esta ejecución:",
        "queue": "La cola, para su propio código:",
        "next": "Siguientes pasos, en otra terminal:",
        "own_token": "crear un token para un lector de los informes",
        "read": "leer un informe",
        "depth": "mostrar la cola: qué espera, por qué y hasta cuándo",
        "check": "comprobar servidores, cuentas de correo y dominios",
        "status": "mostrar lo reciente que es cada informe",
        "loading": "Arrancando los servidores y cargando {nodes} nodos, {employees} personas y {checkins} "
        "registros de asistencia",
        "queued": "{mails} correos encolados en {total} ms (p50 {p50} ms, p99 {p99} ms); la petición ya puede "
        "responder",
        "sending": "  {seconds:4.0f} s  en espera {ready:3}  enviándose {leased:3}",
        "accepted": "los {mails} aceptados a los {seconds:.1f} s; de uno en uno: {one_by_one:.0f} s",
        "reads": "{reads} lecturas de paneles: p50 {p50} ms, p99 {p99} ms, sin ninguna consulta SQL",
        "checkin": "un registro de asistencia en el nodo {node}: el panel pasó de {before} a {after} "
        "en {seconds:.1f} s",
        "computed": "los {nodes} paneles recalculados en {milliseconds:.0f} ms, en una sola instantánea",
        "walked": "las mismas cifras con consultas nodo a nodo: {milliseconds:.0f} ms, en cada vista",
        "manager": "La página que el Gerente General abre a las 10:00:",
        "stays": "\nTodo sigue en marcha hasta Ctrl-C. Pruebe también, en otra terminal: ./run ops depth --watch",
    },
}
