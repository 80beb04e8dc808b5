"""A finding: how bad, what, where. Its words are in `ops.doctor.texts`; the judges are free of language."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["wrong", "warning", "fine"]
SEVERITIES: tuple[Severity, ...] = ("wrong", "warning", "fine")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """One thing that was looked at.

    Attributes:
        severity: ``wrong`` loses or stops something now or under load; ``warning`` will, or might.
        code: names its words, and never changes.
        where: which server, account or domain.
        values: for the holes in its words.
    """

    severity: Severity
    code: str
    where: str
    values: Mapping[str, object] = field(default_factory=dict)


def wrong(code: str, where: str, **values: object) -> DoctorFinding:
    """Something that must be mended."""
    return DoctorFinding(severity="wrong", code=code, where=where, values=values)


def warning(code: str, where: str, **values: object) -> DoctorFinding:
    """Something to look at."""
    return DoctorFinding(severity="warning", code=code, where=where, values=values)


def fine(code: str, where: str, **values: object) -> DoctorFinding:
    """Something that is as it should be."""
    return DoctorFinding(severity="fine", code=code, where=where, values=values)
