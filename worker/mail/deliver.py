"""The handler of ``mail.send``: one attempt to deliver one frozen mail, in seven steps.

    open       open the mail if it is sealed
    account    choose the account whose limit the claim took, unless the mail names or needs another
    earlier    after an attempt that may have delivered the mail: resend by the same account, or hold the mail
    address    apply the safety mode and the suppression list
    letter     write the frozen mail as bytes, the same at every attempt
    hand over  send it to the server, with a durable mark before the final dot
    report     return the job's outcome and journal, and inform the account's breaker

Every attempt ends with a certain outcome or with an explicit "uncertain". If a worker died after its mark, the
mark (``unknown_effect``) tells the next attempt so and names the account.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from redis.exceptions import RedisError

from jobs.lanes import MAIL_BULK, MAIL_NORMAL, MAIL_URGENT
from jobs.mail.journal import JournalEntry
from jobs.mail.letter import Letter, LetterSender, write_letter
from jobs.mail.message import PAYLOAD_VERSION, Mail
from jobs.mail.recipients import has_several
from jobs.mail.stream import STREAMS, Stream, stream_of
from producers.suppression import Suppression
from worker.engine import GiveUp, Park, Suppress, TryLater
from worker.engine.handler import Handler, handler
from worker.events import emit, event
from worker.mail.accounts.accounts import Accounts, AccountSender
from worker.mail.accounts.gate import AccountClosed
from worker.mail.accounts.routing import sender_domain
from worker.mail.attachments import read_attachments
from worker.mail.policies import MailPolicies, OpenedMail
from worker.mail.recipients import ACCEPTED, Recipients, later, refused_outcome
from worker.mail.smtp.envelope import Acceptance
from worker.mail.smtp.errors import (
    ConnectionBroken,
    DeliveryUncertain,
    LeaseLost,
    MailRefused,
    MarkMissing,
    retry_without_redis,
)
from worker.mail.smtp.reply import Refusal, Verdict
from worker.mail.smtp.waiting import BULK, NORMAL, URGENT
from worker.mail.uncertain import EarlierDelivery, UnknownDelivery, decide_after_unknown

_MAIL_SUPPRESSED = event("mail.suppressed")
_MAIL_ACCEPTED = event("mail.accepted")
_MAIL_UNCERTAIN = event("mail.uncertain")

_PRIORITIES = {MAIL_URGENT: URGENT, MAIL_NORMAL: NORMAL, MAIL_BULK: BULK}
_OPENING = {"connect", "login"}
_DOUBT = "many recipients are refused at once: taken for the server's fault"
_TOLD = 5
"""Refused recipients of one attempt whose replies are in the journal."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Mailer:
    """Dependencies of the delivery; handlers find them in the context as ``mailer``.

    Attributes:
        accounts: the accounts by which mails go.
        sender: the default sender.
        streams: the streams by name.
        policies: seal, safety mode, suppression and signature.
        attachments: the folder of files that mails attach by reference; None if not configured.
    """

    accounts: Accounts
    sender: LetterSender
    streams: Mapping[str, Stream] = field(default_factory=lambda: STREAMS)
    policies: MailPolicies = field(default_factory=MailPolicies)
    attachments: Path | None = None


