"""What a check of a report finds: where it stands, what is wrong, and what to do about it."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, order=True)
class ReportFinding:
    """One thing to mend.

    Attributes:
        where: ``file:line``, and the key where it is one.
    """

    where: str
    fault: str
    remedy: str

    def line(self) -> str:
        """For people.

        >>> ReportFinding("sales.sql:9: scope", "there is no column 'id'", "name the node's").line()
        "sales.sql:9: scope: there is no column 'id'; name the node's"
        """
        return f"{self.where}: {self.fault}; {self.remedy}" if self.remedy else f"{self.where}: {self.fault}"

    def to_json(self) -> dict[str, str]:
        """For scripts."""
        return asdict(self)
