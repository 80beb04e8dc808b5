"""Which column types each roll-up takes, by their names in Postgres, and what to write for those that it does not.

A timestamp without time zone names no instant, JSON is not one value, and an amount of ``money`` is written by the
server's locale. Documents show none of them; the query says what is meant.
"""

from collections.abc import Mapping

from reports.rollups import top_of

NUMBERS = frozenset({"int2", "int4", "int8", "numeric", "float4", "float8"})
JSON = frozenset({"json", "jsonb"})
SHOWN = NUMBERS | {"text", "varchar", "bpchar", "name", "bool", "uuid", "date", "timestamptz"}
"""Types that are compared and shown as they are."""
REMEDIES: Mapping[str, str] = {
    "timestamp": "it names no instant without zone; write column AT TIME ZONE 'UTC', or the zone it is kept in",
    "time": "cast it to text",
    "timetz": "cast it to text",
    "interval": "take its seconds, extract(epoch FROM column), or cast it to text",
    "money": "its text depends on the server's locale; cast it to numeric",
    "json": "take one value out of it with ->>, or cast it to text",
    "jsonb": "take one value out of it with ->>, or cast it to text",
    "bytea": "write encode(column, 'hex') or encode(column, 'base64')",
}
"""Types that are never shown as they are, each with what to write instead."""


def misfit(column: str, how: str) -> str:
    """What to do about a column that a roll-up cannot take; empty when it can.

    >>> misfit("int8", "sum"), misfit("text", "sum")
    ('', 'count or cast to a number, or use another roll-up')
    """
    if top_of(how):
        return "" if column in JSON else "make it a jsonb array of objects, with jsonb_agg"
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
    """What to do about a column whose values a refresh refuses by their type alone; empty for any other.

    Types of extensions and enums pass: the driver gives their text.
    """
    if how not in {"min", "max", "sql"} and not how.startswith("of "):
        return ""
    return REMEDIES.get(column.removesuffix("[]"), "")
