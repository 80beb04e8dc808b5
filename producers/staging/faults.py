"""Errors of Postgres about the ledger, by their SQLSTATE. All others are the application's."""

from collections.abc import Iterator

from ..errors import InvalidRequest, LedgerUnavailable, NotEnqueued, ProducerError

_MISSING = {"3F000", "42P01", "42703"}
_FAILED, _DENIED, _READ_ONLY, _TAKEN = "25P02", "42501", "25006", "23505"


def ledger_error(error: BaseException, name: str) -> ProducerError | None:
    """Return the producer's error for an error of the driver; None for one that the application must understand.

    A lost connection, a serialization failure and the like reach the application as its driver raises them, as
    from every other statement of its transaction.

    Args:
        name: the kind of the connection, as users know it.
    """
    state = sqlstate_of(error)
    if state in _MISSING:
        return LedgerUnavailable(
            "ledger: the database of this connection has no ledger, or an earlier version; let its owner run "
            "./run ops db install"
        )
    if state == _DENIED:
        return LedgerUnavailable(
            "ledger: the role of this connection may not stage jobs; ./run ops db install --backend ROLE allows it"
        )
    if state == _READ_ONLY:
        return LedgerUnavailable(
            f"connection: the {name} can only read (a standby, or a transaction that is READ ONLY); give one that "
            "may write"
        )
    if state == _FAILED:
        return failed_transaction(name)
    if state == _TAKEN:
        return InvalidRequest("job_id: the ledger already has a job with this id; give each job its own")
    return None


def neither_took(missed: NotEnqueued, error: Exception) -> NotEnqueued:
    """Return the error of a job that neither Redis nor the ledger took.

    Args:
        missed: Redis's error.
        error: why there is no row; only the class of a driver's error, since some messages quote parameters.
    """
    reason = str(error) if isinstance(error, ProducerError) else f"Postgres did not take the row ({_named(error)})"
    return NotEnqueued(f"{missed}. The job is not in the ledger either: {reason}")


def _named(error: Exception) -> str:
    return "no reply in time" if isinstance(error, TimeoutError) else type(error).__name__


def failed_transaction(name: str) -> InvalidRequest:
    """Return the refusal of a connection whose transaction has failed."""
    return InvalidRequest(
        f"connection: the transaction of the {name} has failed, so nothing can be written in it now; roll it "
        "back, and send the job in the next one"
    )


def not_open(name: str) -> InvalidRequest:
    """Return the refusal of a closed connection."""
    return InvalidRequest(f"connection: the {name} is closed; give one that is open")


def autocommit(name: str, remedy: str) -> InvalidRequest:
    """Return the refusal of a connection that would commit the row at once."""
    return InvalidRequest(
        f"connection: the {name} is in autocommit and outside a transaction, so the job would not belong to "
        f"one; {remedy}, or use level='fallback'"
    )


def sqlstate_of(error: BaseException) -> str:
    """Return the SQLSTATE that an error of a driver, or one that wraps it, has; empty without one."""
    for one in _chain(error):
        for name in ("sqlstate", "pgcode"):
            if isinstance(state := getattr(one, name, None), str):
                return state
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, and those that it wraps: SQLAlchemy's has ``orig``, Django's a cause."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = getattr(one, "orig", None) or one.__cause__
