"""The findings for which `depth` ends with exit code 1, as lines of its table and as facts for scripts."""

from collections.abc import Sequence
from typing import Any

from ops.doctor.finding import DoctorFinding
from ops.doctor.texts import MARKS, cause_text
from ops.language import Language
from ops.table import printable

_NOTED = {"jobs.unaccounted", "redis.data_lost", "report.fails", "report.refused", "report.unreadable"}
"""Findings for which the table has a longer line of its own."""


def verdict_lines(findings: Sequence[DoctorFinding], language: Language = "en") -> list[str]:
    """Return a line for each finding; `doctor` has the remedies."""
    mark = MARKS[language]["wrong"]
    told = [one for one in findings if one.code not in _NOTED]
    return [f"{mark}  {printable(one.where)}: {printable(cause_text(one, language))}" for one in told]


def verdict_facts(findings: Sequence[DoctorFinding]) -> list[dict[str, Any]]:
    """Return the findings for scripts, in English everywhere."""
    return [{"code": one.code, "where": one.where, "cause": cause_text(one)} for one in findings]
