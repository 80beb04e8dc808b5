"""Proofs of boards as lines for operators: which boards the database proves unchanged, and why not the others.

The decision is the worker's own (``reports/catalogue_postgres.py``); this module only writes its text.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from reports.boards import Board
from reports.catalogue_postgres import Catalogue, Proof, read_catalogue
from reports.connection_postgres import connect
from reports.source_postgres import DATABASE_FAULTS

WORDS = {
    "marks": "watched: each change leaves a mark",
    "snapshot": "not watched, but proved unchanged while no transaction of the server ends",
    "none": "not proved: computed at the pace of its `every`",
}
_TIMEOUT = 5
_AS_ROLE = "SELECT set_config('role', $1, true)"


def proof_line(board: str, proof: Proof) -> str:
    """Describe a board's proof and what prevents marks.

    >>> proof_line("shop", Proof("marks"))
    'board shop: watched: each change leaves a mark'
    """
    why = f" ({'; '.join(proof.why)})" if proof.why else ""
    return f"board {board}: {WORDS[proof.kind]}{why}"


def proof_lines(catalogue: Catalogue) -> list[str]:
    """Describe all boards, in the order of their names."""
    lines = [proof_line(name, proof) for name, proof in sorted(catalogue.proofs.items())]
    return [*lines, *gain_lines(catalogue)]


def gain_lines(catalogue: Catalogue) -> list[str]:
    """Name the boards whose refreshes a new install would make cheaper."""
    return [
        f"board {name}: marks of {', '.join(proof.whole)} name no nodes, so each change computes the whole; "
        "./run ops reports install makes them name nodes"
        for name, proof in sorted(catalogue.proofs.items())
        if proof.whole
    ]


def proof_facts(catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """Return the kind and the reasons of each board, and the tables whose marks could name nodes, for scripts."""
    return {
        name: {"proof": proof.kind, "why": list(proof.why), "whole": list(proof.whole)}
        for name, proof in catalogue.proofs.items()
    }


async def fetch_catalogue(
    dsn: str, tenant: str, boards: Mapping[str, Board], *, role: str = ""
) -> Catalogue | None:
    """Read the catalogue on a new connection.

    Args:
        role: the role with the rights and row-level security to use; the connection's own if empty or not allowed.

    Returns:
        None if the database does not answer.
    """
    try:
        connection = await connect(dsn, application="momentus-ops", command_timeout=_TIMEOUT)
        try:
            async with connection.transaction(readonly=True):
                await _take(connection, role)
                return await read_catalogue(connection.fetch, tenant, boards)
        finally:
            await connection.close()
    except (*DATABASE_FAULTS, ValueError):
        return None


async def _take(connection: Any, role: str) -> None:  # noqa: ANN401  the driver's
    if not role:
        return
    try:
        async with connection.transaction():
            await connection.execute(_AS_ROLE, role)
    except asyncpg.PostgresError:
        pass  # not a member of the role, so only this user's own rights can be checked
