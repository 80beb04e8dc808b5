"""Steps of the machine at the check-ins' partitions: written by their names, truncated, taken away, brought back.

A check-in is in the partition of its id. Nobody is at work meanwhile: these statements wait for whoever reads.
"""

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.reports_model.company import Change, Company, Record, Statement

if TYPE_CHECKING:
    from tests.reports_model.lab import Lab

PARTS = 3
PARTITIONED = f"""
DROP TABLE organisation.checkins;
CREATE TABLE organisation.checkins (id bigint, employee_id bigint, node_id bigint, at timestamptz, kind text)
    PARTITION BY LIST ((id % {PARTS}));
CREATE TABLE organisation.checkins_0 PARTITION OF organisation.checkins FOR VALUES IN (0);
CREATE TABLE organisation.checkins_1 PARTITION OF organisation.checkins FOR VALUES IN (1);
CREATE TABLE organisation.checkins_2 PARTITION OF organisation.checkins FOR VALUES IN (2);
"""
_ATTACHED = "SELECT inhrelid FROM pg_inherits WHERE inhrelid = to_regclass($1)"
_parts = st.integers(0, PARTS - 1)


def attach(number: int) -> str:
    """The statement that brings a partition back."""
    name = f"organisation.checkins_{number}"
    return f"ALTER TABLE organisation.checkins ATTACH PARTITION {name} FOR VALUES IN ({number})"


async def bring_back(connection: Any) -> None:
    """Have all partitions there, and empty."""
    for number in range(PARTS):
        if await connection.fetchval(_ATTACHED, f"organisation.checkins_{number}") is None:
            await connection.execute(f"TRUNCATE organisation.checkins_{number}; {attach(number)}")


class PartitionSteps(RuleBasedStateMachine):
    """The steps; what they use of the machine is declared here."""

    lab: "Lab"
    company: Company
    slow: Change | None
    paused: list[Any]
    away: int | None = None
    rows_away: tuple[Record, ...] = ()

    def _row(self, table: str, node_id: int, at: int, until: int) -> Change:
        raise NotImplementedError

    def _write(self, change: Change) -> None:
        raise NotImplementedError

    def refresh(self, worker: int, watched: bool) -> None:  # noqa: FBT001  as the machine has it
        raise NotImplementedError

    def probe(self, watched: bool) -> None:  # noqa: FBT001  as the machine has it
        raise NotImplementedError

    def all_is_as_it_must_be(self) -> None:
        raise NotImplementedError

    @rule(node=st.integers(0, 7), at=st.sampled_from([-90, -1, 0, 1]))
    def a_row_comes_by_the_name_of_its_partition(self, node: int, at: int) -> None:
        """The statement fires the partition's own trigger, and none of the table's."""
        self._write(_by_name(self._row("checkins", self.company.node(node), at, 0)))

    @rule(number=_parts)
    def a_partition_is_truncated(self, number: int) -> None:
        if self._may_alter and number != self.away:
            self._write(self._without(number, f"TRUNCATE organisation.checkins_{number}"))

    @rule(number=_parts)
    def a_partition_goes(self, number: int) -> None:
        """Its rows go with it; no trigger tells."""
        if self._may_alter and self.away is None:
            self.rows_away = tuple(self._rows_of(number))
            name = f"organisation.checkins_{number}"
            self._write(self._without(number, f"ALTER TABLE organisation.checkins DETACH PARTITION {name}"))
            self.away = number

    @rule(fresh=st.booleans())
    def a_partition_comes_back(self, fresh: bool) -> None:  # noqa: FBT001  drawn by name
        """With the rows that it had, as far as their nodes are there; or a copy of it, which has no trigger."""
        if not self._may_alter or self.away is None:
            return
        change, name = Change(), f"organisation.checkins_{self.away}"
        nodes = self.company.tables["nodes"]
        change.rows = [("checkins", row["id"], row) for row in self.rows_away if row["node_id"] in nodes]
        statements = [f"DELETE FROM {name} WHERE node_id NOT IN (SELECT id FROM organisation.nodes)"]  # noqa: S608
        if fresh:
            statements += [
                f"CREATE TABLE {name}_copy AS SELECT * FROM {name}",  # noqa: S608  a name of ours
                f"DROP TABLE {name}",
                f"ALTER TABLE {name}_copy RENAME TO checkins_{self.away}",
            ]
            self.lab.unmarked = True
        change.statements = [_plain(sql) for sql in (*statements, attach(self.away))]
        self.away, self.rows_away = None, ()
        self._write(change)

    @rule(node=st.integers(0, 7), truncated=st.booleans(), fresh=st.booleans())
    def a_partition_goes_for_a_while(self, node: int, truncated: bool, fresh: bool) -> None:  # noqa: FBT001
        """Right after its rows were stored, so that nothing else has changed; each time somebody looks."""
        if not self._may_alter or self.away is not None:
            return
        change = _by_name(self._row("checkins", self.company.node(node), 0, 0))
        self._write(change)
        self._settled()
        number = change.rows[0][1] % PARTS
        self.a_partition_is_truncated(number) if truncated else self.a_partition_goes(number)
        self._settled()
        self.a_partition_comes_back(fresh)
        self._settled()

    def _settled(self) -> None:
        """A look, a refresh and another look, with all compared after each."""
        for step in (self.probe, lambda watched: self.refresh(0, watched), self.probe):
            step(watched=True)
            self.all_is_as_it_must_be()

    @rule()
    def the_triggers_are_installed_again(self) -> None:
        if self.lab.unmarked and self._may_alter:
            self.lab.do(self.lab.install(self.lab.writer))

    @property
    def _may_alter(self) -> bool:
        return self.slow is None and not self.paused

    def _rows_of(self, number: int) -> list[Record]:
        return [row for row in self.company.tables["checkins"].values() if row["id"] % PARTS == number]

    def _without(self, number: int, sql: str) -> Change:
        return Change([("checkins", row["id"], None) for row in self._rows_of(number)], [_plain(sql)])


def _by_name(change: Change) -> Change:
    [(sql, arguments)] = change.statements
    name = f"organisation.checkins_{arguments[0] % PARTS}"
    return Change(change.rows, [(sql.replace("organisation.checkins", name, 1), arguments)])


def _plain(sql: str) -> Statement:
    return sql, ()
