"""OpenAPI 3.1 description of the reader, made from the reports that the workers declare.

A report's entry in the catalogue may contain the JSON Schema of its `data`; without one the description says that
it is an object. A malformed entry is left out and logged once: one bad entry must not remove the
description of all others.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import orjson

from reader import problem
from reader.encoding import STORED
from reader.memo import memo
from sessions.node_ids import CHARACTERS

_HEADERS = {
    "ETag": "Identity of the data; a refresh that changed nothing keeps it.",
    "Age": "Seconds since the data was last known to be true.",
    "As-Of": "Instant of the database's clock until which the data is known to be true.",
    "Freshness": "`fresh`, or `stale`: past the report's soft limit, or from the copy while Redis is unreachable.",
    "Report-Gen": "Number of the stored set; it never goes back.",
    "Cache-Status": "As in RFC 9211.",
}
_BOUNDS = (
    "`max-age`, `min-fresh`, `max-stale` and `only-if-cached` limit the age of the response (RFC 9111, 5.2.1)."
)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)

_REFUSED = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

log = logging.getLogger(__name__)


class InvalidEntry(ValueError):
    """The declaration under a name is not a report; the message says why."""


def describe_api(catalogue: Mapping[str, bytes], *, guarded: bool) -> dict[str, Any]:
    """Return the OpenAPI document.

    Args:
        catalogue: entries by report name; JSON with `title` and optionally `schema`.
        guarded: True if reports need a session.
    """
    entries = declared_reports(catalogue)
    paths = {"/v1/reports": _list_of_reports(guarded)}
    for name, entry in entries.items():
        one, several = _scope_parameters(entry)
        paths[f"/v1/reports/{name}"] = _list_of_documents(name, guarded, [several])
        paths[f"/v1/reports/{name}/{{scope}}"] = _path(name, entry, guarded, one)
        paths[f"/v1/reports/{name}/{{scope}}/children"] = _list_of_documents(
            name, guarded, [one, _DAYS], "_children"
        )
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "cookie": {"type": "apiKey", "in": "cookie", "name": "__Host-momentus"},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Momentus reports", "version": "1"},
        "paths": paths | {"/v1/events": _events(guarded)} | _pages(guarded),
        "components": {
            "schemas": {"Problem": _PROBLEM} | {name: _schema(entry) for name, entry in entries.items()},
            "securitySchemes": schemes if guarded else {},
        },
    }


def declared_reports(catalogue: Mapping[str, bytes]) -> dict[str, Mapping[str, Any]]:
    """Return the entries of a catalogue by name; one that is not in the format is left out, and logged once."""
    read = {name: _entry_or_none((name, content)) for name, content in sorted(catalogue.items())}
    return {name: entry for name, entry in read.items() if entry is not None}


@memo(4 << 20, lambda entry: len(entry[0]) + len(entry[1]))
def _entry_or_none(entry: tuple[str, bytes]) -> Mapping[str, Any] | None:
    """Return a report's entry, or None if it is not valid; each entry is checked and logged once."""
    name, content = entry
    try:
        return read_entry(name, content)
    except InvalidEntry as fault:
        log.warning("catalogue: the entry %r is left out of /openapi.json: %s", name, fault)
        return None


def read_entry(name: str, content: bytes) -> Mapping[str, Any]:
    """Return a report's declaration.

    Raises:
        InvalidEntry: it is not in the format, or cannot be written as JSON again.
    """
    if not _NAME.fullmatch(name):
        raise InvalidEntry(f"name: not the name of a report; allowed: {_NAME.pattern}")
    try:
        entry = orjson.loads(content)
    except ValueError as error:
        raise InvalidEntry(f"entry: not JSON ({error})") from error
    if not isinstance(entry, dict):
        raise InvalidEntry("entry: not a JSON object")
    if not isinstance(entry.get("schema", {}), dict | bool):
        raise InvalidEntry("schema: not a JSON Schema; give an object or a boolean")
    try:
        orjson.dumps({"components": {"schemas": {name: _schema(entry)}}})  # as deep as in the whole document
    except TypeError as error:
        raise InvalidEntry(f"schema: cannot be written as JSON ({error})") from error
    return entry


