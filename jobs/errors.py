"""Base of all errors of this room. The caller must fix the cause; nothing has been queued."""


class JobError(ValueError):
    """A job request that is invalid as it stands.

    Attributes:
        field: the part of the request at fault, for example ``"to"`` or ``"values.due"``.
        reason: what is wrong with it and what to do.
        index: which message of a batch, from 0; None for a single one. Set by the batch call.
    """

    index: int | None = None

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
