"""JSON Schema of a report's ``data``: what clients may rely on, and which changes break them.

The schema follows from the roll-ups and from the types of the query's columns. It is pinned in
``NAME.schema.json`` beside the report; readers show it in ``/openapi.json``, and `ops reports check` reports a
change that breaks it: a measure that is gone, or that may now have values it could not have before. Additional
measures break no client.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from reports.definition import Report
from reports.rollups import ratio_of, top_of, weight_of

_INTEGER = {"type": "integer"}
_NUMBER = {"type": "number"}
_TEXT = {"type": "string"}
OF_COLUMN: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("int2", "int4", "int8"), _INTEGER),
    **dict.fromkeys(("numeric", "float4", "float8"), _NUMBER),
    **dict.fromkeys(("text", "varchar", "bpchar", "name"), _TEXT),
    "bool": {"type": "boolean"},
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
    "timestamptz": {"type": "string", "format": "date-time"},
}
"""Schema of a column's values, by the name of its type in Postgres."""
_ANY_ID = {"type": ["integer", "string"]}
"""Schema of ids whose column is not known, as in a report without a pinned schema."""


def document_schema(report: Report, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return the schema of a report's ``data``.

    Args:
        columns: Postgres type of each column of the query; an unknown type is described as any value.
    """
    total = {
        measure: _as_text(schema) if measure in report.as_text else schema
        for measure, schema in ((one, _measure(one, how, columns)) for one, how in report.rollup.items())
    }
    own = {measure: schema for measure, schema in total.items() if report.rollup[measure] != "sql"}
    node = _node(_ids(report, columns), report.tree_rules.languages)
    parts = {"node": node, "total": _object(total), "own": _object(own)}
    return {"type": "object", "required": list(parts), "properties": parts}


def _ids(report: Report, columns: Mapping[str, str]) -> Mapping[str, Any]:
    if report.scope in report.as_text:
        return _TEXT
    return OF_COLUMN.get(columns[report.scope], _TEXT) if report.scope in columns else _ANY_ID


def _node(ids: Mapping[str, Any], languages: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of a document's node."""
    parts: dict[str, Any] = {
        "id": ids,
        "name": _TEXT,
        "kind": {"type": ["string", "null"]},
        "path": {"type": "array", "items": ids},
        "children": {"type": "array", "items": ids},
    }
    if languages:
        parts["names"] = _object(dict.fromkeys(languages, _TEXT))
    return {"type": "object", "required": list(parts), "properties": parts}


def _as_text(schema: Any) -> Any:  # noqa: ANN401  JSON is anything
    """Return a schema with numbers as strings, at any depth."""
    if isinstance(schema, dict):
        return {key: _as_text(one) for key, one in schema.items()}
    if isinstance(schema, list):
        return [_as_text(one) for one in schema]
    return "string" if schema in ("integer", "number") else schema


def breaking_changes(pinned: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each change that breaks a client of the pinned schema: the measure, and the change."""
    told = set()
    for part in ("total", "own"):
        before, after = _measures(pinned, part), _measures(now, part)
        for measure, schema in before.items():
            words = _difference(schema, after.get(measure))
            if words and (measure, words) not in told:
                told.add((measure, words))
                yield measure, words


def _measures(schema: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    found = schema.get("properties", {}).get(part, {}).get("properties", {})
    return found if isinstance(found, dict) else {}


def _difference(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> str:
    if after is None:
        return "is gone"
    old, new = _types(before), _types(after)
    if old and (not new or not new <= old | ({"integer"} if "number" in old else set())):
        return f"was {' or '.join(sorted(old))} and is {' or '.join(sorted(new)) or 'anything'}"
    if before.get("format") != after.get("format"):
        return f"was of format {before.get('format')} and is of {after.get('format')}"
    old_keys = set(before.get("items", {}).get("required", ()))
    if gone := sorted(old_keys - set(after.get("items", {}).get("required", ()))):
        return f"has rows in which {gone[0]!r} is no longer required"
    return ""


def _types(schema: Mapping[str, Any]) -> set[str]:
    found = schema.get("type", [])
    return {found} if isinstance(found, str) else set(found)


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": dict(properties)}


def _measure(measure: str, how: str, columns: Mapping[str, str]) -> dict[str, Any]:  # noqa: PLR0911  one per roll-up
    if top := top_of(how):
        rows = {"type": "object", "required": list(top.keys)}
        return {"type": "array", "maxItems": top.count, "items": rows}
    if ratio_of(how) or weight_of(how):
        return {"type": ["number", "null"]}
    match how:
        case "any":
            return {"type": "boolean"}
        case "distinct":
            return dict(_INTEGER)
        case "sums":
            return {"type": "object", "additionalProperties": dict(_NUMBER)}
        case "sum":
            return dict(OF_COLUMN.get(columns.get(measure, ""), _NUMBER))
        case _:
            return _nullable(columns.get(measure, ""))


def _nullable(column: str) -> dict[str, Any]:
    if column.endswith("[]"):
        return {"type": ["array", "null"], "items": _nullable(column.removesuffix("[]"))}
    schema = OF_COLUMN.get(column)
    return {**schema, "type": [schema["type"], "null"]} if schema else {}
