"""Spanish for errors of `./run demo`, `./run up` and `./run ops`; `ops.translator` says how it is used.

Texts from Redis, Postgres, mail servers and the operating system stay as they are.
"""

from collections.abc import Mapping

ARGPARSE: Mapping[str, str] = {
    "the following arguments are required: {0}": "faltan los argumentos: {0}",
    "unrecognized arguments: {0}": "argumentos desconocidos: {0}",
    "argument {0}: {1}": "argumento {0}: {1}",
    "expected one argument": "espera un valor",
    "expected at most one argument": "espera un valor como máximo",
    "expected at least one argument": "espera al menos un valor",
    "expected {0} arguments": "espera {0} valores",
    "invalid choice: {0} (choose from {1})": "opción no válida: {0} (elija entre {1})",
    "invalid choice: {0}, maybe you meant {1}? (choose from {2})": (
        "opción no válida: {0}; ¿quería decir {1}? (elija entre {2})"
    ),
    "invalid {0} value: {1}": "valor no válido: {1} no es de tipo {0}",
    "not allowed with argument {0}": "no se admite junto al argumento {0}",
    "one of the arguments {0} is required": "falta uno de los argumentos {0}",
    "ambiguous option: {0} could match {1}": "opción ambigua: {0} puede ser {1}",
    "ignored explicit argument {0}": "no admite un valor, y se dio {0}",
}
"""Errors of the standard library's parser, Python 3.11 to 3.14."""

SETTINGS: Mapping[str, str] = {
    "The settings are wrong (docs/settings.md lists them all):": (
        "Los ajustes son erróneos (docs/settings.md los lista todos):"
    ),
    "{0}: {1}; allowed: {2}": "{0}: {1}; se admite: {2}",
    "{0}: does not exist": "{0}: no existe",
    "{0}: does not exist; did you mean {1}?": "{0}: no existe; ¿quería decir {1}?",
    "a section is given as one value; set its fields one by one": (
        "una sección se da como un solo valor; defina sus campos uno a uno"
    ),
    "{0}: the variable without _FILE is set too; keep one of them": (
        "{0}: también está definida la variable sin _FILE; deje una de las dos"
    ),
    "{0}: is not a file ({1}); name a readable file": (
        "{0}: no es un archivo ({1}); nombre un archivo que se pueda leer"
    ),
    "{0}: every user of this machine can read {1}; remove that permission with chmod o-r": (
        "{0}: cualquier usuario de esta máquina puede leer {1}; quite ese permiso con chmod o-r"
    ),
    "{0}: is empty ({1}); write the secret into it": "{0}: está vacío ({1}); escriba en él el secreto",
    "MOMENTUS_WORKER__LEASE_RENEW: must be less than half of MOMENTUS_WORKER__LEASE": (
        "MOMENTUS_WORKER__LEASE_RENEW: debe ser menor que la mitad de MOMENTUS_WORKER__LEASE"
    ),
    "MOMENTUS_MAIL__HOST: is another machine, but mail stays on this one; set MOMENTUS_MAIL__MODE=live": (
        "MOMENTUS_MAIL__HOST: es otra máquina, pero el correo no sale de esta; defina MOMENTUS_MAIL__MODE=live"
    ),
    "MOMENTUS_MAIL__MODE={0}: needs a mail server; set MOMENTUS_MAIL__HOST or __ACCOUNTS": (
        "MOMENTUS_MAIL__MODE={0}: necesita un servidor de correo; defina MOMENTUS_MAIL__HOST o __ACCOUNTS"
    ),
    "MOMENTUS_MAIL__MODE=redirect: needs an address; set MOMENTUS_MAIL__REDIRECT_TO": (
        "MOMENTUS_MAIL__MODE=redirect: necesita una dirección; defina MOMENTUS_MAIL__REDIRECT_TO"
    ),
    "MOMENTUS_MAIL__DKIM_DOMAIN, __DKIM_SELECTOR and __DKIM_KEY: need each other; set all or none": (
        "MOMENTUS_MAIL__DKIM_DOMAIN, __DKIM_SELECTOR y __DKIM_KEY: van juntos; defina los tres o ninguno"
    ),
    "MOMENTUS_MAIL__TLS=off: is for loopback hosts only; set it to required or implicit": (
        "MOMENTUS_MAIL__TLS=off: solo vale para esta misma máquina; defina required o implicit"
    ),
    "MOMENTUS_MAIL__USERNAME and MOMENTUS_MAIL__PASSWORD: need each other; set both or none": (
        "MOMENTUS_MAIL__USERNAME y MOMENTUS_MAIL__PASSWORD: van juntos; defina los dos o ninguno"
    ),
    "MOMENTUS_CONSOLE__PROXIES and MOMENTUS_CONSOLE__PROXY_HEADER: need each other; set both or none": (
        "MOMENTUS_CONSOLE__PROXIES y MOMENTUS_CONSOLE__PROXY_HEADER: van juntos; defina los dos o ninguno"
    ),
    "MOMENTUS_READER__SHARE_PORT: needs a fixed port; set MOMENTUS_READER__PORT": (
        "MOMENTUS_READER__SHARE_PORT: necesita un puerto fijo; defina MOMENTUS_READER__PORT"
    ),
    "MOMENTUS_READER__ACCESS=open: is for loopback hosts only; set it to session": (
        "MOMENTUS_READER__ACCESS=open: solo vale en esta misma máquina; defina session"
    ),
    "a token does not have the form name:role:token": "un token no tiene la forma nombre:rol:token",
    "is neither an address nor a network": "no es una dirección ni una red",
    "unknown time zone": "zona horaria desconocida",
    "not a host name or address": "no es un nombre de máquina ni una dirección",
    "not a port, HOST:PORT or unix:/PATH": "no es un puerto, HOST:PORT ni unix:/PATH",
    "is reachable from other machines": "se alcanza desde otras máquinas",
    "has an unsupported scheme or no address": "tiene otro esquema o le falta la dirección",
    "input should be a valid integer, unable to parse string as an integer": "debe ser un número entero",
    "input should be greater than or equal to {0}": "debe ser mayor o igual que {0}",
    "input should be less than or equal to {0}": "debe ser menor o igual que {0}",
    "input should be a valid timedelta, {0}": "no es una duración",
    "input should be {0} or {1}": "debe ser {0} o {1}",
    "string should match pattern {0}": "no tiene la forma debida",
    "string should have at least {0} character": "está vacío",
    "string should have at most {0} characters": "tiene más de {0} caracteres",
}
"""Faults of settings, pydantic's included."""

