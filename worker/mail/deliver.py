"""The handler of ``mail.send``: one frozen mail, one attempt.

What an earlier attempt may have delivered before its worker died is known from the mark (``unknown_effect``):
it is counted as uncertain by the claim and sent again here, with the same octets and Message-ID, which is the
policy for notices. Any other end of an attempt is certain, or says that it is not.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jobs.mail.octets import Letter, Sender, write_letter
from worker.engine import GiveUp, TryLater
from worker.events import emit
from worker.mail.pool import Pool
from worker.mail.reply import Reply, judge
from worker.mail.transport import Broken, LeaseLost, Refused, Uncertain


@dataclass(frozen=True, slots=True)
class Mailer:
    """What delivery needs: connections, and who mails are from when they do not say."""

    pool: Pool
    sender: Sender


async def send_mail(context: dict[str, Any], **frozen: object) -> dict[str, object]:
    """Deliver one mail.

    Args:
        context: ``mailer``, ``begin_effect`` and ``unknown_effect``.
        frozen: what :meth:`jobs.Mail.compose` made.

    Raises:
        GiveUp: the server refused for good.
        TryLater: it refused for now, could not be reached, or the outcome is unknown.
    """
    mailer: Mailer = context["mailer"]
    if context["unknown_effect"]:
        emit("mail.uncertain", earlier_attempt=context["unknown_effect"])
    try:
        letter = write_letter(frozen, default_sender=mailer.sender)
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:  # only a foreign producer writes such a mail
        raise GiveUp(f"the frozen mail cannot be written: {type(error).__name__}: {error}") from error
    words = await _hand_over(mailer, letter, context["begin_effect"])
    emit("mail.accepted", octets=len(letter.octets))
    return {"code": 250, "reply": words}


async def _hand_over(mailer: Mailer, letter: Letter, begin_effect: Callable[[], Awaitable[bool]]) -> str:
    try:
        async with mailer.pool.connection() as connection:
            try:
                return await connection.send(letter, begin_effect)
            except Refused as refusal:
                if not judge(refusal.reply).keep_connection:
                    connection.close()
                raise
            except Broken as error:
                if error.stage == "mail" and connection.sent:  # the server had dropped an idle connection
                    raise TryLater(str(error), after=timedelta(0)) from error
                raise
    except Refused as refusal:
        raise _consequence(refusal.reply) from refusal
    except Broken as error:
        raise TryLater(str(error)) from error
    except Uncertain as error:
        raise TryLater(f"no reply after the final dot: {error}", uncertain=True) from error
    except LeaseLost:
        raise TryLater("the lease was lost before the final dot", charged=False) from None


def _consequence(reply: Reply) -> GiveUp | TryLater:
    verdict = judge(reply)
    words = f"{reply.stage} {reply.code} {reply.text}"
    match verdict.action:
        case "dead":
            return GiveUp(words)
        case "wait":
            return TryLater(words, after=verdict.after, charged=False)
        case "again":
            return TryLater(words, after=verdict.after)
