"""Names of the functions that report queries may call."""

import re

_CALL = re.compile(r'([^\W\d][\w$]*)"?\s*\(')
_SILENT = re.compile(r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'", re.DOTALL)


def names_of_calls(sql: str) -> list[str]:
    """Return the names before a parenthesis, in lower case; some are not functions.

    >>> names_of_calls('SELECT count(*), shop."Total" (1) FROM t -- f(x)')
    ['count', 'total']
    """
    return sorted({match[1].lower() for match in _CALL.finditer(_SILENT.sub(" ", sql))})
