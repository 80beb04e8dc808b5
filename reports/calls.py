"""Names of the functions that report queries may call."""

import re
from functools import lru_cache

_CALL = re.compile(r'([^\W\d][\w$]*)"?\s*\(')
_SILENT = re.compile(r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'", re.DOTALL)


@lru_cache(maxsize=256)
def names_of_calls(sql: str) -> tuple[str, ...]:
    """Return the names before a parenthesis, in lower case; some are not functions.

    >>> names_of_calls('SELECT count(*), shop."Total" (1) FROM t -- f(x)')
    ('count', 'total')
    """
    return tuple(sorted({match[1].lower() for match in _CALL.finditer(_SILENT.sub(" ", sql))}))
