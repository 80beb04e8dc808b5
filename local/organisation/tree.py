"""Tree of a company: one root, a few crowded branches, many small ones, down to the requested depth.

New nodes prefer parents that already have children, which gives the skew of real companies. One chain is made
first so that the greatest depth is reached exactly whenever there are enough nodes. Names are Spanish, repeat
as in real companies, and follow the level: a directorate near the root, a cell at the leaves.
"""

from collections.abc import Iterator
from random import Random

from local.organisation.tables import Row

ROOT_NAME = "Grupo Meridiano"

LEVELS = (
    ("Presidencia", "root"),
    ("Vicepresidencia", "directorate"),
    ("Dirección", "directorate"),
    ("Subdirección", "directorate"),
    ("Gerencia", "management"),
    ("Subgerencia", "management"),
    ("Jefatura", "management"),
    ("Departamento", "department"),
    ("Área", "department"),
    ("Sección", "section"),
    ("Unidad", "section"),
    ("Núcleo", "section"),
    ("Grupo", "team"),
    ("Equipo", "team"),
    ("Célula", "team"),
)
SUBJECTS = (
    "Administración",
    "Almacenes",
    "Atención al Cliente",
    "Auditoría",
    "Calidad",
    "Cobranza",
    "Compras",
    "Comunicación",
    "Contabilidad",
    "Desarrollo",
    "Diseño",
    "Finanzas",
    "Ingeniería",
    "Innovación",
    "Legal",
    "Logística",
    "Mantenimiento",
    "Mercadeo",
    "Nómina",
    "Operaciones",
    "Personas",
    "Planeación",
    "Producción",
    "Proyectos",
    "Seguridad",
    "Sistemas",
    "Tesorería",
    "Ventas",
)
PLACES = ("Norte", "Sur", "Centro", "Oriente", "Occidente", "Costa", "Nacional", "Exterior")
PLACED_SHARE = 0.6
"""Share of nodes with their place in the name; without it most names would repeat."""


def grow_tree(random: Random, *, nodes: int, depth: int) -> list[Row]:
    """Return rows of `nodes`: ids 1 to `nodes`, the root is 1, every parent has a smaller id than its children.

    `depth` counts the levels below the root. It is never passed, and reached exactly when `nodes > depth`.
    """
    rows: list[Row] = [(1, None, ROOT_NAME, "root")]
    for node_id, (parent_id, level) in enumerate(_placements(random, nodes=nodes, depth=depth), start=2):
        title, kind = _level_words(level, depth)
        rows.append((node_id, parent_id, f"{title} de {_subject(random)}", kind))
    return rows


def _placements(random: Random, *, nodes: int, depth: int) -> Iterator[tuple[int, int]]:
    """Yield the parent and the level of node 2, 3, ... in order of id."""
    chain = depth if nodes > depth else 0
    level_of = {1: 0}
    candidates = [1]
    for node_id in range(2, nodes + 1):
        parent_id = node_id - 1 if node_id <= chain + 1 else random.choice(candidates)
        level = level_of[node_id] = level_of[parent_id] + 1
        candidates.append(parent_id)  # one more entry for each child: crowded nodes get more children
        if level < depth:
            candidates.append(node_id)
        yield parent_id, level


def _level_words(level: int, depth: int) -> tuple[str, str]:
    """Return title and kind for a level, stretched so that a flat company has teams at its leaves too."""
    return LEVELS[max(1, round(level * (len(LEVELS) - 1) / depth))]


def _subject(random: Random) -> str:
    subject = random.choice(SUBJECTS)
    return f"{subject} {random.choice(PLACES)}" if random.random() < PLACED_SHARE else subject
