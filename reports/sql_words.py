"""Values and types in SQL's words, for errors about a query, whose author need not know Python's."""

import math
from decimal import Decimal
from typing import Any

_TYPES = {
    "Decimal": "numeric",
    "float": "float8",
    "int": "integer",
    "bool": "boolean",
    "str": "text",
    "bytes": "bytea",
    "datetime": "timestamp",
    "timedelta": "interval",
    "list": "an array",
    "dict": "json",
    "Record": "a row",
    "BitString": "bit",
    "NoneType": "null",
}
_LONGEST = 80


def type_in_sql(value: Any) -> str:  # noqa: ANN401  the database's
    """Return the SQL type of a value that the driver returned.

    >>> type_in_sql(Decimal(1)), type_in_sql(None)
    ('numeric', 'null')
    """
    name = type(value).__name__
    return _TYPES.get(name, name.lower())


def value_in_sql(value: Any) -> str:  # noqa: ANN401  the database's
    """Return a value as SQL writes it, cut after 80 characters.

    >>> value_in_sql(Decimal("NaN")), value_in_sql(float("inf")), value_in_sql("a'b"), value_in_sql(True)
    ('NaN', 'Infinity', "'a''b'", 'true')
    """
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, str):
        quoted = ascii(value)[1:-1].replace("\\'", "'").replace("'", "''")
        text = f"'{quoted}'"
    elif isinstance(value, float) and not math.isfinite(value):
        text = str(Decimal(value))
    else:
        text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
