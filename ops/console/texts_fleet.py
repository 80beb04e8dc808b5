"""Texts of the console's pages about limits and reports, in Spanish and English."""

from ops.language import Language

WORDS: dict[Language, dict[str, str]] = {
    "es": {
        "limits_page": "Límites",
        "limits_how": "Cada grupo de carriles tiene los suyos. Un límite de una familia, como customer:*, vale "
        "para cada miembro por separado. Un worker vuelve a definir los suyos al arrancar.",
        "no_limits": "No hay ningún límite definido.",
        "group": "Grupo",
        "at_most": "Como máximo",
        "at_once": "A la vez",
        "reserve": "Reserva urgente",
        "running": "En curso",
        "held_back": "Lo esperan",
        "now": "Ahora",
        "needed_by": "Lo necesitan",
        "look_up": "Consultar un límite o un miembro de una familia",
        "set_limit_how": "Sustituye al que tenga la misma clave, y queda sin lo que se deje vacío.",
        "rates": "Ritmos",
        "windows": "Ventanas",
        "reserve_share": "Reserva (0 a 1)",
        "do_set-limit": "Definir un límite",
        "do_remove-limit": "Quitar el límite",
        "reports_how": "El coste es la mediana y el p95 de las últimas consultas. El próximo cálculo lo dice "
        "./run ops reports status.",
        "as_of": "Cifras de (UTC)",
        "generation": "Generación",
        "cost": "Coste p50 / p95",
        "computed": "Se calculó",
        "waits_for_tables": "espera a las tablas",
        "mismatched": "la auditoría halló diferencias el",
    },
    "en": {
        "limits_page": "Limits",
        "limits_how": "Each lane group has its own. A limit of a family, such as customer:*, applies to each "
        "member on its own. A worker defines its limits again when it starts.",
        "no_limits": "No limit is defined.",
        "group": "Group",
        "at_most": "At most",
        "at_once": "At once",
        "reserve": "Urgent reserve",
        "running": "Running",
        "held_back": "Wait for it",
        "now": "Now",
        "needed_by": "Needed by",
        "look_up": "Look up a limit, or a member of a family",
        "set_limit_how": "It replaces the one with the same key; what is left empty has no bound.",
        "rates": "Rates",
        "windows": "Windows",
        "reserve_share": "Reserve (0 to 1)",
        "do_set-limit": "Define a limit",
        "do_remove-limit": "Remove the limit",
        "reports_how": "The cost is the median and the p95 of the latest queries. ./run ops reports status says "
        "when the next refresh is due.",
        "as_of": "Figures of (UTC)",
        "generation": "Generation",
        "cost": "Cost p50 / p95",
        "computed": "Computed",
        "waits_for_tables": "waits for the tables",
        "mismatched": "an audit found differences at",
    },
}
