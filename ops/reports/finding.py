"""Findings of `ops reports check`: place, fault and remedy."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, order=True)
class ReportFinding:
    """A fault of a report that must be fixed.

    Attributes:
        where: ``file:line``, with the key if the fault is in one.
    """

    where: str
    fault: str
    remedy: str

    def line(self) -> str:
        """Return the finding as one line for operators.

        >>> ReportFinding("sales.sql:9: scope", "there is no column 'id'", "name the node's").line()
        "sales.sql:9: scope: there is no column 'id'; name the node's"
        """
        return f"{self.where}: {self.fault}; {self.remedy}" if self.remedy else f"{self.where}: {self.fault}"

    def to_json(self) -> dict[str, str]:
        """Return the finding as plain values for scripts."""
        return asdict(self)