ALLOWED: Mapping[str, str] = {
    "{0}: {1}; allowed: {2} to {3}": "{0}: {1}; se admite: de {2} a {3}",
    "{0}: {1}; allowed: {2} to {3}; 0 = no cache": "{0}: {1}; se admite: de {2} a {3}; 0 = sin caché",
    "{0}: {1}; allowed: {2} to {3}; 0 = any free one": "{0}: {1}; se admite: de {2} a {3}; 0 = cualquiera libre",
    "`redis://`, `unix://`, `sentinel://host:port,host:port/service/0` or `cluster://host:port,host:port`; "
    "with TLS `rediss://`, `sentinels://`, `clusters://`": (
        "`redis://`, `unix://`, `sentinel://host:port,host:port/service/0` o `cluster://host:port,host:port`; "
        "con TLS `rediss://`, `sentinels://`, `clusters://`"
    ),
    "a folder": "una carpeta",
    "{0}: {1}; allowed: up to 63 lower-case letters, digits and hyphens, starting with a letter": (
        "{0}: {1}; se admite: hasta 63 letras minúsculas, cifras y guiones, empezando por una letra"
    ),
    "an IANA name": "un nombre de IANA",
    "module names, separated by commas": "nombres de módulos, separados por comas",
    "`name:slots`, separated by commas, like `invoices:10, media:2`": (
        "`name:slots`, separados por comas, como `invoices:10, media:2`"
    ),
    "domains, separated by commas": "dominios, separados por comas",
    "a host name or address": "un nombre de máquina o una dirección",
    "text": "texto",
    "a PEM file": "un archivo PEM",
    "a full host name, or an address like `[192.0.2.1]`": (
        "un nombre completo de máquina, o una dirección como `[192.0.2.1]`"
    ),
    "`name@host` or `Name <name@host>`": "`name@host` o `Name <name@host>`",
    "one or more `id:key`, the key 32 bytes in base64 (`openssl rand -base64 32`)": (
        "uno o varios `id:key`, la clave de 32 bytes en base64 (`openssl rand -base64 32`)"
    ),
    "a domain": "un dominio",
    "a name": "un nombre",
    "PEM without a passphrase, RSA of 1024 bits or more, or Ed25519": (
        "PEM sin contraseña, RSA de 1024 bits o más, o Ed25519"
    ),
    "a TOML file, see `docs/mail.md`": "un archivo TOML, vea `docs/es/mail.md`",
    "`on` = all, `off` = none, or names separated by commas: `management,blockers`": (
        "`on` = todos, `off` = ninguno, o nombres separados por comas: `management,blockers`"
    ),
    "host names or addresses without ports, separated by spaces": (
        "nombres de máquina o direcciones sin puerto, separados por espacios"
    ),
    "`name:role:token`, separated by white space; names of lower-case letters, digits and hyphens, roles `view`, "
    "`operate` and `admin`, tokens of at least 24 characters (`openssl rand -hex 24`)": (
        "`name:role:token`, separados por espacios; nombres de letras minúsculas, cifras y guiones, roles "
        "`view`, `operate` y `admin`, tokens de al menos 24 caracteres (`openssl rand -hex 24`)"
    ),
    "addresses or networks, separated by spaces": "direcciones o redes, separadas por espacios",
    "the name of a header, like `X-Forwarded-User`": "el nombre de una cabecera, como `X-Forwarded-User`",
    "names, separated by spaces; `*` for everyone else": "nombres separados por espacios; `*` para los demás",
    "names of fields, separated by spaces": "nombres de campos separados por espacios",
    "origins like `https://app.example`, separated by spaces": (
        "orígenes como `https://app.example`, separados por espacios"
    ),
    "`mail.urgent:1m:99.9, report/management:2m:99`, separated by commas": (
        "`mail.urgent:1m:99.9, report/management:2m:99`, separados por comas"
    ),
    "a loopback host": "una dirección de esta misma máquina (loopback)",
    "`9310` for this machine alone, `0.0.0.0:9310`, or `unix:/run/momentus.sock`": (
        "`9310` solo para esta máquina, `0.0.0.0:9310`, o `unix:/run/momentus.sock`"
    ),
}
"""The values that a setting allows."""

