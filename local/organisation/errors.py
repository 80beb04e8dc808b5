"""Errors of the reference organisation, by the party at fault.

`SizeError` and `InstantError` are the caller's, `WorldError` is the data folder's, and the three schema
errors concern the database of the caller's connection. Each message ends with the remedy.
"""

from pathlib import Path


class OrganisationError(Exception):
    """The base of all errors of this package."""


class SizeError(OrganisationError):
    """A size that no organisation can have; `field` is the field to change."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field}: is impossible ({value!r}); {remedy}")
        self.field = field


class InstantError(OrganisationError):
    """A time without a zone."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field}: has no time zone; pass an aware datetime, e.g. datetime.now(UTC)")
        self.field = field


class WorldError(OrganisationError):
    """A missing or malformed data file, with its place: `file`, then `line` and `column` if known.

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
    """A schema `organisation` that this package did not make, so it is neither filled nor dropped."""

    def __init__(self) -> None:
        super().__init__(
            "database: already has a schema organisation of another origin; "
            "use another database, or rename that schema"
        )


class MissingSchemaError(OrganisationError):
    """A load or a count before the schema was installed."""

    def __init__(self) -> None:
        super().__init__("database: has no schema organisation yet; call install(connection) first")


class RefusedRowsError(OrganisationError):
    """Rows that break a rule of the schema; nothing was loaded and the earlier rows are still there."""

    def __init__(self, constraint: str | None, detail: str | None) -> None:
        super().__init__(
            f"rows: break {constraint or 'a rule of the schema'} ({detail or 'no detail'}); "
            "correct their source and load again; nothing was changed"
        )
        self.constraint = constraint