def _path(name: str, entry: Mapping[str, Any], guarded: bool, scope: Any) -> dict[str, Any]:  # noqa: ANN401, FBT001  JSON; a fact, not a switch
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": str(entry.get("title", name)),
        "parameters": [scope, *_PARAMETERS],
        "responses": _responses(name),
    }
    if guarded:
        operation["security"] = _EITHER
    return {"get": operation, "head": operation | {"operationId": f"{name}_head"}}


def _responses(name: str) -> dict[str, Any]:
    headers = {header: {"description": text, "schema": {"type": "string"}} for header, text in _HEADERS.items()}
    document = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    answers: dict[str, Any] = {
        "200": {"description": "The document.", "headers": headers, "content": document},
        "304": {"description": "Your copy is current.", "headers": headers},
    }
    for status, title in problem.statuses().items():
        answers[str(status)] = {"description": title, "content": _REFUSED}
    return answers


def _list_of_documents(name: str, guarded: bool, parameters: list[Any], suffix: str = "_list") -> dict[str, Any]:  # noqa: FBT001  a fact, not a switch
    """Return the description of several documents in one response."""
    answers = _responses(name)
    ids = {"type": "array", "items": {"type": "string"}}
    documents = {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
    parts = {"report": {"type": "string"}, "documents": documents, "absent": ids, "left_out": ids}
    schema: dict[str, Any] = {"type": "object", "required": list(parts), "properties": parts}
    if _DAYS in parameters:
        above = {"type": "array", "items": {"type": "object", "required": ["id", "name", "kind"]}}
        days = {"type": "object", "additionalProperties": documents["items"]}
        schema["properties"] = parts | {"path": above, "days": days}
    answers["200"] |= {"description": "The documents.", "content": {"application/json": {"schema": schema}}}
    stated = [one for one in _PARAMETERS if one["name"] in _OF_LISTS]
    operation: dict[str, Any] = {
        "operationId": f"{name}{suffix}",
        "summary": "Several documents of one stored set.",
        "parameters": [*parameters, *stated],
        "responses": answers,
    }
    if guarded:
        operation["security"] = _EITHER
    return {"get": operation, "head": operation | {"operationId": f"{name}{suffix}_head"}}


def _list_of_reports(guarded: bool) -> dict[str, Any]:  # noqa: FBT001  a fact, not a switch
    """Return the description of the list of reports."""
    entry = {"type": "object", "required": ["name", "title"]}
    roots = {"type": "array", "items": {"type": "string"}}
    schema = {
        "type": "object",
        "required": ["reports", "roots"],
        "properties": {"reports": {"type": "array", "items": entry}, "roots": roots},
    }
    described = _page("The reports, and the nodes at which the client begins.", "application/json", schema, 421)
    if guarded:
        described = _page("As the session may read them.", "application/json", schema, 401, 421)
        described["get"]["security"] = _EITHER
    return described


def _schema(entry: Mapping[str, Any]) -> dict[str, Any]:
    data = entry.get("schema", {"type": "object"})
    return {
        "type": "object",
        "required": ["report", "scope", "as_of", "data"],
        "properties": {
            "report": {"type": "string"},
            "scope": _ids(entry),
            "as_of": {"type": "string", "format": "date-time"},
            "data": data,
        },
    }


def _ids(entry: Mapping[str, Any]) -> Any:  # noqa: ANN401  JSON
    """Return the schema of a report's node ids: that of its documents, or any id."""
    schema = entry.get("schema")
    for part in ("node", "id"):
        properties = schema.get("properties") if isinstance(schema, dict) else None
        schema = properties.get(part) if isinstance(properties, dict) else None
    return schema if isinstance(schema, dict) else {"type": ["integer", "string"]}


def _scope_parameters(entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters for one node and for several."""
    if _ids(entry).get("type") == "integer":
        one: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
        several = f"^{_WHOLE}(,{_WHOLE})*$"
    else:
        one, several = {"type": "string", "pattern": f"^{CHARACTERS}$"}, f"^{CHARACTERS}(,{CHARACTERS})*$"
    return _SCOPE | {"schema": one}, _SCOPES | {"schema": {"type": "string", "pattern": several}}


def _events(guarded: bool) -> dict[str, Any]:  # noqa: FBT001  as above
    """Return the description of the stream of hints."""
    stream = {
        "description": (
            'Server-sent events. `changed`, `data: {"report", "gen"}`: a set was stored; request your document. '
            '`back`, `data: {"report"}`: hints may have been missed; request it too. The stream ends after ten '
            "minutes, or at once if there are too many; while Redis is unreachable it waits."
        ),
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    refusals = {str(status): problem.statuses()[status] for status in (401, 404, 503)}
    operation: dict[str, Any] = {
        "operationId": "events",
        "summary": "Hints that a report has changed.",
        "parameters": [_REPORT],
        "responses": {"200": stream}
        | {status: {"description": title, "content": _REFUSED} for status, title in refusals.items()},
    }
    if guarded:
        operation["security"] = _EITHER
    return {"get": operation}


def _pages(guarded: bool) -> dict[str, Any]:  # noqa: FBT001  as above
    text: dict[str, Any] = {"type": "string"}
    described = _page("This document.", "application/json", {"type": "object"}, 421)
    if guarded:
        described = _page("This document.", "application/json", {"type": "object"}, 401, 421)
        described["get"]["security"] = _EITHER
    return {
        "/healthz": _page("The process runs.", "text/plain", text),
        "/readyz": _page("Redis answers.", "text/plain", text),
        "/metrics": _page("Counters in Prometheus text.", "text/plain", text, 421),
        "/openapi.json": described,
    }


def _page(summary: str, content: str, schema: Mapping[str, Any], *refusals: int) -> dict[str, Any]:
    said: dict[str, Any] = {
        "200": {"description": summary, "content": {content: {"schema": schema}}},
        "503": {"description": problem.REDIS_UNREACHABLE.title, "content": _REFUSED},
    }
    for status in refusals:
        said[str(status)] = {"description": problem.statuses()[status], "content": _REFUSED}
    return {"get": {"summary": summary, "responses": said}}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


_EITHER: list[dict[str, list[str]]] = [{"bearer": []}, {"cookie": []}]
_REPORT = {
    "name": "report",
    "in": "query",
    "required": True,
    "description": "A report's name.",
    "schema": {"type": "string", "pattern": f"^{_NAME.pattern}$"},
}
_SCOPE = {"name": "scope", "in": "path", "required": True, "description": "A node's id."}
_SCOPES = {
    "name": "scopes",
    "in": "query",
    "required": True,
    "description": "Node ids, with commas between them; each once, at most 200.",
}
_WHOLE = "[1-9][0-9]{0,17}"
_DAYS = {
    "name": "days",
    "in": "query",
    "description": "Number of days of which the closed ones are wanted too.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 100},
}
_OF_LISTS = ("Cache-Control", "If-None-Match", "If-Write-Visible")
_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "at",
        "in": "query",
        "description": "An ISO date: the document of that closed day.",
        "schema": {"type": "string", "format": "date"},
    },
    _header("Cache-Control", _BOUNDS),
    _header("If-None-Match", "The ETag of your copy."),
    _header("If-Modified-Since", "The exact `Last-Modified` of your copy; ignored with If-None-Match."),
    _header("If-Write-Visible", "A transaction id (`pg_current_xact_id()`); the document must contain its writes.")
    | {"schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}},
    _header("Accept-Encoding", f"Available are {' and '.join(STORED)}, and the plain document."),
]
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "as_of": {"type": "string"},
        "age": {"type": "integer"},
        "last_error": {"type": "object"},
    },
}
