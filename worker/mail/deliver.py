"""The handler of ``mail.send``: one frozen mail, one attempt, in seven steps.

    opened     if it was sealed
    account    which one carries it: the one whose limit the claim took, unless the mail names or needs another
    earlier    an attempt that may have delivered it: resend by the same account, or leave it to people
    addressed  whom it may go to, and whether its recipient is written to at all
    letter     the frozen mail as octets, the same at every attempt
    hand over  to the server, with a durable mark before the final dot
    tell       what it came to: the job's outcome and journal, and the account's breaker

Any end of an attempt is certain, or says that it is not. What an earlier attempt may have delivered before its
worker died is known from the mark (``unknown_effect``), which also names the account.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from redis.exceptions import RedisError

from jobs.lanes import MAIL_BULK, MAIL_NORMAL, MAIL_URGENT
from jobs.mail.journal import JournalEntry
from jobs.mail.letter import Letter, LetterSender, write_letter
from jobs.mail.stream import STREAMS, Stream, stream_of
from producers.suppression import Suppression
from worker.engine import GiveUp, Park, Suppress, TryLater
from worker.events import emit, event
from worker.mail.accounts.accounts import Accounts, AccountSender
from worker.mail.accounts.gate import AccountClosed
from worker.mail.accounts.routing import sender_domain
from worker.mail.attachments import read_attachments
from worker.mail.policies import MailPolicies, OpenedMail
from worker.mail.smtp.errors import (
    ConnectionBroken,
    DeliveryUncertain,
    LeaseLost,
    MailRefused,
    MarkMissing,
    unanswered,
)
from worker.mail.smtp.reply import Refusal, Verdict
from worker.mail.smtp.waiting import BULK, NORMAL, URGENT
from worker.mail.uncertain import EarlierDelivery, UnknownDelivery, after_unknown

_MAIL_SUPPRESSED = event("mail.suppressed")
_MAIL_ACCEPTED = event("mail.accepted")
_MAIL_UNCERTAIN = event("mail.uncertain")

_PRIORITIES = {MAIL_URGENT: URGENT, MAIL_NORMAL: NORMAL, MAIL_BULK: BULK}
_OPENING = {"connect", "login"}
_DOUBT = "many recipients are refused at once: taken for the server's fault"
_Lesson = TypeVar("_Lesson")


@dataclass(frozen=True, slots=True)
class Mailer:
    """What delivery needs: the accounts, who mails are from when they do not say, and what is done besides."""

    accounts: Accounts
    sender: LetterSender
    streams: Mapping[str, Stream] = field(default_factory=lambda: STREAMS)
    care: MailPolicies = field(default_factory=MailPolicies)
    attachments: Path | None = None
    """The folder of what mails attach by reference."""


async def send_mail(context: dict[str, Any], **frozen: object) -> dict[str, object]:
    """Deliver one mail.

    Args:
        context: ``mailer``, and what the engine tells of the claim.
        frozen: what :meth:`jobs.Mail.compose` made.

    Returns:
        For the journal: the account, the code and the server's words to the final dot.

    Raises:
        GiveUp: the server refused for good.
        TryLater: it refused for now, could not be reached, or the outcome is unknown and the mail is to be resent.
        Park: the outcome is unknown and people decide.
        Suppress: its recipient is on the suppression list.
    """
    mailer: Mailer = context["mailer"]
    opened = mailer.care.opened(frozen, job_id=context["job_id"])
    stream = stream_of(_text(opened.fields, "stream"), mailer.streams)
    domain = sender_domain(opened.fields, mailer.sender)
    try:
        earlier = await mailer.accounts.earlier(context)
        account = await _account(mailer.accounts, context, _text(opened.fields, "account"), earlier, domain)
    except (RedisError, OSError) as error:
        raise unanswered("earlier attempts and the account", error) from error
    if earlier is not None:
        _settle_earlier(earlier, account, stream, context)
    mail = await mailer.care.addressed(opened, stream)
    if isinstance(mail, Suppression):
        emit(_MAIL_SUPPRESSED, reason=mail.reason)
        raise Suppress({"state": "suppressed", "reason": mail.reason, "scope": mail.scope, "until": mail.until})
    attached = await read_attachments(mail.fields, mailer.attachments)
    letter = _letter(mail, mailer, account, stream, attached)
    words = await _hand_over(_Attempt(account, stream, context, mail, mailer.care), letter)
    emit(_MAIL_ACCEPTED, octets=len(letter.content), account=account.name)
    return {"code": 250, "reply": words, "account": account.name}


# Step by step


async def _account(
    accounts: Accounts, context: Mapping[str, Any], wanted: str, earlier: EarlierDelivery | None, domain: str
) -> AccountSender:
    """The account that the claim chose; a mail that must go by another one is bound to that and goes back.

    Args:
        domain: that the mail is from; not every account may send for it.
    """
    if wanted and wanted not in accounts:
        raise Park(f"the mail asks for the account {wanted!r}, which is not configured", why="account")
    chosen = accounts.chosen(context.get("limit", ""))
    must = earlier.account if earlier and earlier.account in accounts else wanted
    if must:
        if not accounts.may_send(must, domain):
            raise GiveUp(
                f"{must}: the mail may go by no other account, and this one may not send for {domain}; "
                f"add it to sender_domains of [accounts.{must}], if it may"
            )
        if must == chosen.name:
            if earlier and len(accounts) > 1:  # the journal is cut at some length, and the binding is not
                await accounts.bind(context, must)
            return chosen
        await accounts.bind(context, must)
        raise TryLater(f"{must}: the mail may go by no other account", after=chosen.look, charged=False)
    if accounts.may_send(chosen.name, domain):
        return chosen
    if other := await accounts.route(context, domain):
        raise TryLater(f"{other}: {chosen.name} may not send for {domain}", after=chosen.look, charged=False)
    raise GiveUp(
        f"no account may send for {domain}; add it to sender_domains of one that may, in MOMENTUS_MAIL__ACCOUNTS"
    )


def _settle_earlier(
    earlier: EarlierDelivery, account: AccountSender, stream: Stream, context: Mapping[str, Any]
) -> None:
    """An earlier attempt may have delivered it: it told so itself, or its worker was lost after the mark."""
    if context["unknown_effect"]:  # which the claim has counted and listed
        emit(_MAIL_UNCERTAIN, earlier_attempt=context["unknown_effect"])
    if not earlier.decided and after_unknown(_unknown(account, context), stream) == "hold":
        raise Park(f"{account.name}: an earlier attempt may have delivered it", why="uncertain")


def _letter(
    mail: OpenedMail, mailer: Mailer, account: AccountSender, stream: Stream, attached: Mapping[str, bytes]
) -> Letter:
    try:
        written = write_letter(
            mail.fields,
            default_sender=mailer.sender,
            attached=attached,
            auto_submitted=stream.auto_submitted,
        )
        letter = mailer.care.finished(written, mail)
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:  # only a foreign producer writes such a mail
        raise GiveUp(f"the frozen mail cannot be written: {type(error).__name__}: {error}") from error
    if account.idempotency_header:
        head = f"{account.idempotency_header}: {mail.fields['message_id']}\r\n".encode("ascii")
        letter = replace(letter, content=head + letter.content)
    return letter


async def _hand_over(attempt: "_Attempt", letter: Letter) -> str:
    account, lane = attempt.account, attempt.context.get("lane", "")
    try:
        receipt = await account.send(letter, attempt.mark, priority=_PRIORITIES.get(lane, NORMAL))
    except AccountClosed as closed:
        raise TryLater(str(closed), after=closed.after, charged=False, bounded=closed.bounded) from None
    except MailRefused as refusal:
        raise await attempt.refused(refusal, letter.recipients[0]) from refusal
    except ConnectionBroken as error:
        raise await attempt.broken(error) from error
    except DeliveryUncertain as error:
        raise attempt.uncertain(f"no reply after the final dot: {error}") from error
    except LeaseLost:
        raise TryLater(attempt.words("the lease was lost before the final dot"), charged=False) from None
    except MarkMissing as error:
        raise TryLater(attempt.words(str(error)), after=account.look, charged=False) from error
    except asyncio.CancelledError:
        if attempt.marked:
            unknown = attempt.uncertain("stopped while waiting for the reply to the final dot")
            if isinstance(unknown, Park):
                raise unknown from None
        raise
    await _learn(account.worked())
    return attempt.mail.discreet(receipt.text)


async def _learn(lesson: Awaitable[_Lesson]) -> _Lesson | None:
    """Tell others what a reply means for them. The mail's own end is known by then: a stop does not change it."""
    try:
        return await lesson
    except asyncio.CancelledError:
        return None


