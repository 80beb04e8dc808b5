"""The handler of ``mail.send``: one attempt to deliver one frozen mail, in seven steps.

    open       open the mail if it is sealed
    account    choose the account whose limit the claim took, unless the mail names or needs another
    earlier    after an attempt that may have delivered the mail: resend through the same one, or hold the mail
    address    apply the safety mode and the suppression list
    letter     write the frozen mail as bytes, the same at every attempt
    hand over  send it to the server, with a durable mark before the final dot
    report     return the job's outcome and journal, and inform the account's breaker

Every attempt ends with a certain outcome or with an explicit "uncertain". If a worker died after its mark, the
mark (``unknown_effect``) tells the next attempt so and names the account.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from jobs.decisions import HandlerDecision
from jobs.lanes import MAIL_BULK, MAIL_NORMAL, MAIL_URGENT
from jobs.mail.letter import Letter, LetterSender, write_letter
from jobs.mail.message import PAYLOAD_VERSION, Mail
from jobs.mail.recipients import has_several
from jobs.mail.stream import STREAMS, Stream, stream_of
from producers.suppression import Suppression
from worker.engine import GiveUp, Park, TryLater
from worker.engine.handler import Handler, handler
from worker.events import bind_fields, emit, event
from worker.mail.accounts.accounts import Accounts, AccountSender
from worker.mail.accounts.gate import AccountClosed
from worker.mail.accounts.routing import sender_domain
from worker.mail.attachments import read_attachments
from worker.mail.attempt import DeliveryAttempt, describe_unknown, suppress_mail
from worker.mail.failure_fields import failure_fields
from worker.mail.policies import MailPolicies, OpenedMail
from worker.mail.recipients import Recipients
from worker.mail.smtp.errors import (
    ConnectionBroken,
    DeliveryUncertain,
    LeaseLost,
    MailRefused,
    MarkMissing,
    retry_without_redis,
)
from worker.mail.smtp.waiting import BULK, NORMAL, URGENT
from worker.mail.uncertain import EarlierDelivery, decide_after_unknown

_MAIL_ACCEPTED = event("mail.accepted")
_MAIL_UNCERTAIN = event("mail.uncertain")

_PRIORITIES = {MAIL_URGENT: URGENT, MAIL_NORMAL: NORMAL, MAIL_BULK: BULK}


@dataclass(frozen=True, slots=True)
class Mailer:
    """Dependencies of the delivery; handlers find them in the context as ``mailer``.

    Attributes:
        accounts: the accounts through which mails go.
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
    fields: Mapping[str, object] = frozen
    try:
        opened = mailer.policies.open_mail(frozen, job_id=context["job_id"])
        fields = opened.fields
        return await _send_opened(mailer, context, opened)
    except HandlerDecision as decision:
        bind_fields(**failure_fields(str(decision), fields))
        raise


async def _send_opened(mailer: Mailer, context: dict[str, Any], opened: OpenedMail) -> dict[str, object]:
    """Deliver an opened mail; see :func:`send_mail`."""
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
        raise suppress_mail(mail)
    recipients = await _find_recipients(mail, mailer.policies, stream, context, account)
    attempt = DeliveryAttempt(account, stream, context, mail, mailer.policies, recipients)
    if recipients is not None and not recipients.left:
        return await attempt.conclude_all(GiveUp("every recipient was refused before"))
    attached = await read_attachments(mail.fields, mailer.attachments)
    letter = _write_letter(mail, mailer, account, stream, attached, recipients)
    result = await _hand_over(attempt, letter)
    emit(_MAIL_ACCEPTED, octets=len(letter.content), account=account.name)
    return result


def mail_handler(*, keep_result: timedelta | None = None) -> Handler:
    """Return the handler of mails; a payload of version 1 is valid as version 2 too."""
    return handler(
        send_mail, kind=Mail.kind, version=PAYLOAD_VERSION, upcasters={1: dict}, keep_result=keep_result
    )


# Step by step


async def _find_recipients(
    mail: OpenedMail, policies: MailPolicies, stream: Stream, context: Mapping[str, Any], account: AccountSender
) -> Recipients | None:
    """Return the recipients of a mail to several, with those that are settled or suppressed; None for one.

    Raises:
        TryLater: Redis did not answer; uncharged.
    """
    if not has_several(mail.fields):
        return None
    recipients = Recipients.of_mail(mail.fields, context["job_id"])
    try:
        await recipients.load_settled(account.link)
    except (RedisError, OSError) as error:
        raise retry_without_redis("the mail's settled recipients", error) from error
    await policies.suppress_some(recipients, stream)
    return recipients


async def _choose_account(
    accounts: Accounts, context: Mapping[str, Any], wanted: str, earlier: EarlierDelivery | None, domain: str
) -> AccountSender:
    """Return the account that the claim chose, if the mail may go through it.

    Args:
        domain: the sender's domain, for which only some accounts may send.

    Raises:
        TryLater: the mail must go through another account; it is bound to that one and goes back.
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
                await accounts.bind_mail(context, must)
            return chosen
        await accounts.bind_mail(context, must)
        raise TryLater(f"{must}: is the only account for this mail", after=chosen.retry_delay, charged=False)
    if accounts.may_send(chosen.name, domain):
        return chosen
    if other := await accounts.route_mail(context, domain):
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
    if not earlier.decided and decide_after_unknown(describe_unknown(account, context), stream) == "hold":
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


async def _hand_over(attempt: DeliveryAttempt, letter: Letter) -> dict[str, object]:
    account, lane = attempt.account, attempt.context.get("lane", "")
    try:
        receipt = await account.send_letter(letter, attempt.store_mark, priority=_PRIORITIES.get(lane, NORMAL))
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
        raise attempt.outcome_without_mark(error) from error
    except asyncio.CancelledError:
        if attempt.marked:
            unknown = attempt.outcome_unknown("stopped while waiting for the reply to the final dot")
            if isinstance(unknown, Park):
                raise unknown from None
        raise
    return await attempt.conclude_acceptance(receipt, letter)


def _text_field(frozen: Mapping[str, object], name: str) -> str:
    value = frozen.get(name)
    return value if isinstance(value, str) else ""