LOCAL: Mapping[str, str] = {
    "{0}: no {1} binary was found, neither in the package {2} nor on this machine; "
    "set it to a server of your own, or install the packages of requirements/dev.txt": (
        "{0}: no hay ningún programa de {1}, ni en el paquete {2} ni en esta máquina; "
        "nombre un servidor propio, o instale los paquetes de requirements/dev.txt"
    ),
    "MOMENTUS_DATA_DIR: {0} cannot be used, {1}; set it to a directory that this user can write to": (
        "MOMENTUS_DATA_DIR: {0} no se puede usar, {1}; nombre un directorio en el que este usuario pueda escribir"
    ),
    "it is a file, or has one in its path": "es un archivo, o está debajo de uno",
    "it cannot be created ({0})": "no se puede crear ({0})",
    "{0} cannot enter it or write to it": "{0} no puede entrar o escribir en él",
    "it belongs to another user (uid {0})": "pertenece a otro usuario (uid {0})",
    "initdb failed: {0}": "initdb falló: {0}",
    "it belongs to another user, so its programs are not run; remove it": (
        "pertenece a otro usuario, así que sus programas no se ejecutan; bórrelo"
    ),
    "{0}: port {1} on 127.0.0.1 is in use, so {2} cannot listen there; "
    "stop the process that has it, or choose another port": (
        "{0}: el puerto {1} de 127.0.0.1 está en uso, y {2} no puede escuchar en él; "
        "detenga el proceso que lo tiene, o elija otro puerto"
    ),
    "the reader": "el lector",
    "the console": "la consola",
    "the mail sink": "el servidor de correo de pruebas",
    "the mail sink's page": "la página del servidor de correo de pruebas",
    "MOMENTUS_REDIS_URL: Redis does not answer ({0}); start it, or unset the variable": (
        "MOMENTUS_REDIS_URL: Redis no responde ({0}); arránquelo, o quite este ajuste"
    ),
    "MOMENTUS_REDIS_URL: this Redis has workers or waiting jobs; the demo needs an unused one": (
        "MOMENTUS_REDIS_URL: este Redis tiene workers o trabajos en espera; la demo necesita uno sin uso"
    ),
    "{0}: {1}. Its last lines were:\n{2}": "{0}: {1}. Sus últimas líneas fueron:\n{2}",
    "reaper: did not start; nothing was started": "reaper: no arrancó; no se ha iniciado nada",
}
"""Errors of an installation on this machine."""

