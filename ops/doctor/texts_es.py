"""Texts of the findings in Spanish; `ops.doctor.texts` has the English ones and says how both are used."""

from collections.abc import Mapping

from ops.doctor.texts_queue_es import SPANISH_QUEUE

_CONFIG = "redis-cli CONFIG SET {0}, y la misma línea en su archivo de configuración"

SPANISH: Mapping[str, tuple[str, str]] = {
    **SPANISH_QUEUE,
    "redis.away": (
        "Redis no responde: {fault}",
        "arránquelo sobre su directorio de datos anterior, o corrija MOMENTUS_REDIS_URL",
    ),
    "redis.wrong_key": (
        "otra aplicación escribe en esta base de datos, y sus carriles descansan: {why}",
        "busque qué escribe ahí, guarde una copia (DUMP) y elimine las claves; vea docs/es/operations.md",
    ),
    "redis.replica": (
        "es una réplica: no admite trabajos, y los workers no pueden registrar nada",
        "nombre al primario en MOMENTUS_REDIS_URL, o a sus centinelas: sentinel://",
    ),
    "redis.no_right": (
        "al usuario de MOMENTUS_REDIS_URL le falta un permiso, {right}: {part}",
        "concédalo: `./run ops acl` escribe un usuario para cada función con los permisos que necesita",
    ),
    "redis.version": ("{version}", ""),
    "redis.old": ("{version} es anterior a la 7", "actualice Redis a 7 o posterior, o Valkey a 7.2 o posterior"),
    "redis.noeviction": ("maxmemory-policy es noeviction", ""),
    "redis.eviction": (
        "maxmemory-policy es {policy}: se borran trabajos cuando falta memoria",
        _CONFIG.format("maxmemory-policy noeviction"),
    ),
    "redis.evicted": (
        "{keys} claves desalojadas desde su arranque (maxmemory-policy {policy}): puede haber trabajos perdidos",
        _CONFIG.format("maxmemory-policy noeviction") + "; después busque trabajos sin cuenta: ./run ops depth",
    ),
    "redis.aof": ("cada escritura está en el archivo de solo adición (AOF)", ""),
    "redis.no_aof": (
        "appendonly está desactivado: al reiniciar se pierden los trabajos encolados desde la última instantánea",
        _CONFIG.format("appendonly yes"),
    ),
    "redis.aof_failed": (
        "falló la última escritura del archivo de solo adición (AOF)",
        "revise su registro; el disco puede estar lleno",
    ),
    "redis.no_fsync": (
        "appendfsync es no: un corte de corriente pierde hasta medio minuto",
        _CONFIG.format("appendfsync everysec"),
    ),
    "redis.save_failed": (
        "falló la última instantánea",
        "revise su registro; el disco puede estar lleno, o faltar memoria para el fork",
    ),
    "redis.memory": (
        "caben {mails} correos más ({used} de {limit} en uso)",
        "aumente maxmemory, o vacíe la cola: ./run ops depth muestra qué espera",
    ),
    "redis.full": (
        "{used} de {limit} en uso: caben {mails} correos más, y después se rechaza a los productores",
        "aumente maxmemory, o vacíe la cola: ./run ops depth muestra qué espera",
    ),
    "redis.no_limit": (
        "no hay maxmemory: el núcleo puede matarlo cuando falte memoria (caben unos {mails} correos más)",
        _CONFIG.format("maxmemory 1gb (o su parte de esta máquina)"),
    ),
    "redis.clock": (
        "su reloj difiere {seconds} s del de esta máquina",
        "que ambos sigan los mismos servidores de hora (chrony); edades y plazos se desvían en esa medida",
    ),
    "redis.clock_right": ("su reloj coincide con el de esta máquina ({seconds} s)", ""),
    "redis.no_tls": (
        "los correos viajan a {host} sin cifrar",
        "use rediss:// en MOMENTUS_REDIS_URL, o una red privada",
    ),
    "redis.no_password": (
        "{host} acepta cualquier cliente sin contraseña",
        "defina una contraseña (ACL) y póngala en MOMENTUS_REDIS_URL",
    ),
    "redis.data_lost": (
        "Redis perdió sus datos de {group}, detectado {at} UTC: unos {jobs} trabajos sin terminar se han perdido",
        (
            "busque la causa (FLUSHALL, un disco perdido, otro servidor; docs/es/operations.md); "
            "./run ops acknowledge-loss"
        ),
    ),
    "postgres.right": ("responde la versión {version}", ""),
    "postgres.away": ("no responde: {fault}", "arránquelo, o corrija MOMENTUS_POSTGRES_DSN"),
    "postgres.old": ("la versión {version} es anterior a la 13", "actualícelo"),
    "clock.postgres": (
        "su reloj difiere {seconds} s del de esta máquina",
        (
            "que ambos sigan los mismos servidores de hora (chrony); más allá de MOMENTUS_REPORTS__CLOCK_BOUND "
            "ningún informe es reciente"
        ),
    ),
    "clock.postgres_right": ("su reloj coincide con el de esta máquina ({seconds} s)", ""),
    "zones.agree": ("Python y el servidor coinciden en {zones}", ""),
    "zones.differ": ("{fault}", "{remedy}"),
    "postgres.standby": (
        (
            "es una réplica: los informes muestran lo que ha reproducido ({behind}), y no funciona ninguna prueba "
            "de cambios"
        ),
        (
            "si los informes envejecen o cuestan demasiado, nombre al primario en MOMENTUS_POSTGRES_DSN "
            "(docs/es/reports.md)"
        ),
    ),
    "postgres.paused": (
        "es una réplica con la reproducción en pausa: a los informes les faltan todos los cambios del primario",
        "SELECT pg_wal_replay_resume(), o nombre al primario en MOMENTUS_POSTGRES_DSN",
    ),
    "postgres.subscription": (
        "la suscripción {name} no funciona: a los informes les faltan los cambios del publicador desde entonces",
        "ALTER SUBSCRIPTION {name} ENABLE; si está activada, revise el registro del servidor",
    ),
    "postgres.role": ("{role} lee informes y solo puede leer y consumir marcas", ""),
    "postgres.superuser": (
        "{role} lee informes y es superusuario: su SQL puede terminar otras sesiones y ejecutar programas",
        "cree un rol con SELECT sobre las tablas; después ./run ops reports install --role NAME",
    ),
    "postgres.role_may": (
        (
            "{role} lee informes y puede {rights}: el SQL de los informes no escribe tablas, pero puede usar esos "
            "permisos"
        ),
        "cree un rol con SELECT sobre las tablas; después ./run ops reports install --role NAME",
    ),
    "mail.doubt": (
        "{refused} de {recipients} destinatarios rechazados, {since} a {last} UTC: cuenta como fallo del servidor",
        (
            "revise ese servidor; los workers reintentan los correos. Si una dirección ya no existe: "
            "./run ops mail suppress ADDRESS"
        ),
    ),
    "mail.suppressed_many": (
        "{count} direcciones suprimidas en diez minutos, {at} UTC, por {by}",
        "si la causa fue un fallo: ./run ops mail unsuppress --since {age} --log-by {by}",
    ),
    "mail.sink": ("el correo no sale de esta máquina (modo sink)", ""),
    "mail.mode": (
        "MOMENTUS_MAIL__MODE es {mode}: no todos los correos llegan a su destinatario",
        "ponga MOMENTUS_MAIL__MODE en live, y ningún MOMENTUS_MAIL__ALLOWED_DOMAINS, cuando puedan salir todos",
    ),
    "mail.live": ("el correo va a sus destinatarios", ""),
    "mail.sealed": ("el llavero abre los correos sellados con: {keys}", ""),
    "mail.ring": ("el llavero no se puede leer: {fault}", "corrija MOMENTUS_MAIL__SEAL_KEYS"),
    "mail.dkim": ("no se puede firmar ningún correo: {fault}", "corrija MOMENTUS_MAIL__DKIM_KEY"),
    "mail.sender": (
        (
            "ninguna cuenta puede enviar por {domain} (MOMENTUS_MAIL__SENDER): los correos sin remitente propio "
            "quedarán muertos"
        ),
        "añádalo a sender_domains de una cuenta, o corrija MOMENTUS_MAIL__SENDER",
    ),
    "mail.accounts": ("{fault}", "corrija el archivo que nombra MOMENTUS_MAIL__ACCOUNTS"),
    "smtp.away": (
        "no se puede alcanzar: {fault}",
        "compruebe su nombre, que su puerto esté abierto desde aquí, y que esté en marcha",
    ),
    "smtp.ehlo": ("se le saluda como {name}", ""),
    "smtp.ehlo_address": (
        (
            "se le saluda como {name}, porque esta máquina no tiene nombre completo; es válido, pero algunos "
            "servidores lo rechazan"
        ),
        "defina MOMENTUS_MAIL__EHLO_NAME (o ehlo_name de la cuenta) con un nombre que lleve a esta máquina",
    ),
    "smtp.ehlo_refused": (
        "rechaza el nombre {name} en EHLO: {reply}",
        "defina MOMENTUS_MAIL__EHLO_NAME (o ehlo_name de la cuenta) con un nombre que acepte",
    ),
    "smtp.no_starttls": (
        "no ofrece STARTTLS, así que los workers no envían nada",
        'use otro puerto, o tls = "implicit"',
    ),
    "smtp.tls_failed": (
        "falló TLS: {fault}",
        "su certificado debe ser de este nombre y de una autoridad conocida (ca_file)",
    ),
    "smtp.certificate": ("su certificado vence el {ends}", "renuévelo"),
    "smtp.tls": ("cifrado, certificado válido", ""),
    "smtp.plain": ("sin cifrar; en esta máquina", ""),
    "smtp.basic_auth": (
        "Microsoft desactiva las contraseñas para SMTP a finales de diciembre de 2026",
        'defina auth = "microsoft" en el archivo de cuentas (docs/es/mail.md)',
    ),
    "smtp.exim": (
        "es un Exim: desde el correo 11 de una conexión, los correos esperan a su cola (Debian: 30 min)",
        "defina messages = 10 en [accounts.{account}], o MOMENTUS_MAIL__MESSAGES_PER_CONNECTION=10",
    ),
    "smtp.no_login": ("no hay ningún inicio de sesión configurado", ""),
    "smtp.no_auth": (
        "no ofrece AUTH, y la cuenta tiene un nombre de usuario",
        "use otro puerto (587), o quite el nombre de usuario",
    ),
    "smtp.no_xoauth2": (
        "ofrece {offered}, y la cuenta necesita XOAUTH2",
        'use auth = "password", u otro host del proveedor',
    ),
    "smtp.no_password": (
        "ofrece {offered}, y no acepta contraseñas",
        "use XOAUTH2: auth en el archivo de cuentas",
    ),
    "smtp.auth": ("acepta inicios de sesión con {offered}", ""),
    "smtp.login": ("acepta el inicio de sesión", ""),
    "smtp.no_secret": ("no hay credenciales: {fault}", "corrija {setting}"),
    "smtp.login_refused": (
        "rechaza el inicio de sesión: {reply}",
        "corrija {setting}; después ./run ops mail resume ACCOUNT",
    ),
    "smtp.basic_off": (
        "ya no acepta contraseñas: {reply}",
        'use XOAUTH2: auth = "microsoft", tenant y client_id en el archivo de cuentas (docs/es/mail.md)',
    ),
    "smtp.client_off": (
        "SMTP está desactivado para este buzón o su organización: {reply}",
        (
            "Set-CASMailbox MAILBOX -SmtpClientAuthenticationDisabled $false; si no se admiten contraseñas, use "
            "XOAUTH2"
        ),
    ),
    "smtp.app_password": (
        "exige una contraseña de aplicación, no la del usuario: {reply}",
        'ponga una contraseña de aplicación en password_file, o use XOAUTH2: auth = "google"',
    ),
    "smtp.login_later": (
        "ahora no se puede comprobar el inicio de sesión: {reply}",
        "repita esto en unos minutos",
    ),
    "smtp.small": (
        "acepta correos de {size} bytes como máximo",
        "los mayores quedarán muertos; envíe enlaces en lugar de adjuntos",
    ),
    "smtp.size": ("acepta correos grandes ({size})", ""),
    "dns.unanswered": (
        "ningún servidor de nombres respondió: {question}",
        "repita esto, o hágalo en una máquina que alcance el DNS",
    ),
    "spf.right": ("SPF es correcto ({lookups} de 10 consultas)", ""),
    "spf.none": ("no tiene registro SPF", "publique TXT: v=spf1 include:YOUR.PROVIDER ~all"),
    "spf.many": (
        "tiene {count} registros SPF; los receptores los ignoran todos si hay varios",
        "únalos en uno",
    ),
    "spf.lookups": ("SPF necesita {count} consultas; se permiten 10 como máximo", "quite los include sin uso"),
    "spf.provider": ("SPF no permite al proveedor: falta include:{include}", "añada include:{include}"),
    "spf.everybody": ("SPF permite a cualquier remitente (+all)", "termínelo con ~all o -all"),
    "spf.open": ("SPF no excluye a otros remitentes", "termínelo con ~all o -all"),
    "dkim.right": ("la clave DKIM {selector} está publicada", ""),
    "dkim.missing": (
        "la clave DKIM {selector} no está publicada",
        "publique TXT {selector}._domainkey: {record}",
    ),
    "dkim.other": (
        "la clave DKIM publicada como {selector} no es la que firma: todas las firmas fallan",
        "publique TXT {selector}._domainkey: {record}",
    ),
    "dkim.unseen": (
        "no se encontró ninguna clave DKIM bajo los selectores habituales del proveedor",
        "active DKIM en el proveedor; si lo está, nombre el selector: --selector NAME",
    ),
    "dmarc.right": ("la política DMARC es {policy}", ""),
    "dmarc.watching": (
        "la política DMARC es none: los correos falsificados solo se notifican",
        "defina p=quarantine cuando los informes estén limpios",
    ),
    "dmarc.none": ("no tiene registro DMARC", "publique TXT _dmarc: v=DMARC1; p=none; rua=mailto:YOU"),
    "dmarc.many": ("tiene varios registros DMARC; los receptores los ignoran todos", "deje uno"),
    "dmarc.unreadable": (
        "su registro DMARC no tiene una política conocida",
        "publique v=DMARC1; p=none, quarantine o reject",
    ),
    "domain.no_mx": (
        "no acepta correo: se pierden rebotes y respuestas",
        "publique MX, o use un remitente de un dominio que lo tenga",
    ),
    "ptr.right": ("{address} es {name} en ambos sentidos", ""),
    "ptr.none": ("{address} no tiene nombre (PTR)", "pida al operador de la red que defina uno"),
    "ptr.unconfirmed": ("{address} tiene el nombre {name}, que no lleva de vuelta a ella", "haga que coincidan"),
    "ptr.no_address": ("su nombre no tiene dirección", "corrija el nombre, o el DNS"),
}
