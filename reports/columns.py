"""Column types that each roll-up accepts, by their Postgres names, and what to write instead of the others.

A timestamp without time zone is not an instant, JSON is not a single value, and the text of ``money`` depends on
the server's locale. Documents show none of them; the query must convert them.
"""

from collections.abc import Mapping

from reports.rollups import top_of, weight_of

NUMBERS = frozenset({"int2", "int4", "int8", "numeric", "float4", "float8"})
JSON = frozenset({"json", "jsonb"})
SHOWN = NUMBERS | {"text", "varchar", "bpchar", "name", "bool", "uuid", "date", "timestamptz"}
"""Types that are compared and shown as they are."""
REMEDIES: Mapping[str, str] = {
    "timestamp": "it has no time zone; write column AT TIME ZONE 'UTC', or the zone in which it is stored, "
    "or declare that under [zones]",
    "time": "cast it to text",
    "timetz": "cast it to text",
    "interval": "use its seconds, extract(epoch FROM column), or cast it to text",
    "money": "its text depends on the server's locale; cast it to numeric",
    "json": "extract one value with ->>, or cast it to text",
    "jsonb": "extract one value with ->>, or cast it to text",
    "bytea": "write encode(column, 'hex') or encode(column, 'base64')",
}
"""Types that are never shown as they are, each with what to write instead."""


def misfit(column: str, how: str) -> str:  # noqa: PLR0911  one per roll-up
    """Return what to do about a column that a roll-up cannot use; empty if it can.

    >>> misfit("int8", "sum"), misfit("text", "sum")
    ('', 'count or cast to a number, or use another roll-up')
    """
    if top_of(how):
        return "" if column in JSON else "make it a jsonb array of objects, with jsonb_agg"
    if weight_of(how):
        return "" if column in NUMBERS else "return the average of the node's own rows, as avg makes it"
    match how:
        case "sum":
            return "" if column in NUMBERS else "count or cast to a number, or use another roll-up"
        case "any":
            return "" if column == "bool" else "write a condition, as in bool_or(late)"
        case "distinct":
            return "" if column.endswith("[]") else "return the ids themselves: array_agg(DISTINCT id)"
        case "sums":
            return "" if column in JSON else "make it a json object of numbers, with json_object_agg"
    plain = column.removesuffix("[]") if how == "sql" else column
    return "" if plain in SHOWN else REMEDIES.get(plain, "cast it to text or a number")


def never_shown(column: str, how: str) -> str:
    """Return what to do about a column whose type alone makes a refresh fail; empty for any other type.

    Enums and types of extensions are allowed: the driver returns their text.
    """
    if how not in {"min", "max", "sql"} and not how.startswith("of "):
        return ""
    return REMEDIES.get(column.removesuffix("[]"), "")
