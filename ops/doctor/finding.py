"""Findings of the doctor: severity, code and place.

`ops.doctor.texts` has their texts; the checks are free of language.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["wrong", "warning", "fine"]
SEVERITIES: tuple[Severity, ...] = ("wrong", "warning", "fine")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """Result of one check.

    Attributes:
        severity: ``wrong`` loses or stops something now or under load; ``warning`` will, or might.
        code: the key of its texts; it never changes.
        where: the server, account or domain.
        values: the values for its texts.
    """

    severity: Severity
    code: str
    where: str
    values: Mapping[str, object] = field(default_factory=dict)


def wrong(code: str, where: str, **values: object) -> DoctorFinding:
    """Return a finding that must be fixed."""
    return DoctorFinding(severity="wrong", code=code, where=where, values=values)


def warning(code: str, where: str, **values: object) -> DoctorFinding:
    """Return a finding to review."""
    return DoctorFinding(severity="warning", code=code, where=where, values=values)


def fine(code: str, where: str, **values: object) -> DoctorFinding:
    """Return a finding without a fault."""
    return DoctorFinding(severity="fine", code=code, where=where, values=values)