OPS: Mapping[str, str] = {
    # Redis and the addresses
    "MOMENTUS_REDIS_URL: not set, and nothing runs here ({0} is absent); set it, or start ./run up": (
        "MOMENTUS_REDIS_URL: sin definir, y aquí no hay nada en marcha (falta {0}); defínalo, o inicie ./run up"
    ),
    "{0} (written by ./run up; MOMENTUS_REDIS_URL takes precedence)": (
        "{0} (escrito por ./run up; MOMENTUS_REDIS_URL tiene prioridad)"
    ),
    "{0} cannot be read ({1}); set MOMENTUS_REDIS_URL": "{0} no se puede leer ({1}); defina MOMENTUS_REDIS_URL",
    "{0} is damaged; delete it and start ./run up again": "{0} está dañado; bórrelo y vuelva a iniciar ./run up",
    "Redis: another application writes to this database: {0}; remove those keys, then the queue continues": (
        "Redis: otra aplicación escribe en esta base de datos: {0}; borre esas claves, y la cola continuará"
    ),
    "Redis refuses the user of the address in {0}: it lacks {1} ({2}); see `./run ops acl`": (
        "Redis rechaza al usuario de la dirección de {0}: le falta {1} ({2}); vea `./run ops acl`"
    ),
    "Redis does not answer at the address in {0}: {1}": "Redis no responde en la dirección de {0}: {1}",
    "MOMENTUS_CONSOLE__PORT: the console cannot listen on {0} port {1}: {2}; "
    "set another port (0 = any free port) or MOMENTUS_CONSOLE__HOST": (
        "MOMENTUS_CONSOLE__PORT: la consola no puede escuchar en {0}, puerto {1}: {2}; "
        "elija otro puerto (0 = cualquiera libre) o MOMENTUS_CONSOLE__HOST"
    ),
    # Arguments
    "must be one printable line of at most {0} characters": (
        "debe ser una línea imprimible de {0} caracteres como máximo"
    ),
    "{0} is out of range; must be over 0s and at most {1}d, like 90s, 10m or 2h": (
        "{0} está fuera de rango; debe ser más de 0s y {1}d como máximo, como 90s, 10m o 2h"
    ),
    "{0} is out of range; give a number from {1} to {2}": "{0} está fuera de rango; dé un número de {1} a {2}",
    "bulk: {0} bulk changes are already running; wait for one to finish, or stop it": (
        "bulk: ya hay {0} cambios en bloque en marcha; espere a uno, o deténgalo"
    ),
    "action: {0} does not apply to {1} jobs; allowed: {2}": (
        "action: {0} no es para todos los trabajos en estado {1}; se admite: {2}"
    ),
    "cluster: no dead job belongs to it any longer; load the failures again": (
        "cluster: ya no le pertenece ningún trabajo muerto; vuelva a cargar los fallos"
    ),
    "state: {0} is not a state of jobs; choose from {1}": (
        "state: {0} no es un estado de trabajos; elija entre {1}"
    ),
    "older: {0} jobs have no age; use it with {1}": (
        "older: los trabajos en estado {0} no tienen edad; es para {1}"
    ),
    "older: must be less than newer, or nothing matches both": (
        "older: debe ser menos que newer, o nada cumple ambos"
    ),
    "kind: {0} is not a kind; give a complete one, like mail.send": (
        "kind: {0} no es un tipo; dé uno entero, como mail.send"
    ),
    "domain: {0} is not a domain; give the part after the @, like example.com": (
        "domain: {0} no es un dominio; dé la parte tras la @, como example.com"
    ),
    "error: must be printable and have at most {0} characters": (
        "error: debe ser imprimible, de como mucho {0} caracteres"
    ),
    "why: must be one printable line of at most {0} characters": (
        "why: debe ser una línea imprimible de como mucho {0} caracteres"
    ),
    "NAME: no worker declares a report {0}; see ./run ops reports status": (
        "NAME: ningún worker declara un informe {0}; véase ./run ops reports status"
    ),
    "{0} is out of range; give a whole number from 1 to {1}": (
        "{0} está fuera de rango; dé un número entero de 1 a {1}"
    ),
    "{0} is not a duration: write {1}": "{0} no es una duración: escriba {1}",
    "a number and a unit, like 250ms, 90s, 10m, 1.5h or 2d": (
        "un número y una unidad, como 250ms, 90s, 10m, 1.5h o 2d"
    ),
    "{0} is longer than {1}d": "{0} es más de {1}d",
    "{0} is not a job's id; give a printable id of at most {1} characters": (
        "{0} no es el id de un trabajo; dé un id imprimible de {1} caracteres como máximo"
    ),
    "{0} is not a schedule's name; see ./run ops schedules list": (
        "{0} no es el nombre de un horario; dé uno de ./run ops schedules list"
    ),
    "NAME: no live worker has a schedule {0}; see ./run ops schedules list": (
        "NAME: ningún worker vivo tiene un horario {0}; véase ./run ops schedules list"
    ),
    "NAME: several groups have a schedule {0}; give --group, one of {1}": (
        "NAME: varios grupos tienen un horario {0}; dé --group, uno de {1}"
    ),
    "NAME: no live worker has a schedule {0} in the group {1}; see ./run ops schedules list": (
        "NAME: ningún worker vivo tiene un horario {0} en el grupo {1}; véase ./run ops schedules list"
    ),
    "{0} is not the number of a change; give the 16 hex digits that the change printed": (
        "{0} no es el número de un cambio; dé las 16 cifras hexadecimales que el cambio imprimió"
    ),
    "NUMBER: {0} cannot be undone; only discard, bulk-discard and unsuppress can": (
        "NUMBER: {0} no se puede deshacer; de los cambios del registro, discard, bulk-discard y unsuppress sí"
    ),
    "{0} is not a worker's id; give its 16 hex digits, see ./run ops workers list": (
        "{0} no es el id de un worker; dé sus 16 cifras hexadecimales, véase ./run ops workers list"
    ),
    "{0} is not a change; give FIELD=VALUE": "{0} no es un cambio; dé FIELD=VALUE",
    "{0} is not an address to listen on; allowed: PORT, HOST:PORT and unix:/PATH": (
        "{0} no es un lugar donde escuchar; se admite PORT, HOST:PORT y unix:/PATH"
    ),
    "--listen: cannot listen on {0}: {1}; name another port (0 = any free one) or path": (
        "--listen: no se puede escuchar en {0}: {1}; indique otro puerto (0 = uno cualquiera libre) o ruta"
    ),
    "{0} is not a lane; choose from {1}, or a lane like {2}.invoices": (
        "{0} no es un carril; elija entre {1}, o un carril como {2}.invoices"
    ),
    "{0} is not a rate; give COUNT/TIME, such as 30/1m or 2000/1d": (
        "{0} no es una tasa; dé COUNT/TIME, como 30/1m o 2000/1d"
    ),
    "{0}; give COUNT/TIME, such as 30/1m or 2000/1d": "{0}; dé COUNT/TIME, como 30/1m o 2000/1d",
    "{0} is not a list of node ids; give them with commas, like 1,2": (
        "{0} no es una lista de ids de nodos; escríbalos con comas, como 1,2"
    ),
    "{0} is not a number of days; give a whole number from 1 to {1}": (
        "{0} no es un número de días; dé un número entero de 1 a {1}"
    ),
    # Editing a dead job
    "payload: its content was erased (MOMENTUS_MAIL__ERASE_AFTER); discard the job and send it again": (
        "payload: su contenido se borró (MOMENTUS_MAIL__ERASE_AFTER); descarte el trabajo y envíelo otra vez"
    ),
    "payload: is sealed and cannot be edited; discard the job and send it again": (
        "payload: está sellado y no se puede editar; descarte el trabajo y envíelo otra vez"
    ),
    "payload: would have {0} bytes; at most {1} are allowed": (
        "payload: tendría {0} bytes; se admiten {1} como máximo"
    ),
    "payload: cannot be read: {0}": "payload: no se puede leer: {0}",
    "{0}: has type {1} and must keep it; give the value in JSON": (
        "{0}: es de tipo {1} y debe seguir siéndolo; dé el valor en JSON"
    ),
    "{0}: is not a field of {1}; it has {2}": "{0}: no es un campo de {1}; tiene {2}",
    "{0}: cannot be edited; a mail with another {1} is a different mail": (
        "{0}: no se puede editar; un correo con otro {1} es otro correo"
    ),
    # ACL
    "--passwords: the password in {0} has fewer than {1} characters; write a longer one": (
        "--passwords: la contraseña de {0} tiene menos de {1} caracteres; escriba una más larga"
    ),
    "--passwords: {0} cannot be used: {1}; name a folder that you can write to": (
        "--passwords: {0} no se puede usar: {1}; nombre una carpeta en la que pueda escribir"
    ),
    # Limits
    "KEY: has no bounds; give --rate, --window or --concurrency": (
        "KEY: no tiene límites; dé --rate, --window o --concurrency"
    ),
    # Mail
    "ACCOUNT: no account is called {0}; defined: none": (
        "ACCOUNT: ninguna cuenta se llama {0}; no hay ninguna definida"
    ),
    "ACCOUNT: no account is called {0}; defined: {1}": (
        "ACCOUNT: ninguna cuenta se llama {0}; están definidas: {1}"
    ),
    "--folder: {0} has no folder new/; name a Maildir": "--folder: {0} no tiene carpeta new/; nombre un Maildir",
    '--values: must be one JSON object, like \'{"task": "Cierre", "due": "hoy"}\'': (
        '--values: debe ser un objeto JSON, como \'{"task": "Cierre", "due": "hoy"}\''
    ),
    "--values: {0} is neither a JSON object nor a readable file: {1}": (
        "--values: {0} no es un objeto JSON ni un archivo que se pueda leer: {1}"
    ),
    "--values: is not JSON: {0}": "--values: no es JSON: {0}",
    "--out: {0} cannot be written: {1}": "--out: {0} no se puede escribir: {1}",
    "ADDRESS: is missing; give one, or filter with --domain, --since or --log-by": (
        "ADDRESS: falta; dé una, o filtre con --domain, --since o --log-by"
    ),
    "ADDRESS: cannot be combined with --domain, --since or --log-by; give one address, or a filter": (
        "ADDRESS: no se combina con --domain, --since o --log-by; dé una dirección, o un filtro"
    ),
    # Reports
    "NAME: {0} has no documents; its query returned no rows": (
        "NAME: {0} no tiene documentos; su consulta no devolvió filas"
    ),
    "NAME: no report is called {0}; there are {1}": "NAME: ningún informe se llama {0}; hay {1}",
    "NAME: a worker declares {0}; remove its file, restart the workers, and try again after {1} s": (
        "NAME: un worker declara {0}; borre su archivo, reinicie los workers e inténtelo de nuevo pasados {1} s"
    ),
    "MOMENTUS_POSTGRES_DSN: is not set; name the database to measure": (
        "MOMENTUS_POSTGRES_DSN: no está definido; nombre la base de datos que medir"
    ),
    "MOMENTUS_POSTGRES_DSN: is not set; name the database of the report": (
        "MOMENTUS_POSTGRES_DSN: no está definido; nombre la base de datos del informe"
    ),
    "MOMENTUS_POSTGRES_DSN: is not set; name the database, or print the script with --dry-run": (
        "MOMENTUS_POSTGRES_DSN: no está definido; nombre la base de datos, o imprima el script con --dry-run"
    ),
    "MOMENTUS_POSTGRES_DSN: the database does not answer: {0}": (
        "MOMENTUS_POSTGRES_DSN: la base de datos no responde: {0}"
    ),
    "MOMENTUS_POSTGRES_DSN: no connection ({0}); check the address, and that the database is running": (
        "MOMENTUS_POSTGRES_DSN: sin conexión ({0}); compruebe la dirección y que la base de datos esté en marcha"
    ),
    "MOMENTUS_POSTGRES_DSN: {0}; let the tables' owner run the script of --dry-run": (
        "MOMENTUS_POSTGRES_DSN: {0}; que el dueño de las tablas ejecute el script de --dry-run"
    ),
    "install: a table stayed locked for 5 s, and nothing was changed; try again when its writers are done": (
        "install: una tabla siguió bloqueada 5 s, y no se cambió nada; espere a que terminen quienes la escriben"
    ),
    "install: the database refused the script, and nothing was changed: {0}": (
        "install: la base de datos rechazó el script, y no se cambió nada: {0}"
    ),
    'sources: no report names any; add sources = ["schema.table", ...] to its head': (
        'sources: ningún informe nombra ninguna; añada sources = ["schema.table", ...] a su cabecera'
    ),
    "--walk: {0} cannot be read: {1}": "--walk: {0} no se puede leer: {1}",
    "--pin: {0} cannot be written: {1}": "--pin: {0} no se puede escribir: {1}",
    "--scope: node {0} does not exist; there are {1}, ...": "--scope: el nodo {0} no existe; hay {1}, ...",
    "{0}; ./run ops reports check lists all faults": "{0}; ./run ops reports check lista todos los fallos",
    # Sessions
    "--session: {0} sessions of this user begin with {1}; give the digits of exactly one": (
        "--session: {0} sesiones de este usuario empiezan por {1}; dé los dígitos de una sola"
    ),
    "--token: {0} tokens of {1} begin with {2}; give the digits of exactly one": (
        "--token: {0} tokens de {1} empiezan por {2}; dé los dígitos de uno solo"
    ),
}
"""Errors of `./run ops`."""

