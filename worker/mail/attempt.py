"""One attempt to deliver a mail through an account; turns the server's replies into an outcome and a journal.

A mail to one recipient ends with the reply to it. A mail to several ends when none is left, done if at least one
of them has it; :mod:`worker.mail.recipients` says what is kept between attempts.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from redis.exceptions import RedisError

from jobs.mail.journal import JournalEntry
from jobs.mail.letter import Letter
from jobs.mail.stream import Stream
from producers.suppression import Suppression
from worker.engine import GiveUp, Park, Suppress, TryLater
from worker.engine.effect_marks import EarlierEffect, LedgerRefusal
from worker.events import emit, event
from worker.mail.accounts.accounts import AccountSender
from worker.mail.policies import MailPolicies, OpenedMail
from worker.mail.recipients import ACCEPTED, Recipients, refused_outcome, retry_refused
from worker.mail.smtp.envelope import Acceptance
from worker.mail.smtp.errors import ConnectionBroken, EarlierMark, MailRefused, MarkMissing
from worker.mail.smtp.reply import Refusal, Verdict
from worker.mail.smtp.stage_times import count_refusal
from worker.mail.uncertain import UnknownDelivery, decide_after_unknown

_MAIL_SUPPRESSED = event("mail.suppressed")

_OPENING = {"connect", "login"}
_DOUBT = "many recipients are refused at once: taken for the server's fault"
_TOLD = 5
"""Largest number of refused recipients of one attempt whose replies go into the journal."""
_Result = TypeVar("_Result")


class DeliveryAttempt:
    """One attempt through one account; turns its end into the job's outcome."""

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
        """Store durably that this account will write the final dot; False if it must not: the lease is lost.

        Raises:
            MarkMissing: Redis or the ledger did not confirm the mark, so the dot is not written.
            EarlierMark: only the ledger knew that this attempt may have delivered the mail before.
        """
        if self.recipients is None:
            self._policies.note_recipient(self.mail, self.account.name)
        else:
            self._policies.note_recipients(self.mail, self.recipients, self.account.name)
        try:
            self.marked = await self._begin_effect(self.account.name)
        except EarlierEffect as error:
            raise EarlierMark(str(error)) from error
        except LedgerRefusal as error:
            raise MarkMissing(f"mark: the ledger did not store it ({error}); the mail was not sent") from error
        except (RedisError, OSError) as error:
            raise MarkMissing(
                f"mark: Redis did not confirm it ({type(error).__name__}: {error}); the mail was not sent"
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
        words = self.mail.mask_text(receipt.text)
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
        count_refusal(refusal.reply)
        reply = replace(refusal.reply, text=self.mail.mask_text(refusal.reply.text))
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
            TryLater: some are left, for the next attempt.
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
            text = self.mail.mask_text(reply.line)
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
            await recipients.store_settled(self.account.link) if recipients.settled else None
        except (RedisError, OSError) as error:
            known = f"{said} (Redis did not store which recipients have it: {type(error).__name__})"
            raise TryLater(known, uncertain=bool(taken)) from error
        raise retry_refused(said, waiting.values(), progress=bool(taken))

    async def conclude_all(self, outcome: GiveUp, words: str = "") -> dict[str, object]:
        """Conclude a mail that has no recipient left: done if at least one of them has it.

        Raises:
            GiveUp: the outcome, if none has it and one was refused.
            Suppress: all are suppressed.
        """
        recipients = self._recipients
        with contextlib.suppress(RedisError, OSError):  # then it expires later
            await _finish_report(recipients.close(self.account.link))
        if not recipients.accepted:
            if recipients.suppressed and not recipients.settled:
                raise suppress_mail(next(iter(recipients.suppressed.values())))
            raise outcome
        return {"code": 250, "reply": words, "account": self.account.name, "recipients": recipients.report()}

    @property
    def _recipients(self) -> Recipients:
        if self.recipients is None:
            raise TypeError("recipients: the mail has only one")
        return self.recipients

    async def _judge_recipient(self, address: str, reply: Refusal) -> Verdict:
        """Return the verdict on one of several recipients; report it to the account and the suppression list."""
        count_refusal(reply)
        verdict = self.account.judge_reply(reply)
        if verdict.trouble:
            masked = replace(reply, text=self.mail.mask_text(reply.text))
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

    def outcome_without_mark(self, error: MarkMissing) -> TryLater | Park:
        """Return the outcome of a mail whose dot was not written because its mark was not stored."""
        if isinstance(error, EarlierMark):
            return self.outcome_unknown(str(error))
        return TryLater(self.journal_line(str(error)), after=self.account.retry_delay, charged=False)

    def outcome_unknown(self, words: str) -> TryLater | Park:
        """Return the outcome of a mail that the server may have accepted."""
        if decide_after_unknown(describe_unknown(self.account, self.context), self._stream) == "hold":
            return Park(self.journal_line(words), why="uncertain", uncertain=True)
        return TryLater(self.journal_line(words), uncertain=True)


def suppress_mail(found: Suppression) -> Suppress:
    """Return the outcome of a mail to a suppressed recipient."""
    emit(_MAIL_SUPPRESSED, reason=found.reason)
    return Suppress({"state": "suppressed", "reason": found.reason, "scope": found.scope, "until": found.until})


def describe_unknown(account: AccountSender, context: Mapping[str, Any]) -> UnknownDelivery:
    """Return what is known about an attempt that may have delivered the mail."""
    queued: datetime = context["enqueue_time"]
    return UnknownDelivery(datetime.now(UTC) - queued, idempotent=bool(account.idempotency_header))


async def _finish_report(lesson: Awaitable[_Result]) -> _Result | None:
    """Await the report of a reply to the account or the suppression list.

    The mail's own outcome is known by then, so a cancellation does not change it.
    """
    try:
        return await lesson
    except asyncio.CancelledError:
        return None