async def send_mail(context: dict[str, Any], **frozen: object) -> dict[str, object]:
    """Deliver one mail.

    Args:
        context: ``mailer``, and the engine's facts about the claim.
        frozen: the mail as :meth:`jobs.Mail.compose` returned it.

    Returns:
        The account, the code and the server's reply to the final dot, for the journal.

    Raises:
        GiveUp: the server refused permanently.
        TryLater: the server refused temporarily or could not be reached, or the outcome is unknown and the stream
            resends.
        Park: the outcome is unknown and an operator decides.
        Suppress: the recipient is on the suppression list.
    """
    mailer: Mailer = context["mailer"]
    opened = mailer.policies.open_mail(frozen, job_id=context["job_id"])
    stream = stream_of(_text_field(opened.fields, "stream"), mailer.streams)
    domain = sender_domain(opened.fields, mailer.sender)
    try:
        earlier = await mailer.accounts.find_earlier_delivery(context)
        account = await _choose_account(
            mailer.accounts, context, _text_field(opened.fields, "account"), earlier, domain
        )
    except (RedisError, OSError) as error:
        raise retry_without_redis("earlier attempts and the account", error) from error
    if earlier is not None:
        _settle_earlier(earlier, account, stream, context)
    mail = await mailer.policies.address_mail(opened, stream)
    if isinstance(mail, Suppression):
        raise _suppressed(mail)
    recipients = await _find_recipients(mail, mailer.policies, stream, context, account)
    attempt = _Attempt(account, stream, context, mail, mailer.policies, recipients)
    if recipients is not None and not recipients.left:
        return await attempt.conclude_all(GiveUp("every recipient was refused before"))
    attached = await read_attachments(mail.fields, mailer.attachments)
    letter = _write_letter(mail, mailer, account, stream, attached, recipients)
    result = await _hand_over(attempt, letter)
    emit(_MAIL_ACCEPTED, octets=len(letter.content), account=account.name)
    return result


def mail_handler(*, keep_result: timedelta | None = None) -> Handler:
    """Return the handler of mails; a payload of the first version is one of the second as it is."""
    return handler(
        send_mail, kind=Mail.kind, version=PAYLOAD_VERSION, upcasters={1: dict}, keep_result=keep_result
    )


# Step by step


def _suppressed(found: Suppression) -> Suppress:
    emit(_MAIL_SUPPRESSED, reason=found.reason)
    return Suppress({"state": "suppressed", "reason": found.reason, "scope": found.scope, "until": found.until})


async def _find_recipients(
    mail: OpenedMail, policies: MailPolicies, stream: Stream, context: Mapping[str, Any], account: AccountSender
) -> Recipients | None:
    """Return the recipients of a mail to several, with those that are settled or suppressed; None for one.

    Raises:
        TryLater: Redis did not answer; uncharged.
    """
    if not has_several(mail.fields):
        return None
    recipients = Recipients.of(mail.fields, context["job_id"])
    try:
        await recipients.load(account.link)
    except (RedisError, OSError) as error:
        raise retry_without_redis("the mail's settled recipients", error) from error
    await policies.suppress_some(recipients, stream)
    return recipients


async def _choose_account(
    accounts: Accounts, context: Mapping[str, Any], wanted: str, earlier: EarlierDelivery | None, domain: str
) -> AccountSender:
    """Return the account that the claim chose, if the mail may go by it.

    Args:
        domain: the sender's domain, for which only some accounts may send.

    Raises:
        TryLater: the mail must go by another account; it is bound to that one and goes back.
        Park: the mail names an account that is not configured.
        GiveUp: no account may send for the domain.
    """
    if wanted and wanted not in accounts:
        raise Park(
            f"the mail names the account {wanted!r}, which is not configured; add it to MOMENTUS_MAIL__ACCOUNTS",
            why="account",
        )
    chosen = accounts.find_by_limit(context.get("limit", ""))
    must = earlier.account if earlier and earlier.account in accounts else wanted
    if must:
        if not accounts.may_send(must, domain):
            raise GiveUp(
                f"{must}: is the only account for this mail, and may not send for {domain}; "
                f"if it may, add the domain to sender_domains of [accounts.{must}]"
            )
        if must == chosen.name:
            if earlier and len(accounts) > 1:  # the journal is cut at some length, and the binding is not
                await accounts.bind(context, must)
            return chosen
        await accounts.bind(context, must)
        raise TryLater(f"{must}: is the only account for this mail", after=chosen.retry_delay, charged=False)
    if accounts.may_send(chosen.name, domain):
        return chosen
    if other := await accounts.route(context, domain):
        raise TryLater(
            f"{other}: {chosen.name} may not send for {domain}", after=chosen.retry_delay, charged=False
        )
    raise GiveUp(
        f"no account may send for {domain}; add it to sender_domains of one that may, in MOMENTUS_MAIL__ACCOUNTS"
    )