CLIENT: Mapping[str, str] = {
    "limit: {0} is not a valid key; use a name, or a family and a name, like customer:42, at most {1} letters, "
    "digits and . _ @ + -; the families hold, lane and slow are reserved": (
        "limit: {0} no es una clave válida; use un nombre, o una familia y un nombre, como customer:42, de {1} "
        "letras, cifras y . _ @ + - como máximo; las familias hold, lane y slow están reservadas"
    ),
    "burst_share: must be from 0 to 1, not {0}": "burst_share: debe ser de 0 a 1, no {0}",
    "reserve: must be at least 0 and below 1, not {0}": "reserve: debe ser de 0 a menos de 1, no {0}",
    "per: must be a timedelta from 1 ms to {0} days, not {1}": "per: debe ser de 1 ms a {0} días, no {1}",
    "{0}: must be a whole number from 1 to {1}, not {2}": "{0}: debe ser un número entero de 1 a {1}, no {2}",
    "lane: {0} must be a lower-case letter and up to 31 lower-case letters, digits or _": (
        "lane: {0} debe ser una letra minúscula y hasta 31 letras minúsculas, cifras o _"
    ),
    "{0}: is not a mail address: {1}": "{0}: no es una dirección de correo: {1}",
    "scope: must be all or stream:<name>, not {0}": "scope: debe ser all o stream:<name>, no {0}",
    "{0}: must be {1} to {2} bytes long, not {3}": "{0}: debe tener de {1} a {2} bytes, no {3}",
    (
        "name: must have 1 to 63 letters, digits, dots, hyphens or underscores and start with a letter or digit, "
        "not {0}"
    ): (
        "name: debe tener de 1 a 63 letras, cifras, puntos, guiones o guiones bajos, y empezar por una letra o "
        "una cifra, no {0}"
    ),
}
"""Refusals of the client that the commands pass on."""

