"""Everything the reference organisation refuses, by whose fault it is.

`SizeError` and `InstantError` are the caller's, `WorldError` is the data folder's, and the three schema
errors are about the database that was pointed at. Each message ends with what to do.
"""

from pathlib import Path


class OrganisationError(Exception):
    """Base of all of them; catch it to report any refusal of this package."""


class SizeError(OrganisationError):
    """The caller asked for a size no organisation can have; `field` is the field to change."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"Size.{field}={value!r} is impossible: {remedy}")
        self.field = field


class InstantError(OrganisationError):
    """The caller gave a time without a zone where an instant is needed."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} has no time zone: pass an aware datetime, e.g. datetime.now(UTC)")
        self.field = field


class WorldError(OrganisationError):
    """A data file is missing or malformed, and where: `file`, then `line` and `column` when known.

    Lines count from 1 and the header is line 1. The offending text is not repeated: it may be anything.
    """

    def __init__(self, file: Path, problem: str, *, line: int | None = None, column: str | None = None) -> None:
        place = [str(file)]
        if line is not None:
            place.append(f"line {line}")
        if column is not None:
            place.append(f"column {column}")
        super().__init__(f"{', '.join(place)}: {problem}")
        self.file = file
        self.line = line
        self.column = column


class ForeignSchemaError(OrganisationError):
    """The database has a schema `organisation` that we did not make, so we neither fill nor drop it."""

    def __init__(self) -> None:
        super().__init__(
            "this database already has a schema named organisation that belongs to somebody else: "
            "use another database, or rename that schema"
        )


class MissingSchemaError(OrganisationError):
    """Rows were to be loaded or counted before the schema was installed."""

    def __init__(self) -> None:
        super().__init__("this database has no schema organisation yet: call install(connection) first")


class RefusedRowsError(OrganisationError):
    """The rows break a rule of the schema, so nothing was loaded and the earlier rows are still there."""

    def __init__(self, constraint: str | None, detail: str | None) -> None:
        super().__init__(
            f"the rows break {constraint or 'a rule of the schema'} ({detail or 'no detail'}): "
            "correct their source and load again; nothing was changed"
        )
        self.constraint = constraint
