"""List of the reports that a client may read, and of the nodes at which the client's view begins.

    GET /v1/reports    {"reports": [{"name", "title", ...}], "roots": ["17"]}

An entry has what the workers declare about a report (`docs/wire.md`): titles, the roll-up of each measure, the
number of days for which closed ones are kept, and the JSON Schema of its data. The roots are those of the session;
a reader without sessions names the tops of the trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from reader import problem
from reader.access import in_order, token_of
from reader.guard import Guard
from reader.live_session import find_session
from reader.message import Request, Response
from reader.openapi import declared_reports
from reader.store import StoredReports


class ReportListResponder:
    """Responder for the list of reports.

    Args:
        guard: reads sessions; None lets any client read any report.
    """

    def __init__(self, store: StoredReports, guard: Guard | None) -> None:
        self._store = store
        self._guard = guard

    async def response(self, request: Request) -> Response:
        """Return the list, or 401 without a session. Raises the errors of store and sessions."""
        if self._guard is None:
            entries = declared_reports(await self._store.read_catalogue())
            return _respond(entries, await self._store.read_roots(list(entries)))
        session = await find_session(self._guard, request)
        if session is None:
            return problem.refuse_token(token_given=token_of(request) is not None)
        catalogue = await self._store.read_catalogue() if session.roots else {}
        return _respond(declared_reports(catalogue), in_order(session.roots))


def _respond(entries: Mapping[str, Mapping[str, Any]], roots: list[str]) -> Response:
    reports = [{"name": name, **_shown(name, entry)} for name, entry in entries.items()]
    headers = (
        ("content-type", "application/json"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    )
    body = orjson.dumps({"reports": reports, "roots": roots})
    return Response(200, "report_list", headers, body)


def _shown(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a declaration that is for clients."""
    shown = {part: entry[part] for part in ("titles", "measures", "closed_days", "schema") if part in entry}
    return {"title": str(entry.get("title", name)), **shown}