REPORTS: Mapping[str, str] = {
    # Why a board is not watched (`reports.catalogue_postgres`)
    "{0} does not exist": "{0} no existe",
    "{0} is a view, whose rows change with other tables; name those": (
        "{0} es una vista, cuyas filas cambian con otras tablas; nombre esas"
    ),
    "{0} is a materialized view, and REFRESH fires no trigger": (
        "{0} es una vista materializada, y REFRESH no dispara ningún trigger"
    ),
    "{0} is a foreign table, whose changes happen on another server": (
        "{0} es una tabla foránea, cuyos cambios ocurren en otro servidor"
    ),
    "{0} is filled by a logical subscription, which fires no triggers and may lag": (
        "{0} la llena una suscripción lógica, que no dispara triggers y puede retrasarse"
    ),
    "{0} is a sequence, which changes without a transaction": "{0} es una secuencia, que cambia sin transacción",
    "{0} shows the server itself, which changes without a transaction": (
        "{0} muestra el propio servidor, que cambia sin transacción"
    ),
    "row-level security may hide rows of {0} from this user": (
        "la seguridad a nivel de fila puede ocultar a este usuario filas de {0}"
    ),
    "{0} has no trigger; run ./run ops reports install": (
        "{0} no tiene trigger; ejecute ./run ops reports install"
    ),
    "{0} has a foreign table below it: writes that reach it fail until ./run ops reports install is run": (
        "{0} tiene ahora una tabla foránea debajo: lo que se escriba en esa falla hasta ejecutar "
        "./run ops reports install"
    ),
    "the trigger of {0} is disabled or not the current one; run ./run ops reports install again": (
        "el trigger de {0} está desactivado o no es el actual; ejecute de nuevo ./run ops reports install"
    ),
    "{0}() is called, and its body does not tell which tables it reads": (
        "se llama a {0}(), cuyo cuerpo no dice qué tablas lee"
    ),
    "{0}() is called, which reads {1}; name it in sources": ("se llama a {0}(), que lee {1}; nómbrela en sources"),
    "the database is a standby: it shows what it has replayed, and cannot store marks": (
        "la base de datos es una réplica: muestra lo que ha reproducido, y no puede guardar marcas"
    ),
    "a report of the board names no sources": "un informe del tablero no nombra sources",
    "the database has {0}, which is foreign, subscribed or hides rows from this user": (
        "la base de datos tiene {0}, que es foránea, suscrita u oculta filas a este usuario"
    ),
    "no triggers are installed; see ./run ops reports install": (
        "no hay triggers instalados; vea ./run ops reports install"
    ),
    "this user may not take up marks: it lacks {0}; run ./run ops reports install --role with its name": (
        "el usuario no puede recoger marcas, le falta {0}; ejecute ./run ops reports install --role con su nombre"
    ),
    # Remedies of failed reports (`ops.reports.remedies`)
    "fill or fix the table of its tree; ./run ops reports check names the rows": (
        "llene o corrija la tabla de su árbol; ./run ops reports check nombra las filas"
    ),
    "fix MOMENTUS_POSTGRES_DSN": "corrija MOMENTUS_POSTGRES_DSN",
    "the report does not fit the database's schema; ./run ops reports check names the line": (
        "el informe no encaja con el esquema de la base de datos; ./run ops reports check nombra la línea"
    ),
    "create it, or name the right database in MOMENTUS_POSTGRES_DSN; to disable the shipped reports: "
    "MOMENTUS_REPORTS__SHIPPED=off": (
        "créela, o nombre la base de datos correcta en MOMENTUS_POSTGRES_DSN; para desactivar los informes "
        "incluidos: MOMENTUS_REPORTS__SHIPPED=off"
    ),
    "grant it to the user of MOMENTUS_POSTGRES_DSN; reports need SELECT": (
        "concédalo al usuario de MOMENTUS_POSTGRES_DSN; los informes necesitan SELECT"
    ),
    "make the query cheaper, or raise MOMENTUS_REPORTS__STATEMENT_TIMEOUT": (
        "abarate la consulta, o aumente MOMENTUS_REPORTS__STATEMENT_TIMEOUT"
    ),
    "another session locks a table that it reads; workers retry": (
        "otra sesión bloquea una tabla que lee; los workers reintentan"
    ),
    "a standby cancels queries that delay its replay: raise max_standby_streaming_delay or set "
    "hot_standby_feedback there, or name the primary": (
        "una réplica cancela las consultas que retrasan su reproducción: aumente allí "
        "max_standby_streaming_delay o active hot_standby_feedback, o nombre al primario"
    ),
    "allow more connections: a worker needs one more than MOMENTUS_WORKER__REPORTS_SLOTS": (
        "permita más conexiones: un worker necesita una más que MOMENTUS_WORKER__REPORTS_SLOTS"
    ),
    "no server of MOMENTUS_POSTGRES_DSN has its target_session_attrs": (
        "ningún servidor de MOMENTUS_POSTGRES_DSN tiene sus target_session_attrs"
    ),
    "start the database, or let its network or its pooler answer": (
        "arranque la base de datos, o haga que responda su red o su pooler"
    ),
    "start the database, or fix MOMENTUS_POSTGRES_DSN": (
        "arranque la base de datos, o corrija MOMENTUS_POSTGRES_DSN"
    ),
    "forget removes the stored set once no worker has run for 10 s": (
        "forget elimina el conjunto guardado cuando ningún worker ha corrido en 10 s"
    ),
    "see ./run ops reports check": "vea ./run ops reports check",
}
"""Reasons and remedies of reports that other texts quote, with ``; `` between several."""