def _settle_earlier(
    earlier: EarlierDelivery, account: AccountSender, stream: Stream, context: Mapping[str, Any]
) -> None:
    """Hold the mail if an earlier attempt may have delivered it and its stream does not resend.

    Raises:
        Park: an operator decides.
    """
    if context["unknown_effect"]:  # the claim has counted and listed it
        emit(_MAIL_UNCERTAIN, earlier_attempt=context["unknown_effect"])
    if not earlier.decided and decide_after_unknown(_describe_unknown(account, context), stream) == "hold":
        raise Park(f"{account.name}: an earlier attempt may have delivered it", why="uncertain")


def _write_letter(
    mail: OpenedMail,
    mailer: Mailer,
    account: AccountSender,
    stream: Stream,
    attached: Mapping[str, bytes],
    recipients: Recipients | None,
) -> Letter:
    try:
        written = write_letter(
            mail.fields,
            default_sender=mailer.sender,
            attached=attached,
            auto_submitted=stream.auto_submitted,
        )
        letter = mailer.policies.finish_letter(written, mail)
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:  # only a foreign producer writes such a mail
        raise GiveUp(f"the frozen mail cannot be written: {type(error).__name__}: {error}") from error
    copy = str(mail.fields["message_id"])
    if recipients is not None:
        letter = replace(letter, recipients=recipients.left)
        copy += f"-{len(recipients.settled)}" if recipients.settled else ""  # another copy, for others
    if account.idempotency_header:
        head = f"{account.idempotency_header}: {copy}\r\n".encode("ascii")
        letter = replace(letter, content=head + letter.content)
    return letter


async def _hand_over(attempt: "_Attempt", letter: Letter) -> dict[str, object]:
    account, lane = attempt.account, attempt.context.get("lane", "")
    try:
        receipt = await account.send(letter, attempt.store_mark, priority=_PRIORITIES.get(lane, NORMAL))
    except AccountClosed as closed:
        raise TryLater(str(closed), after=closed.after, charged=False, bounded=closed.bounded) from None
    except MailRefused as refusal:
        return await attempt.conclude_refusal(refusal, letter.recipients[0])
    except ConnectionBroken as error:
        raise await attempt.outcome_of_failure(error) from error
    except DeliveryUncertain as error:
        raise attempt.outcome_unknown(f"no reply after the final dot: {error}") from error
    except LeaseLost:
        raise TryLater(attempt.journal_line("the lease was lost before the final dot"), charged=False) from None
    except MarkMissing as error:
        raise TryLater(attempt.journal_line(str(error)), after=account.retry_delay, charged=False) from error
    except asyncio.CancelledError:
        if attempt.marked:
            unknown = attempt.outcome_unknown("stopped while waiting for the reply to the final dot")
            if isinstance(unknown, Park):
                raise unknown from None
        raise
    return await attempt.conclude_acceptance(receipt, letter)


async def _finish_report(lesson: Awaitable[_Result]) -> _Result | None:
    """Await the report of a reply to the account or the suppression list.

    The mail's own outcome is known by then, so a cancellation does not change it.
    """
    try:
        return await lesson
    except asyncio.CancelledError:
        return None


