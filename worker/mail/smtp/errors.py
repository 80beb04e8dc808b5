"""Errors of sending a mail, one for each state in which the mail may be afterwards.

| error             | server has the mail                            | fault                                      |
|-------------------|------------------------------------------------|--------------------------------------------|
| MailRefused       | no: it refused                                 | see `worker.mail.smtp.reply`               |
| MalformedMail     | no: nothing was sent                           | the mail's                                 |
| ConnectionBroken  | no: the final dot was not written              | the connection's                           |
| CannotOpen        | no: the mail was not named                     | the account's or the server's              |
| TurnLost          | no: it was not the mail's turn                 | the connection's or the server's           |
| LeaseLost         | no: the final dot was not written              | none: another worker has the job           |
| EarlierMark       | perhaps, by the same attempt before            | Redis's: it lost the earlier mark          |
| MarkMissing       | no: the final dot was not written              | Redis's or its replicas'                   |
| DeliveryUncertain | unknown: the dot was written, no reply came    | the connection's                           |
"""

from collections.abc import Mapping
from datetime import timedelta

from worker.engine import TryLater
from worker.mail.smtp.opening_fault import OpeningFault, describe_error
from worker.mail.smtp.reply import Refusal, Stage, Trouble

_SOON = timedelta(seconds=1)


def retry_without_redis(what: str, error: BaseException) -> TryLater:
    """Return the uncharged retry of a mail for which Redis did not answer before anything was sent.

    The wait starts when Redis records it, so that retries do not burden a server that has just come back.
    """
    return TryLater(f"Redis did not answer about {what}: {type(error).__name__}", after=_SOON, charged=False)


class MailRefused(Exception):
    """The server refused the mail.

    Attributes:
        reply: the refusal; if every recipient was refused, one of their replies, a temporary one if there is any.
        recipients: each refused recipient with its reply, if the recipients were refused.
    """

    def __init__(self, reply: Refusal, recipients: Mapping[str, Refusal] | None = None) -> None:
        super().__init__(f"{reply.code} at {reply.stage}")
        self.reply = reply
        self.recipients = recipients or {}


class MalformedMail(MailRefused):
    """The mail cannot be sent safely, or is larger than the server's SIZE; nothing was sent."""


class ConnectionBroken(Exception):
    """The connection failed before the final dot, so the server has certainly not accepted the mail."""

    def __init__(self, stage: Stage, cause: BaseException) -> None:
        super().__init__(f"{describe_error(cause)} at {stage}")
        self.stage = stage

    @property
    def trouble(self) -> Trouble:
        """Trouble to report to the account's breaker, if the connection failed while opening."""
        return "fault"

    @property
    def advice(self) -> str:
        """Text about the account for the operator."""
        return f"the server cannot be reached: {self}"


class CannotOpen(ConnectionBroken):
    """The connection could not be opened, encrypted or greeted; this is the account's trouble, not a mail's."""

    def __init__(self, fault: OpeningFault) -> None:
        Exception.__init__(self, f"{fault.words}: {fault.remedy}")
        self.stage = "connect"
        self._fault = fault

    @property
    def trouble(self) -> Trouble:
        """Trouble that closes the account."""
        return self._fault.pause

    @property
    def advice(self) -> str:
        """Fault and remedy."""
        return str(self)


class TurnLost(Exception):
    """The connection ended behind another mail before this mail's turn; it costs this mail no attempt.

    Attributes:
        refused: True if the server replied to the other mail but rejected this one, so that it may not support
            mails behind others.
    """

    def __init__(self, *, refused: bool) -> None:
        super().__init__("the connection ended behind another mail")
        self.refused = refused


class DeliveryUncertain(Exception):
    """The final dot was written and no reply came, so the server may have accepted the mail (RFC 1047)."""


class LeaseLost(Exception):
    """The mark was not stored because another worker has the job now; the dot was not written."""


class MarkMissing(Exception):
    """Redis, or enough of its replicas, did not confirm the mark; the dot was not written."""


class EarlierMark(MarkMissing):
    """The ledger shows that this attempt may already have written its dot; it was not written again."""
