"""How handing over a mail can fail, told apart by what is known about the mail afterwards.

| error      | whether the server has the mail                    | whose fault                          |
|------------|----------------------------------------------------|--------------------------------------|
| Refused    | no: it said so                                     | `worker.mail.smtp.reply` tells            |
| Malformed  | no: it was not asked                               | the mail's                           |
| Broken     | no: the final dot was not written                  | the connection's                     |
| CannotOpen | no: nothing was said of it                         | the account's, or the server's       |
| Unfollowed | no: it had not been its turn                       | that of the mail before, or nobody's |
| LeaseLost  | no: the final dot was not written                  | nobody's: another worker has the job |
| Unmarked   | no: the final dot was not written                  | Redis's, or its replicas'            |
| Uncertain  | nobody knows: the dot was written, no reply came   | the connection's                     |
"""

from collections.abc import Mapping
from datetime import timedelta

from worker.engine import TryLater
from worker.mail.smtp.opening_fault import OpeningFault, describe
from worker.mail.smtp.reply import Refusal, Stage, Trouble

_SOON = timedelta(seconds=1)


def unanswered(what: str, error: BaseException) -> TryLater:
    """Redis did not answer before anything was sent: uncharged, and again as soon as it does.

    The wait begins when Redis records it, so that it is no burden on a server that has just come back.
    """
    return TryLater(f"Redis did not answer about {what}: {type(error).__name__}", after=_SOON, charged=False)


class MailRefused(Exception):
    """The server answered, and the answer is no.

    Attributes:
        reply: the answer; when every recipient was refused, one of theirs, a temporary one if there is any.
        recipients: each recipient's own answer, if it was they who were refused.
    """

    def __init__(self, reply: Refusal, recipients: Mapping[str, Refusal] | None = None) -> None:
        super().__init__(f"{reply.code} at {reply.stage}")
        self.reply = reply
        self.recipients = recipients or {}


class MalformedMail(MailRefused):
    """The mail would do harm on the wire, or is larger than the server takes: the server was not asked."""


class ConnectionBroken(Exception):
    """The connection failed before the dot: the mail was certainly not taken."""

    def __init__(self, stage: Stage, cause: BaseException) -> None:
        super().__init__(f"{describe(cause)} at {stage}")
        self.stage = stage

    @property
    def trouble(self) -> Trouble:
        """What the account's breaker is to hear of, if it happened while opening."""
        return "fault"

    @property
    def advice(self) -> str:
        """What people are told of the account."""
        return f"the server cannot be reached: {self}"


class CannotOpen(ConnectionBroken):
    """The connection could not be opened, encrypted or greeted: it is the account's trouble and no mail's."""

    def __init__(self, fault: OpeningFault) -> None:
        Exception.__init__(self, f"{fault.words}: {fault.remedy}")
        self.stage = "connect"
        self._fault = fault

    @property
    def trouble(self) -> Trouble:
        """How it closes the account."""
        return self._fault.pause

    @property
    def advice(self) -> str:
        """What is wrong, and the remedy."""
        return str(self)


class TurnLost(Exception):
    """The mail stood right behind another, and the connection ended before it was its turn: it costs it nothing.

    Attributes:
        refused: the other one's end was answered, and this one was not taken: the server may not like it so.
    """

    def __init__(self, *, refused: bool) -> None:
        super().__init__("the connection ended behind another mail")
        self.refused = refused


class DeliveryUncertain(Exception):
    """The dot was written and no reply came: nobody knows whether the mail was taken (RFC 1047)."""


class LeaseLost(Exception):
    """The mark could not be made because the job is somebody else's now; the dot was not written."""


class MarkMissing(Exception):
    """Redis did not confirm the mark, or too few of its replicas did; the dot was not written."""
