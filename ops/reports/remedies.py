"""What to do about a report's error, by the name of the error that is stored with it."""

_ADDRESS = "mend MOMENTUS_POSTGRES_DSN"
_VERSIONS = "the report and the database are of different versions; ./run ops reports check names the line"
_REMEDIES = {
    "UndefinedTableError": (
        "create it, or name the right database in MOMENTUS_POSTGRES_DSN; "
        "where the shipped reports are not wanted, MOMENTUS_REPORTS__SHIPPED=off"
    ),
    "UndefinedColumnError": _VERSIONS,
    "UndefinedFunctionError": _VERSIONS,
    "InsufficientPrivilegeError": "grant it to the user of MOMENTUS_POSTGRES_DSN; reports need SELECT",
    "QueryCanceledError": "make the query cheaper, or raise MOMENTUS_REPORTS__STATEMENT_TIMEOUT",
    "LockNotAvailableError": "somebody holds a lock on a table that it reads; it is tried again",
    "SerializationError": (
        "a standby's queries give way to what is replayed: raise max_standby_streaming_delay or set "
        "hot_standby_feedback there, or name the primary"
    ),
    "TooManyConnectionsError": "allow more: a worker needs one more than MOMENTUS_WORKER__REPORTS_SLOTS",
    "InvalidPasswordError": _ADDRESS,
    "InvalidAuthorizationSpecificationError": _ADDRESS,
    "InvalidCatalogNameError": _ADDRESS,
    "TargetServerAttributeNotMatched": "no server of MOMENTUS_POSTGRES_DSN has its target_session_attrs",
    "ConnectionRefusedError": "start the database, or mend MOMENTUS_POSTGRES_DSN",
}
_USUAL = "./run ops reports check tells more"


def remedy_of(error: str, *, usual: str = _USUAL) -> str:
    """Say what to do about an error.

    Args:
        error: as it is stored, the error's name in front; or the name alone.
        usual: what to say of others.

    >>> remedy_of("InvalidPasswordError: password authentication failed")
    'mend MOMENTUS_POSTGRES_DSN'
    """
    return _REMEDIES.get(error.partition(":")[0], usual)
