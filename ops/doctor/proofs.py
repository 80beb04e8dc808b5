"""Findings about boards: which ones the database watches, and why not the others.

Without triggers a board is proved unchanged by the server's snapshot: this is correct, costs more, and is a
choice. Where triggers are installed and do not cover a board, they were removed or disabled, or were made by an
earlier build or for other report files.
"""

from collections.abc import Iterator

from ops.doctor.finding import DoctorFinding, fine, warning, wrong
from reports.catalogue_postgres import Catalogue, Proof

_CODES = {"snapshot": "reports.unwatched", "none": "reports.unproved"}


def judge_proofs(catalogue: Catalogue) -> Iterator[DoctorFinding]:
    """Name the watched boards in one finding, and each other board with its reasons."""
    watched = sorted(catalogue.watched)
    if watched:
        yield fine("reports.watched", "reports", boards=", ".join(watched))
    for name, proof in sorted(catalogue.proofs.items()):
        where = f"board {name}"
        faults = list(_triggers(proof, where)) if catalogue.usable else []
        yield from faults
        if proof.kind in _CODES and len(proof.why) > len(proof.unmarked + proof.former if faults else ()):
            yield warning(_CODES[proof.kind], where, why="; ".join(proof.why))
        if proof.whole:
            yield fine("reports.whole", where, tables=", ".join(proof.whole))


def _triggers(proof: Proof, where: str) -> Iterator[DoctorFinding]:
    """Judge the triggers of a board where some are installed."""
    if proof.unmarked:
        yield wrong("triggers.missing", where, tables=", ".join(proof.unmarked))
    if proof.former:
        yield wrong("triggers.former", where, tables=", ".join(proof.former))
