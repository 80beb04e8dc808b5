"""Findings about boards: which ones the database watches, and why not the others."""

from collections.abc import Iterator

from ops.doctor.finding import DoctorFinding, fine, warning
from reports.catalogue_postgres import Catalogue

_CODES = {"snapshot": "reports.unwatched", "none": "reports.unproved"}


def judge_proofs(catalogue: Catalogue) -> Iterator[DoctorFinding]:
    """Name the watched boards in one finding, and each other board with its reasons."""
    watched = sorted(catalogue.watched)
    if watched:
        yield fine("reports.watched", "reports", boards=", ".join(watched))
    for name, proof in sorted(catalogue.proofs.items()):
        if proof.kind in _CODES:
            yield warning(_CODES[proof.kind], f"board {name}", why="; ".join(proof.why))
        if proof.whole:
            yield fine("reports.whole", f"board {name}", tables=", ".join(proof.whole))
