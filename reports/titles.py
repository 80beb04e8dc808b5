"""Titles of a report and of its measures by language, as pages show them to users.

    -- [titles.es]
    -- report = "Gerencia"
    -- employees = "Empleados"
    -- [titles.en]
    -- report = "Management"
    -- employees = "Employees"

A column of a ``top`` list has the key ``"oldest.opened_at"``. A page takes the user's language, else the report's
``title`` and the measures' own names.
"""

import re
from collections.abc import Collection, Mapping

from reports.front_matter import HeadTable

OF_REPORT = "report"
"""Key of the report's own title, besides those of its measures."""
LONGEST = 120
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Z]{2})?\Z")


def read_titles(table: HeadTable, measures: Collection[str]) -> Mapping[str, Mapping[str, str]]:
    """Return the titles by language, then by measure or ``report``; empty if none are declared.

    Raises:
        ReportError: a language, a key or a text is malformed.
    """
    found = {}
    for language in table.values:
        if not _LANGUAGE.match(language):
            raise table.error_at(language, "must be a language, like es or pt-BR")
        titles = table.table(language)
        titles.only({OF_REPORT, *measures, *(key for key in titles.values if key.partition(".")[0] in measures)})
        found[language] = {key: _text(titles, key) for key in titles.values}
    return found


def _text(titles: HeadTable, key: str) -> str:
    text = titles.text(key).strip()
    if not 0 < len(text) <= LONGEST or not text.isprintable():
        raise titles.error_at(key, f"must be printable text of 1 to {LONGEST} characters on one line")
    return text