class _Attempt:
    """One attempt by one account; turns its end into the job's outcome."""

    def __init__(
        self,
        account: AccountSender,
        stream: Stream,
        context: Mapping[str, Any],
        mail: OpenedMail,
        policies: MailPolicies,
        recipients: Recipients | None = None,
    ) -> None:
        self.recipients = recipients
        self.account = account
        self.context = context
        self.mail = mail
        self._policies = policies
        self._stream = stream
        self.marked = False
        self._begin_effect: Callable[[str], Awaitable[bool]] = context["begin_effect"]

    async def store_mark(self) -> bool:
        """Store durably that the final dot follows by this account; False if the lease is lost and it must not.

        Raises:
            MarkMissing: Redis did not confirm the mark, so the dot is not written.
        """
        if self.recipients is None:
            self._policies.note_recipient(self.mail, self.account.name)
        else:
            self._policies.note_recipients(self.mail, self.recipients, self.account.name)
        try:
            self.marked = await self._begin_effect(self.account.name)
        except (RedisError, OSError) as error:
            raise MarkMissing(
                f"mark: Redis did not confirm it ({type(error).__name__}: {error}); not sent"
            ) from error
        return self.marked  # from a mark on the outcome is uncertain until the server replies

    def journal_line(self, words: str, verdict: Verdict | None = None) -> str:
        """Return a journal line with the account, the scope of the verdict and these words."""
        return str(JournalEntry(self.account.name, verdict.scope if verdict else "", words))

    async def conclude_acceptance(self, receipt: Acceptance, letter: Letter) -> dict[str, object]:
        """Return the job's result, if every recipient of the mail has an outcome.

        Raises:
            TryLater: a server refused some recipients for now.
        """
        words = self.mail.mask(receipt.text)
        if self.recipients is not None:
            taken = [one for one in letter.recipients if one not in receipt.refused]
            return await self.conclude_some(taken, receipt.refused, words)
        await _finish_report(self.account.report_success())
        return {"code": 250, "reply": words, "account": self.account.name}

    async def conclude_refusal(self, refusal: MailRefused, recipient: str) -> dict[str, object]:
        """Return the job's result, if an earlier attempt delivered the mail to some and none is left now.

        Raises:
            GiveUp, TryLater: the outcome.
        """
        if self.recipients is not None and refusal.recipients:
            return await self.conclude_some((), refusal.recipients, "")
        outcome = await self.outcome_of_refusal(refusal, recipient)
        if self.recipients is not None and isinstance(outcome, GiveUp):
            self.recipients.settle(self.recipients.left, refused_outcome(refusal.reply))
            return await self.conclude_all(outcome)
        raise outcome from refusal

    async def outcome_of_refusal(self, refusal: MailRefused, recipient: str) -> GiveUp | TryLater:
        """Return the outcome of a mail that the server refused, and report the refusal to the account."""
        reply = replace(refusal.reply, text=self.mail.mask(refusal.reply.text))
        verdict = self.account.judge_reply(reply)
        words = self.journal_line(f"{reply.stage} {reply.code} {reply.line}", verdict)
        if reply.stage in _OPENING:
            closed = await self.account.report_opening_failure(refusal)
        elif verdict.trouble:
            closed = await _finish_report(self.account.report_trouble(verdict, reply, recipient))
        else:
            closed = None
            await _finish_report(self.account.report_success())
        match verdict.decision:
            case "dead":
                if verdict.scope == "recipient" and await _finish_report(self._is_doubtful(reply)):
                    return TryLater(f"{words} ({_DOUBT})")
                return GiveUp(words)
            case "wait" if closed:
                return TryLater(words, after=self.account.retry_delay, charged=False)
            case "wait":
                # While other mails go out it may be this mail's own fault, so its horizon bounds the wait.
                return TryLater(words, after=verdict.after, charged=False, bounded=True)
            case "again":
                return TryLater(words, after=verdict.after)

    async def conclude_some(
        self, taken: Sequence[str], refused: Mapping[str, Refusal], words: str
    ) -> dict[str, object]:
        """Conclude a transaction in which a server decided about each of several recipients.

        Returns:
            The job's result, if no recipient is left.

        Raises:
            TryLater: some are left, for whom the next attempt is.
            GiveUp: every recipient was refused for good.
        """
        recipients = self._recipients
        recipients.settle(taken, ACCEPTED)
        waiting: dict[str, Verdict] = {}
        lines: list[str] = []
        for address, reply in refused.items():
            verdict = await self._judge_recipient(address, reply)
            if verdict.decision == "dead":
                recipients.settle([address], refused_outcome(reply))
            else:
                waiting[address] = verdict
            text = self.mail.mask(reply.line)
            lines.append(f"{recipients.places[address]}: {reply.stage} {reply.code} {text}")
        if not any(one.trouble for one in waiting.values()):
            await _finish_report(self.account.report_success())
        said = "; ".join(lines[:_TOLD])
        if not waiting:
            return await self.conclude_all(GiveUp(self.journal_line(said)), words)
        verdict = next(iter(waiting.values()))
        said = self.journal_line(
            f"{len(recipients.left)} of {len(recipients.places)} recipients left: {said}", verdict
        )
        try:
            await recipients.store(self.account.link) if recipients.settled else None
        except (RedisError, OSError) as error:
            known = f"{said} (Redis did not store who has it: {type(error).__name__})"
            raise TryLater(known, uncertain=bool(taken)) from error
        raise later(said, waiting.values(), progress=bool(taken))

    async def conclude_all(self, outcome: GiveUp, words: str = "") -> dict[str, object]:
        """Conclude a mail of whose recipients none is left: done as soon as one of them has it.

        Raises:
            GiveUp: the outcome, if none has it and one was refused.
            Suppress: all are suppressed.
        """
        recipients = self._recipients
        with contextlib.suppress(RedisError, OSError):  # then it expires later
            await _finish_report(recipients.close(self.account.link))
        if not recipients.accepted:
            if recipients.suppressed and not recipients.settled:
                raise _suppressed(next(iter(recipients.suppressed.values())))
            raise outcome
        return {"code": 250, "reply": words, "account": self.account.name, "recipients": recipients.report()}

    @property
    def _recipients(self) -> Recipients:
        if self.recipients is None:
            raise TypeError("the mail has one recipient")
        return self.recipients

    async def _judge_recipient(self, address: str, reply: Refusal) -> Verdict:
        """Return the verdict on one of several recipients; report it to the account and the suppression list."""
        verdict = self.account.judge_reply(reply)
        if verdict.trouble:
            masked = replace(reply, text=self.mail.mask(reply.text))
            await _finish_report(self.account.report_trouble(verdict, masked, address))
        is_dead = verdict.decision == "dead"
        if is_dead and verdict.scope == "recipient" and await _finish_report(self._is_doubtful(reply, address)):
            return replace(verdict, decision="again")
        return verdict

    async def _is_doubtful(self, reply: Refusal, recipient: str = "") -> bool:
        """Weigh a refused recipient; True if the server refuses so many that it is at fault itself."""
        weighed = await self._policies.record_refusal(
            self.mail, reply, account=self.account.name, job_id=self.context["job_id"], recipient=recipient
        )
        return weighed == "doubtful"

    async def outcome_of_failure(self, error: ConnectionBroken) -> TryLater:
        """Return the outcome of a mail whose connection failed before the final dot."""
        if error.stage not in _OPENING:
            return TryLater(self.journal_line(str(error)))
        await self.account.report_opening_failure(error)
        words = str(JournalEntry(self.account.name, "account", str(error)))  # the mail was not named to the server
        return TryLater(words, after=self.account.retry_delay, charged=False)

    def outcome_unknown(self, words: str) -> TryLater | Park:
        """Return the outcome of a mail that the server may have accepted."""
        if decide_after_unknown(_describe_unknown(self.account, self.context), self._stream) == "hold":
            return Park(self.journal_line(words), why="uncertain", uncertain=True)
        return TryLater(self.journal_line(words), uncertain=True)


def _describe_unknown(account: AccountSender, context: Mapping[str, Any]) -> UnknownDelivery:
    queued: datetime = context["enqueue_time"]
    return UnknownDelivery(datetime.now(UTC) - queued, idempotent=bool(account.idempotency_header))


def _text_field(frozen: Mapping[str, object], name: str) -> str:
    value = frozen.get(name)
    return value if isinstance(value, str) else ""