LEDGER: Mapping[str, str] = {
    "momentus_ledger: the database has no ledger; run ./run ops db install": (
        "momentus_ledger: la base de datos no tiene libro; ejecute ./run ops db install"
    ),
    "momentus_ledger.version: {0}, and this build needs {1}; run ./run ops db upgrade": (
        "momentus_ledger.version: {0}, y esta versión necesita {1}; ejecute ./run ops db upgrade"
    ),
    "momentus_ledger.version: {0} is newer than {1}, the latest that this build knows; use the build that "
    "installed it, or a later one": (
        "momentus_ledger.version: {0} es más nueva que {1}, la última que conoce esta versión; use la versión que "
        "la instaló, o una posterior"
    ),
    "db uninstall: {0} jobs have not ended; wait for them, or give --discard-live": (
        "db uninstall: {0} trabajos no han terminado; espérelos, o indique --discard-live"
    ),
    "MOMENTUS_POSTGRES_DSN: is not set; name the database": (
        "MOMENTUS_POSTGRES_DSN: sin definir; indique la base de datos"
    ),
    "MOMENTUS_POSTGRES_DSN: {0}; use a role that may do this (docs/ledger.md)": (
        "MOMENTUS_POSTGRES_DSN: {0}; use un rol que pueda hacerlo (docs/es/ledger.md)"
    ),
    "MOMENTUS_POSTGRES_DSN: could not get a lock within 1 s; nothing was changed; try again": (
        "MOMENTUS_POSTGRES_DSN: un bloqueo no quedó libre en 1 s, y nada se ha cambiado; inténtelo de nuevo"
    ),
    "MOMENTUS_POSTGRES_DSN: the connection was lost: {0}": "MOMENTUS_POSTGRES_DSN: se perdió la conexión: {0}",
    "MOMENTUS_POSTGRES_DSN: the database refused: {0}": "MOMENTUS_POSTGRES_DSN: la base de datos lo rechazó: {0}",
    "FILE: {0} cannot be written: {1}; name a new file where there is room": (
        "FILE: no se puede escribir {0}: {1}; indique un archivo nuevo donde haya espacio"
    ),
    "{0} is out of range; give a number from 1 to {1}": "{0} está fuera de rango; dé un número de 1 a {1}",
    "{0} is neither a time like 2026-11-29T08:00 nor a duration like 2d": (
        "{0} no es un instante como 2026-11-29T08:00 ni una duración como 2d"
    ),
    "{0} is too short; give at least 2d": "{0} es demasiado corto; dé al menos 2d",
}
"""Errors of the ledger and its commands."""

SPANISH: Mapping[str, str] = {**ARGPARSE, **SETTINGS, **ALLOWED, **LOCAL, **OPS, **CLIENT, **REPORTS, **LEDGER}
