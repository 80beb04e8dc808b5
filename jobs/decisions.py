"""Decisions of a handler about its job, raised as exceptions; `worker/engine/outcome.py` has what follows."""

from datetime import timedelta


class HandlerDecision(Exception):
    """A decision of a handler. Its reason may quote a server's reply, so it is stored in the history only."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class GiveUp(HandlerDecision):
    """A handler's decision that no later attempt can succeed. The job becomes dead, with the reason."""


class TryLater(HandlerDecision):
    """A handler's decision that a later attempt may succeed.

    Args:
        reason: stored in the job's history; may quote a server's reply, so it is not logged.
        after: the wait; left out, the policy decides.
        charged: False if the job did not cause the wait (a limit, a pause, an account's quota).
        bounded: True to apply the policy's horizon to an uncharged wait too. The wait then equals the job's age,
            at least ``after``, so that a job that is deferred repeatedly is not tried every few seconds.
        uncertain: True if the effect began and its outcome is unknown.

    Example:
        raise TryLater("the bank's site is being maintained", after=timedelta(minutes=20), charged=False)
    """

    def __init__(
        self,
        reason: str,
        *,
        after: timedelta | None = None,
        charged: bool = True,
        bounded: bool = False,
        uncertain: bool = False,
    ) -> None:
        super().__init__(reason)
        if not isinstance(after, timedelta | None):
            raise TypeError(f"after: must be a timedelta or None, not {type(after).__name__}")
        self.reason = reason
        self.after = after
        self.charged = charged
        self.bounded = bounded
        self.uncertain = uncertain


class Park(HandlerDecision):
    """A handler's decision that the job waits, uncharged, for an operator: ``ops unpark``.

    Args:
        reason: shown to operators; may quote a server's reply, so it is not logged.
        why: one word for the type of waiting, shown to operators and used in metrics.
        uncertain: True if the effect began and its outcome is unknown.

    Raises:
        ValueError: a word that is reserved for the engine.
    """

    def __init__(self, reason: str, *, why: str = "decision", uncertain: bool = False) -> None:
        if why in ("kind", "version"):
            raise ValueError(f"why: {why!r} is reserved for jobs that a worker cannot run; choose another word")
        super().__init__(reason)
        self.reason = reason
        self.why = why
        self.uncertain = uncertain