class _Attempt:
    """One attempt by one account, and how its end is told."""

    def __init__(
        self,
        account: AccountSender,
        stream: Stream,
        context: Mapping[str, Any],
        mail: OpenedMail,
        care: MailPolicies,
    ) -> None:
        self.account = account
        self.context = context
        self.mail = mail
        self._care = care
        self._stream = stream
        self.marked = False
        self._begin_effect: Callable[[str], Awaitable[bool]] = context["begin_effect"]

    async def mark(self) -> bool:
        """Make it durable that the final dot follows, and by which account; False: it must not.

        Raises:
            Unmarked: Redis did not confirm it, so the dot is not written.
        """
        self._care.leaving(self.mail, self.account.name)
        try:
            self.marked = await self._begin_effect(self.account.name)
        except (RedisError, OSError) as error:
            raise MarkMissing(f"no mark, so no final dot: {type(error).__name__}: {error}") from error
        return self.marked  # if it is made nobody can be sure from here on, until the server answers

    def words(self, words: str, verdict: Verdict | None = None) -> str:
        """A line of the journal."""
        return str(JournalEntry(self.account.name, verdict.scope if verdict else "", words))

    async def refused(self, refusal: MailRefused, recipient: str) -> GiveUp | TryLater:
        """The server said no to a mail for this recipient."""
        reply = replace(refusal.reply, text=self.mail.discreet(refusal.reply.text))
        verdict = self.account.judge(reply)
        words = self.words(f"{reply.stage} {reply.code} {reply.line}", verdict)
        if reply.stage in _OPENING:
            closed = await self.account.failed_to_open(refusal)
        elif verdict.trouble:
            closed = await _learn(self.account.trouble(verdict, reply, recipient))
        else:
            closed = None
            await _learn(self.account.worked())
        match verdict.decision:
            case "dead":
                if verdict.scope == "recipient" and await _learn(self._doubted(reply)):
                    return TryLater(f"{words} ({_DOUBT})")
                return GiveUp(words)
            case "wait" if closed:
                return TryLater(words, after=self.account.look, charged=False)
            case "wait":  # as long as others go out it may be this mail's own fault, so it ends with its horizon
                return TryLater(words, after=verdict.after, charged=False, bounded=True)
            case "again":
                return TryLater(words, after=verdict.after)

    async def _doubted(self, reply: Refusal) -> bool:
        """Learn of a recipient that the server refuses; whether it refuses so many that it is at fault itself."""
        account, job_id = self.account.name, self.context["job_id"]
        return await self._care.refused(self.mail, reply, account=account, job_id=job_id) == "doubtful"

    async def broken(self, error: ConnectionBroken) -> TryLater:
        """The connection failed before the dot."""
        if error.stage not in _OPENING:
            return TryLater(self.words(str(error)))
        await self.account.failed_to_open(error)
        words = str(JournalEntry(self.account.name, "account", str(error)))  # the server has not heard of the mail
        return TryLater(words, after=self.account.look, charged=False)

    def uncertain(self, words: str) -> TryLater | Park:
        """Nobody knows whether the server took it."""
        if after_unknown(_unknown(self.account, self.context), self._stream) == "hold":
            return Park(self.words(words), why="uncertain", uncertain=True)
        return TryLater(self.words(words), uncertain=True)


def _unknown(account: AccountSender, context: Mapping[str, Any]) -> UnknownDelivery:
    queued: datetime = context["enqueue_time"]
    return UnknownDelivery(datetime.now(UTC) - queued, idempotent=bool(account.idempotency_header))


def _text(frozen: Mapping[str, object], name: str) -> str:
    value = frozen.get(name)
    return value if isinstance(value, str) else ""
