"""Spanish for the help of `./run demo`, `./run up` and `./run ops`; `ops.translator` says how it is used."""

from collections.abc import Mapping

SPANISH: Mapping[str, str] = {
    # argparse's own
    "positional arguments": "argumentos",
    "options": "opciones",
    "show this help message and exit": "mostrar esta ayuda y salir",
    # The command lines
    "commands": "órdenes",
    "example:\n  {0}": "ejemplo:\n  {0}",
    "exit codes:\n  0 fine, 1 a finding or nothing done, 2 a wrong argument or setting, 3 Redis does not answer": (
        "códigos de salida:\n  0 bien, 1 un hallazgo o nada que hacer, 2 un argumento o ajuste erróneo, "
        "3 Redis no responde"
    ),
    "run a whole installation on this machine": "ejecutar una instalación completa en esta máquina",
    "everything on this machine, with sample data, until Ctrl-C": (
        "todo en esta máquina, con datos de ejemplo, hasta Ctrl-C"
    ),
    "all processes, with embedded servers where none is configured, until Ctrl-C": (
        "todos los procesos, con servidores incorporados donde no haya ninguno configurado, hasta Ctrl-C"
    ),
    "example: ./run demo --once": "ejemplo: ./run demo --once",
    "example: ./run up": "ejemplo: ./run up",
    "end after the scenario": "terminar al acabar el guion",
    "one JSON object on stdout; progress goes to stderr": "un objeto JSON en stdout; el progreso va a stderr",
    "size of the company; 1 is 5,000 people (default)": (
        "tamaño de la empresa; 1 son 5.000 personas (valor por defecto)"
    ),
    "seconds that the mail server takes for a mail (default 2 3, like the large providers)": (
        "segundos que tarda el servidor en aceptar un correo (por defecto 2 3, como los grandes proveedores)"
    ),
    "look after the queue, the reports and the workers": "atender la cola, los informes y los workers",
    "print one JSON object on one line instead of a table": "imprimir un objeto JSON en una línea, no una tabla",
    "print one JSON object on one line instead of text": "imprimir un objeto JSON en una línea, no texto",
    "print one JSON object instead of a table": "imprimir un objeto JSON, no una tabla",
    "list every setting with its default and limits": "listar los ajustes, con su valor por defecto y sus límites",
    "list the latest changes on the console: who, what and why": (
        "listar los últimos cambios hechos en la consola: quién, qué y por qué"
    ),
    "list jobs by state, lane, kind, recipient domain, error and age": (
        "listar trabajos por estado, carril, tipo, dominio del destinatario, error y edad"
    ),
    "of the jobs (default dead)": "de los trabajos (por defecto dead)",
    "a whole kind, like mail.send": "un tipo entero, como mail.send",
    "a recipient's domain": "el dominio de un destinatario",
    "a text within the reason of the last attempt": "un texto del motivo del último intento",
    "longer in this state than that: 90s, 10m, 2h, 1d": "más tiempo en ese estado: 90s, 10m, 2h, 1d",
    "less long in this state than that": "menos tiempo en ese estado",
    "compute a report now": "calcular un informe ahora",
    "a declared report": "un informe declarado",
    "serve the operators' page, on this machine only": "servir la página de operación, solo en esta máquina",
    "bring back what discard or unsuppress has removed within the last ten minutes": (
        "devolver lo que discard o unsuppress haya quitado en los últimos diez minutos"
    ),
    "the number of the change, as it was printed, or of the audit log": (
        "el número del cambio, como se imprimió, o del registro de auditoría"
    ),
    # Schedules
    "list the schedules of the live workers, and run one now": (
        "listar los horarios de los workers vivos, y ejecutar uno ahora"
    ),
    "list the schedules of the live workers, with their last and next run": (
        "listar los horarios de los workers vivos, con su última y su próxima ejecución"
    ),
    "queue the job of a schedule now, once, as its tick would": (
        "poner en la cola el trabajo de un horario ahora, una vez, como a su hora"
    ),
    "a schedule, as schedules list shows it": "un horario, como lo da schedules list",
    "its lane group, if several have a schedule of this name": (
        "su grupo de carriles, si varios tienen un horario de este nombre"
    ),
    # Workers
    "list the live workers; quiet, resume or stop one": "listar los workers vivos; pausar, reanudar o parar uno",
    "list the live workers: state, version, slots, and how late loop and leases are": (
        "listar los workers vivos: estado, versión, puestos y retrasos del bucle y de los arriendos"
    ),
    "let a worker claim no new jobs and finish the running ones; it stays": (
        "que un worker no tome trabajos nuevos y termine los que tiene; sigue vivo"
    ),
    "let a quiet worker claim jobs again": "que un worker en pausa vuelva a tomar trabajos",
    "let a worker finish its running jobs and exit": "que un worker termine los trabajos que tiene y acabe",
    "the id of a live worker, as workers list shows it": "el id de un worker vivo, como lo da workers list",
    # Depth
    "show how many jobs wait, why, and until when": "mostrar cuántos trabajos esperan, por qué y hasta cuándo",
    "repeat until Ctrl-C": "repetir hasta Ctrl-C",
    "interval of --watch (default 2)": "intervalo de --watch (por defecto 2)",
    # Jobs
    "show what one job waits for, and its history": "mostrar a qué espera un trabajo, y su historial",
    "list the latest dead jobs, and why each was given up": (
        "listar los últimos trabajos muertos, y por qué se abandonó cada uno"
    ),
    "list the jobs that no worker may take yet, and why": (
        "listar los trabajos que ningún worker puede tomar todavía, y por qué"
    ),
    "return a parked job to its lane": "devolver a su carril un trabajo aparcado",
    "return a dead job, or all of a lane, as if never tried": (
        "devolver un trabajo muerto, o todos los de un carril, como si nunca se hubieran intentado"
    ),
    "remove a dead or waiting job; within ten minutes it can be undone": (
        "eliminar un trabajo muerto o en espera; en los diez minutos siguientes se puede deshacer"
    ),
    "change a field of a dead job; it stays dead until revived": (
        "cambiar un campo de un trabajo muerto; sigue muerto hasta que se revive"
    ),
    "remove a waiting job for good, or stop a running one": (
        "eliminar definitivamente un trabajo en espera, o detener uno en curso"
    ),
    "claim no more jobs of a lane until it is resumed": "no tomar más trabajos de un carril hasta que se reanude",
    "release a paused or held lane": "liberar un carril pausado o retenido",
    "claim no more jobs of a lane for some time": "no tomar más trabajos de un carril durante un tiempo",
    "release a held or paused lane": "liberar un carril retenido o pausado",
    "the job's id, braces included; quote it in a shell": (
        "el id del trabajo, llaves incluidas; entre comillas en un shell"
    ),
    "the job's id, braces included": "el id del trabajo, llaves incluidas",
    "one lane (default: all)": "un carril (por defecto, todos)",
    "count them by lane, kind and class of error instead": (
        "contarlos por carril, tipo y clase de error en vez de listarlos"
    ),
    "at most N jobs (default 20)": "N trabajos como máximo (por defecto 20)",
    "all dead jobs of this lane": "todos los trabajos muertos de este carril",
    "a field of its payload with the new value; may be repeated": (
        "un campo de sus datos con el valor nuevo; se puede repetir"
    ),
    "the text that operators see": "el texto que ven los operadores",
    "duration: 90s, 10m, 2h, 1d": "duración: 90s, 10m, 2h, 1d",
    # Doctor, ACL, losses
    "check Redis, Postgres, mail servers and domains, and print faults with remedies": (
        "comprobar Redis, Postgres, los servidores de correo y los dominios, e imprimir los fallos con su remedio"
    ),
    "a further sender domain to check": "otro dominio remitente que comprobar",
    "a further DKIM selector to check": "otro selector DKIM que comprobar",
    "read what the mail servers offer, without a login": (
        "leer lo que ofrecen los servidores de correo, sin iniciar sesión"
    ),
    "the name server to query (default: this machine's)": (
        "el servidor de nombres al que consultar (por defecto, el de esta máquina)"
    ),
    "print the Redis users as an ACL file": "imprimir los usuarios de Redis como archivo ACL",
    "folder with a password file per role; missing ones are created": (
        "carpeta con un archivo de contraseña por función; los que falten se crean"
    ),
    "stop reporting a loss of Redis's data, once it is dealt with": (
        "dejar de avisar de una pérdida de datos de Redis, una vez atendida"
    ),
    # Limits
    "limit how many jobs begin in a time and how many run at once": (
        "limitar cuántos trabajos empiezan en un tiempo y cuántos corren a la vez"
    ),
    "list all limits, their present state, and the lanes that need them": (
        "listar los límites, su estado actual y los carriles que los necesitan"
    ),
    "define a limit, replacing the one with the same key": "definir un límite; sustituye al de la misma clave",
    "remove a limit, so that its key has no bounds": "eliminar un límite; su clave queda sin límites",
    "begin no job under a limit, for some time or until it is released": (
        "no empezar trabajos bajo un límite, durante un tiempo o hasta que se libere"
    ),
    "release a held limit": "liberar un límite retenido",
    "the lane group; each has its own limits (default mail)": (
        "el grupo de carriles; cada uno tiene sus propios límites (por defecto mail)"
    ),
    "such as account:main or customer:42; customer:* for each customer": (
        "como account:main o customer:42; customer:* para cada cliente"
    ),
    "at most COUNT jobs begin in any TIME: 30/1m, 2000/1d; may be repeated, all apply": (
        "como máximo COUNT trabajos empiezan en cualquier TIME: 30/1m, 2000/1d; se puede repetir, y rigen todos"
    ),
    "the part of COUNT that may begin at once (default 0.1)": (
        "la parte de COUNT que puede empezar a la vez (por defecto 0.1)"
    ),
    "like --rate, but all COUNT may begin at once: 500/1d": (
        "como --rate, pero los COUNT pueden empezar a la vez: 500/1d"
    ),
    "the number of jobs that may run at once": "el número de trabajos que pueden correr a la vez",
    "the part that only urgent lanes may use (default 0)": (
        "la parte reservada a los carriles urgentes (por defecto 0)"
    ),
    "duration: 90s, 10m, 2h, 1d (default: until it is released)": (
        "duración: 90s, 10m, 2h, 1d (por defecto, hasta que se libere)"
    ),
    # Mail
    "manage mail: accounts, single mails, suppression, bounces": (
        "gestionar el correo: cuentas, correos sueltos, supresión, rebotes"
    ),
    "list the mail accounts: state, reason, and the rest of their limits": (
        "listar las cuentas de correo: estado, motivo y lo que queda de sus límites"
    ),
    "stop sending through an account until it is resumed": "no enviar por una cuenta hasta que se reanude",
    "its name, as ./run ops mail accounts shows it": "su nombre, como lo muestra ./run ops mail accounts",
    "resume a paused or closed account at once": "reanudar en el acto una cuenta pausada o cerrada",
    "estimate when the waiting mails will be sent": "estimar cuándo se enviarán los correos en espera",
    "one lane with those before it (default: each lane)": (
        "un carril con los que van antes (por defecto, cada carril)"
    ),
    "show the journal of one mail, with the servers' replies": (
        "mostrar el diario de un correo, con las respuestas de los servidores"
    ),
    "the mail's id, braces included; quote it in a shell": (
        "el id del correo, llaves incluidas; entre comillas en un shell"
    ),
    "list mails that may or may not have been delivered": "listar los correos de entrega incierta",
    "at most N of the latest (default 20)": "los N últimos como máximo (por defecto 20)",
    "decide about a mail with an uncertain delivery": "decidir sobre un correo de entrega incierta",
    "accepted: it was delivered; resend: send it again": "accepted: se entregó; resend: enviarlo otra vez",
    "list the addresses that get no mail, with the reasons": (
        "listar las direcciones que no reciben correo, con los motivos"
    ),
    "one address (default: the whole list)": "una dirección (por defecto, toda la lista)",
    "only addresses of this domain": "solo direcciones de este dominio",
    "show the log of changes, newest last": "mostrar el registro de cambios, el más reciente al final",
    "at most N entries (default 100)": "N entradas como máximo (por defecto 100)",
    "send no more mail to an address": "no enviar más correo a una dirección",
    "name@domain": "nombre@dominio",
    "the reason (default manual)": "el motivo (por defecto manual)",
    "all (default), or stream:NAME for one stream": "all (valor por defecto), o stream:NAME para un solo flujo",
    "duration, like 30d": "duración, como 30d",
    "the proof, such as a ticket or report": "la prueba, como una incidencia o un informe",
    "the name for the audit log (default: your user)": (
        "el nombre para el registro de auditoría (por defecto, su usuario)"
    ),
    "allow mail to an address again, or to many after a fault": (
        "permitir de nuevo el correo a una dirección, o a muchas tras un fallo"
    ),
    "name@domain, or the whole digest from --json": "nombre@dominio, o el resumen completo que da --json",
    "all addresses of this domain": "todas las direcciones de este dominio",
    "all addresses suppressed within TIME, like 2h": "todas las suprimidas hace menos de TIME, como 2h",
    "all addresses that WHO suppressed, like worker or pipe": (
        "todas las direcciones que suprimió WHO, como worker o pipe"
    ),
    "only this reason (default with a filter: bounces)": "solo este motivo (por defecto, con filtro: rebotes)",
    "only this scope (default with a filter: all)": "solo este ámbito (por defecto, con filtro: todos)",
    "remove the matching entries; without it they are only shown": (
        "eliminar las entradas que coinciden; sin ella solo se muestran"
    ),
    "process delivery status reports, or list those that match no sent mail": (
        "procesar avisos de estado de entrega (DSN), o listar los que no corresponden a ningún correo enviado"
    ),
    "a Maildir: process the files of its new/": "un Maildir: procesar los archivos de su new/",
    "process one message from a pipe, as from a mail alias": (
        "procesar un mensaje de una tubería, como la de un alias de correo"
    ),
    "list the messages that match no sent mail": "listar los mensajes que no corresponden a ningún correo enviado",
    "at most N entries of the list (default 50)": "N entradas de la lista como máximo (por defecto 50)",
    "erase all stored traces of mails to an address": (
        "borrar todos los rastros guardados de los correos a una dirección"
    ),
    "keep a digest, so that no mail goes to it again": "conservar un resumen, para que no reciba más correo",
    "fill a template and show the mail; nothing is sent": (
        "rellenar una plantilla y mostrar el correo; no se envía nada"
    ),
    "the template's name": "el nombre de la plantilla",
    "the template's values: a JSON object, or a file with one": (
        "los valores de la plantilla: un objeto JSON, o un archivo que lo contenga"
    ),
    "the language, like pt-BR (default es)": "el idioma, como pt-BR (por defecto es)",
    "the language to use if the template lacks the requested one": (
        "el idioma que usar si la plantilla no tiene el pedido"
    ),
    "file for the HTML; FILE.eml for the whole mail": "archivo para el HTML; FILE.eml para el correo entero",
    "your own folder (default MOMENTUS_MAIL__TEMPLATES)": (
        "su propia carpeta (por defecto MOMENTUS_MAIL__TEMPLATES)"
    ),
    # Ledger
    "manage the ledger's schema in Postgres": "gestionar el esquema del libro en Postgres",
    "install the ledger, or upgrade it, and grant rights to roles": (
        "instalar el libro, o actualizarlo, y dar permisos a roles"
    ),
    "run the migrations that the ledger lacks": "ejecutar las migraciones que le faltan al libro",
    "show the ledger's version, its last day and its roles": (
        "mostrar la versión del libro, su último día y sus roles"
    ),
    "remove the ledger with all that it has recorded": "eliminar el libro con todo lo que ha registrado",
    "a role that may stage jobs and nothing else; may be repeated": (
        "un rol que puede anotar trabajos y nada más; se puede repetir"
    ),
    "a role that may also read, hand over, record and remove; may be repeated": (
        "un rol que también puede leer, entregar, registrar y eliminar; se puede repetir"
    ),
    "remove jobs that have not ended, too": "eliminar también los trabajos que no han terminado",
    "show what the ledger has recorded, compare it with Redis, remove what is old": (
        "mostrar lo que el libro ha registrado, compararlo con Redis, eliminar lo antiguo"
    ),
    "list the latest jobs of the ledger, and how each ended": (
        "listar los últimos trabajos del libro, y cómo terminó cada uno"
    ),
    "show what the ledger has recorded of one job": "mostrar lo que el libro ha registrado de un trabajo",
    "write jobs of the ledger to a file, as JSON lines": (
        "escribir trabajos del libro en un archivo, un JSON por línea"
    ),
    "count the jobs of Postgres and Redis, and name each about which they disagree": (
        "contar los trabajos de Postgres y Redis, y nombrar cada uno en que no coinciden"
    ),
    "hand over again the jobs that Redis has lost, without waiting for a worker to notice": (
        "entregar de nuevo los trabajos que Redis ha perdido, sin esperar a que lo note un worker"
    ),
    "remove the days of the ledger that are older, once all their jobs have ended": (
        "eliminar los días del libro más antiguos, cuando todos sus trabajos han terminado"
    ),
    "mails to this address, name@domain": "correos a esta dirección, nombre@dominio",
    "mails of this template": "correos de esta plantilla",
    "jobs in this state; live are staged and queued": (
        "trabajos en este estado; live son los anotados y los que están en cola"
    ),
    "staged from then on: 2026-11-29, 2026-11-29T08:00 or 2d": (
        "anotados desde entonces: 2026-11-29, 2026-11-29T08:00 o 2d"
    ),
    "staged before then": "anotados antes de entonces",
    "only days from then on: 2026-11-29 or 30d": "solo los días desde entonces: 2026-11-29 o 30d",
    "a new file, one JSON object a line": "un archivo nuevo, un objeto JSON por línea",
    "age of the jobs: 400d, at least 2d": "antigüedad de los trabajos: 400d, al menos 2d",
    "show what would be removed, and change nothing": "mostrar lo que se eliminaría, sin cambiar nada",
    # Reports
    "manage reports: marks in the database, checks, previews, status": (
        "gestionar los informes: marcas en la base de datos, comprobaciones, vista previa, estado"
    ),
    "install triggers that mark changes of reports": "instalar triggers que marcan los cambios de los informes",
    "remove the installed triggers": "quitar los triggers instalados",
    "test that reports can be computed: columns, roll-ups, plan, cost, schema": (
        "comprobar que los informes se pueden calcular: columnas, agregación, plan, coste, esquema"
    ),
    "compute one node's document as a refresh would store it now": (
        "calcular el documento de un nodo como lo guardaría ahora un recálculo"
    ),
    "show the state of each report, and its next refresh": (
        "mostrar el estado de cada informe, y su próximo recálculo"
    ),
    "measure whether to fix a query, precompute the report, or leave it": (
        "medir si conviene corregir una consulta, precalcular el informe o dejarlo como está"
    ),
    "remove the stored data of reports that no worker declares": (
        "eliminar los datos guardados de los informes que ningún worker declara"
    ),
    "print the SQL without running it": "imprimir el SQL sin ejecutarlo",
    "the worker's database user (default: the configured one)": (
        "el usuario del worker en la base de datos (por defecto, el configurado)"
    ),
    "folder of reports (default MOMENTUS_REPORTS__PATH, else the shipped reports)": (
        "carpeta de informes (por defecto MOMENTUS_REPORTS__PATH; si no, los incluidos)"
    ),
    "write NAME.schema.json beside each report": "escribir NAME.schema.json junto a cada informe",
    "show how the database would run each query": "mostrar cómo ejecutaría la base de datos cada consulta",
    "the report": "el informe",
    "the node's id": "el id del nodo",
    "show only the differences from the stored document": "mostrar solo las diferencias con el documento guardado",
    "the application's query for one node, with :node as its id": (
        "la consulta de la aplicación para un nodo, con :node como su id"
    ),
    "views a minute (default 10)": "vistas por minuto (por defecto 10)",
    "nodes that a view shows (default all)": "nodos que muestra una vista (por defecto, todos)",
    "nodes to measure (default 60)": "nodos que medir (por defecto 60)",
    "longest time to measure (default 20)": "tiempo máximo de medida (por defecto 20)",
    "a report (default: only list them)": "un informe (por defecto, solo listarlos)",
    "all reports that no worker declares": "todos los informes que ningún worker declara",
    # Metrics
    "print the fleet's metrics for Prometheus, or serve them": (
        "imprimir las métricas del sistema para Prometheus, o servirlas"
    ),
    "serve them until Ctrl-C: a port of this machine, HOST:PORT or unix:/PATH": (
        "servirlas hasta Ctrl-C: un puerto de esta máquina, HOST:PORT o unix:/PATH"
    ),
    # Sessions
    "list and end the sessions of users, and create tokens for machines": (
        "listar y terminar las sesiones de los usuarios, y crear tokens para máquinas"
    ),
    "list the live sessions of a user": "listar las sesiones vivas de un usuario",
    "the user's id, as the backend knows it": "el id del usuario, como lo conoce el backend",
    "end all sessions of a user, or one of them": "terminar todas las sesiones de un usuario, o una de ellas",
    "only this session: its first digits, as `list` shows them": (
        "solo esta sesión: sus primeros dígitos, como los muestra `list`"
    ),
    "create a token for a machine": "crear un token para una máquina",
    "the name of the machine": "el nombre de la máquina",
    "the roots of the subtrees that it may read, like 1,2": (
        "las raíces de los subárboles que puede leer, como 1,2"
    ),
    "days until it expires, used or not (default 90)": "días hasta que vence, se use o no (por defecto 90)",
    "list the live tokens of machines": "listar los tokens vivos de las máquinas",
    "revoke a machine's tokens": "revocar los tokens de una máquina",
    "only this token: its first digits, as `tokens` shows them": (
        "solo este token: sus primeros dígitos, como los muestra `tokens`"
    ),
}
