"""Remedies for a report's error, by the name of the stored error."""

_ADDRESS = "fix MOMENTUS_POSTGRES_DSN"
_VERSIONS = "the report does not fit the database's schema; ./run ops reports check names the line"
_REMEDIES = {
    "UndefinedTableError": (
        "create it, or name the right database in MOMENTUS_POSTGRES_DSN; "
        "to disable the shipped reports: MOMENTUS_REPORTS__SHIPPED=off"
    ),
    "UndefinedColumnError": _VERSIONS,
    "UndefinedFunctionError": _VERSIONS,
    "InsufficientPrivilegeError": "grant it to the user of MOMENTUS_POSTGRES_DSN; reports need SELECT",
    "QueryCanceledError": "make the query cheaper, or raise MOMENTUS_REPORTS__STATEMENT_TIMEOUT",
    "LockNotAvailableError": "another session locks a table that it reads; workers retry",
    "SerializationError": (
        "a standby cancels queries that delay its replay: raise max_standby_streaming_delay or set "
        "hot_standby_feedback there, or name the primary"
    ),
    "TooManyConnectionsError": "allow more connections: a worker needs one more than "
    "MOMENTUS_WORKER__REPORTS_SLOTS",
    "InvalidPasswordError": _ADDRESS,
    "InvalidAuthorizationSpecificationError": _ADDRESS,
    "InvalidCatalogNameError": _ADDRESS,
    "TargetServerAttributeNotMatched": "no server of MOMENTUS_POSTGRES_DSN has its target_session_attrs",
    "InvalidTree": "fill or fix the table of its tree; ./run ops reports check names the rows",
    "IdsChanged": "forget removes the stored set once no worker has run for 10 s",
    "NoAnswer": "start the database, or let its network or its pooler answer",
    "ConnectionRefusedError": "start the database, or fix MOMENTUS_POSTGRES_DSN",
}
_USUAL = "see ./run ops reports check"


def remedy_of(error: str, *, usual: str = _USUAL) -> str:
    """Return the remedy for an error.

    Args:
        error: the stored text, which begins with the error's name, or that name alone.
        usual: the remedy for other errors.

    >>> remedy_of("InvalidPasswordError: password authentication failed")
    'fix MOMENTUS_POSTGRES_DSN'
    """
    return _REMEDIES.get(error.partition(":")[0], usual)
