"""Spanish texts of the findings about the queue, its workers and its reports; `texts_es` has the rest."""

from collections.abc import Mapping

SPANISH_QUEUE: Mapping[str, tuple[str, str]] = {
    "jobs.conserved": ("todos los trabajos aceptados cuadran", ""),
    "jobs.unaccounted": ("hay trabajos que no cuadran: {lanes}", "vea docs/es/operations.md, NO CUADRA"),
    "workers.none": ("no hay ningún worker vivo", "arranque uno: ./run worker"),
    "workers.alive": ("{count} vivos", ""),
    "worker.silent": (
        "no informa desde hace {seconds} s",
        "revise su registro; otros workers toman sus trabajos cuando vencen sus arriendos",
    ),
    "worker.quiet": (
        "un operador lo puso en pausa: no toma trabajos nuevos",
        "cuando ya no haga falta, haga que vuelva a tomar: ./run ops workers resume {worker}",
    ),
    "worker.faults": (
        "fallaron tareas de fondo por un error del programa y se reiniciaron: {tasks}",
        "busque task.failed en su registro e informe del lugar que nombra",
    ),
    "worker.left_behind": (
        "siguen en marcha manejadores a los que se pidió parar: {lanes}",
        "reinícielo; su registro nombra los trabajos (job.unstoppable): ponga límites de tiempo a sus llamadas",
    ),
    "worker.no_database": (
        "no llega a Postgres, así que no calcula ningún informe: {error}, desde hace {time}",
        "{remedy}",
    ),
    "worker.reports_ended": (
        "su proceso de informes terminó solo y se arranca de nuevo: {error}",
        "lea el registro del worker antes de reports.ended; mire la memoria de la máquina",
    ),
    "worker.ledger_stands": (
        (
            "su {part} no funciona: {error}, desde hace {time}; los trabajos anotados y los finales esperan, no "
            "se pierde ninguno"
        ),
        "{remedy}; ./run ops db check",
    ),
    "worker.no_right": (
        "a su usuario de Redis le falta un permiso, {error}, así que no toma trabajos, desde hace {time}",
        "concédalo: ./run ops acl escribe los usuarios con los permisos que necesitan",
    ),
    "lane.no_worker": (
        "{ready} trabajos están listos y ningún worker vivo atiende el carril",
        (
            "arranque uno con puestos para él y MOMENTUS_MAIL__HOST (correo), MOMENTUS_POSTGRES_DSN (informes) o "
            "MOMENTUS_WORKER__JOBS (tipos propios)"
        ),
    ),
    "lane.quiet": (
        "{ready} trabajos están listos, y los workers del carril están en pausa o parando: ninguno toma trabajos",
        "haga que uno vuelva a tomar: ./run ops workers resume; o inicie otro",
    ),
    "lane.unserved": (
        "{waiting} trabajos esperan su hora y ningún worker vivo atiende el carril",
        "arranque uno antes de que venzan: ./run worker, con puestos para el carril",
    ),
    "lane.not_claiming": (
        (
            "{ready} trabajos están listos, el más antiguo desde hace {oldest}; hay puestos libres y ningún "
            "worker toma ninguno"
        ),
        "lea el registro de los workers (redis.away, lane.broken); pare el worker: otro toma sus trabajos en 10 s",
    ),
    "lane.stuck": (
        "no termina nada desde hace {idle}; {leased} trabajos corren y {waiting} esperan",
        (
            "compruebe si el servidor de correo o la base de datos responde; dé un límite de tiempo a los "
            "manejadores, o añada puestos"
        ),
    ),
    "lane.growing": (
        (
            "{ready} trabajos están listos, el más antiguo desde hace {oldest}, y llegan {growth} más por minuto "
            "de los que salen"
        ),
        "añada workers o puestos (MOMENTUS_WORKER__*_SLOTS), si no es que pronto dejarán de llegar",
    ),
    "lane.over_limit": (
        (
            "{ready} trabajos están listos, el más antiguo desde hace {oldest}; llegan {growth} más por minuto "
            "de los que permite el límite {limit}"
        ),
        "suba el límite si su proveedor permite más (./run ops limit set), o encole menos",
    ),
    "lane.late": (
        "{ready} trabajos están listos, el más antiguo desde hace {oldest}",
        "vea ./run ops depth: si crece, añada workers o puestos (MOMENTUS_WORKER__*_SLOTS)",
    ),
    "lane.retrying": (
        "{retrying} trabajos han fallado antes y esperan su próximo intento",
        "vea en ./run ops jobs --state retrying --by-error por qué y hasta cuándo",
    ),
    "lane.parked": (
        "{parked} trabajos están aparcados: esperan un worker que los conozca, o una decisión",
        "vea ./run ops parked LANE",
    ),
    "ledger.unrecorded": (
        "{unrecorded} trabajos han terminado y falta registrarlos en el libro, el más antiguo desde hace {oldest}",
        "arranque un worker con MOMENTUS_POSTGRES_DSN; si hay uno, su registro dice por qué espera (ledger.away)",
    ),
    "ledger.handed_over": (
        "los trabajos anotados se entregan a Redis; {pending} esperan, ninguno desde hace mucho",
        "",
    ),
    "ledger.pending": (
        "{pending} trabajos anotados esperan su entrega a Redis, el más antiguo desde hace {oldest}",
        "arranque un worker con MOMENTUS_POSTGRES_DSN y MOMENTUS_LEDGER__RELAY=on; vea docs/es/ledger.md",
    ),
    "ledger.unusable": ("esta versión no puede usarlo: {fault}", "vea ./run ops db check"),
    "ledger.no_days": (
        "no tiene partición para los días que vienen, la última es {day}: las filas van a las particiones DEFAULT",
        "arranque un worker con MOMENTUS_POSTGRES_DSN, que las crea cada hora; o ./run ops db install",
    ),
    "ledger.quarantined": (
        "{rows} filas desde ayer no han podido ser trabajos",
        "vea los motivos en ./run ops ledger list; anote esos trabajos de nuevo, corregidos",
    ),
    "account.closed": (
        "está cerrada desde hace {time}: {reason}",
        (
            "vea docs/es/operations.md, Una cuenta de correo está cerrada; cuando esté corregida: ./run ops mail "
            "resume {account}"
        ),
    ),
    "account.paused": (
        "la pausó un operador: {reason}",
        "./run ops mail resume NAME, cuando desaparezca el motivo",
    ),
    "account.slowed": (
        "envía más despacio de lo que podría ({rate}), porque su proveedor pidió menos",
        "se acelera sola; si sigue así, ponga en su límite lo que admite el proveedor (docs/es/mail.md)",
    ),
    "promise.overdrawn": (
        "{broken} minutos de 30 días la incumplieron (máximo {limit}, el {target} del tiempo): no queda margen",
        "vea en ./run ops depth qué retrasa trabajos o informes; o prometa menos (MOMENTUS_WORKER__PROMISES)",
    ),
    "promise.burns": (
        "se incumple a menudo (máximo {limit}, el {target} del tiempo): ritmo {burn}, queda el {left} del margen",
        "vea en ./run ops depth qué retrasa trabajos o informes (docs/es/promises.md)",
    ),
    "limit.unreadable": (
        "no se puede leer, así que ningún trabajo empieza con él: otra aplicación escribió en él",
        "defínalo de nuevo: ./run ops limit set; o reinicie un worker que lo defina",
    ),
    "lane.held": ("está retenido: {reason}", "./run ops release LANE, cuando desaparezca el motivo"),
    "lane.dead": ("{dead} trabajos muertos esperan una decisión", "vea ./run ops dead LANE"),
    "reports.right": ("los {count} informes declarados están calculados", ""),
    "reports.none": (
        (
            "no hay ninguno declarado: aún no ha corrido un worker con MOMENTUS_POSTGRES_DSN, o no tiene archivos "
            "de informe"
        ),
        "arranque uno: ./run worker. Si los informes incluidos están desactivados, defina MOMENTUS_REPORTS__PATH",
    ),
    "report.fails": ("falló su último recálculo: {error}", "{remedy}"),
    "report.never": (
        "nunca se ha calculado",
        "¿está en marcha un worker con MOMENTUS_POSTGRES_DSN? ./run ops depth",
    ),
    "report.waits": (
        "espera sus tablas, y no existe ninguna: {tables}",
        (
            "que la aplicación las cree, o nombre la base correcta en MOMENTUS_POSTGRES_DSN; los incluidos: "
            "MOMENTUS_REPORTS__SHIPPED=off"
        ),
    ),
    "report.stale": (
        "está atrasado: tiene {age}, y su límite blando es {soft}",
        "vea ./run ops reports status para su próximo recálculo, y ./run ops depth para el carril reports",
    ),
    "report.distrusted": (
        "su consulta por nodos dio algo distinto que la completa, {at} UTC; durante un día se calcula entero",
        "vea ./run ops reports check, y si algo escribe en sus tablas sin disparadores",
    ),
    "report.mismatch": (
        "una auditoría encontró medidas distintas de las recalculadas, {at} UTC (nodo, medida): {measures}",
        "busque sentencias que cambian sus tablas sin disparador; ./run ops reports check compara el resto",
    ),
    "report.refused": (
        "ha pasado su límite máximo, y los lectores reciben 503",
        "vea ./run ops reports status",
    ),
    "report.unreadable": (
        "su forma guardada no se puede leer: worker y ops tienen versiones distintas",
        "use la misma versión en ambos",
    ),
    "triggers.missing": (
        "hay disparadores, y ninguno marca los cambios de {tables}: cada escritura cuenta como cambio",
        "./run ops reports install",
    ),
    "triggers.former": (
        "los disparadores de {tables} están desactivados o son anteriores: cada escritura cuenta como cambio",
        "./run ops reports install los sustituye",
    ),
    "marks.taken_up": ("{marks} marcas de cambios esperan, ninguna desde hace mucho", ""),
    "marks.pile_up": (
        "{marks} marcas de cambios esperan, la más antigua desde hace {age}: ningún recálculo las recoge",
        "vea ./run ops reports status para sus errores y su presupuesto, y ./run ops depth para su carril",
    ),
    "marks.unclaimed": (
        "{marks} marcas esperan, la más antigua desde hace {age}, y ningún archivo de informe tiene este tablero",
        "arranque los workers que lo tienen, o quite sus disparadores: ./run ops reports install",
    ),
    "source.empty": (
        "no tiene filas; los informes que la leen muestran ceros: {reports}",
        "si debería tener alguna, compruebe que MOMENTUS_POSTGRES_DSN nombra la base correcta",
    ),
    "reports.watched": ("cada cambio deja una marca: {boards}", ""),
    "reports.whole": (
        "se calcula entero tras cada cambio, porque las marcas de {tables} no nombran nodos",
        "con ./run ops reports install los nombran",
    ),
    "reports.unwatched": (
        "no se vigila, así que cada escritura en el servidor cuenta como un cambio: {why}",
        "vea docs/es/reports.md, Lo que no se puede vigilar",
    ),
    "reports.unproved": (
        "nada prueba que no haya cambiado, así que se calcula al ritmo de `every`: {why}",
        "vea docs/es/reports.md, Lo que no se puede vigilar",
    ),
}
