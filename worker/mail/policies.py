"""Policies of a mail around its delivery: seal, safety mode, suppression, DKIM, and the register of sent mails.

    open_mail           opens a sealed mail; without its key the mail waits, uncharged, and never dies of it
    address_mail        applies the safety mode and the suppression list, before a connection is taken
    finish_letter       adds the original recipient of a redirected mail and the DKIM signature
    note_recipient      notes the recipient, so that a genuine bounce can be told from a forged one
    record_refusal      weighs a refusal of the recipient for the suppression list

A step without configuration is skipped.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from jobs.mail.letter import Letter
from jobs.mail.recipients import envelope_of, has_several
from jobs.mail.seal import BrokenSeal, KeyRing, UnknownSealKey, is_sealed, key_id_of
from jobs.mail.stream import Stream
from producers.suppression import Suppression, Weighed
from worker.engine import GiveUp, TryLater
from worker.engine.batch import ANSWER_SECONDS
from worker.events import emit, event
from worker.mail.modes import (
    DirectDelivery,
    ModeHold,
    ModeRefusal,
    Redirection,
    Safety,
    add_original_recipient,
    decide_all,
    original_recipients,
    redirect_mail,
)
from worker.mail.recipients import Recipients
from worker.mail.sent import SentRegister
from worker.mail.shape import check_shape
from worker.mail.smtp.reply import Refusal
from worker.mail.suppression import SuppressionList

if TYPE_CHECKING:
    from jobs.mail.dkim import Signer

_MAIL_UNNOTED = event("mail.unnoted")
_MAIL_SUPPRESSION_ADDED = event("mail.suppression_added")
_MAIL_REFUSAL_DOUBTED = event("mail.refusal_doubted")

KIND = "mail.send"
ORIGINAL = "original_to"
"""Field of a redirected mail that holds its original recipient; only inside the worker, never stored."""
_RUN = r"[^\s<>\"'(),;:\[\]]"
_ADDRESS = re.compile(rf"(?<!{_RUN}){_RUN}+@{_RUN}+")
"""Matched only from the first character of a run, so that a long line costs linear time."""
_MASK = "[masked]"
_KEY_WAIT = timedelta(minutes=1)
"""Wait for the key to be added here, or for a worker that has it."""


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and there is one for each mail
class OpenedMail:
    """A readable mail.

    Attributes:
        fields: the frozen mail.
        sealed: True if it arrived sealed; then none of its content may be stored in plain text.
    """

    fields: Mapping[str, object] = field(repr=False)
    sealed: bool = False

    def mask_text(self, words: str) -> str:
        """Return a server's text for storage.

        Addresses and the subject are masked if the mail was sealed; addresses also if it has several recipients,
        so that no text about one of them names another, who may be in Bcc.
        """
        if not self.sealed:
            return _ADDRESS.sub(_MASK, words) if has_several(self.fields) else words
        subject = self.fields.get("subject")
        if isinstance(subject, str) and subject:
            words = words.replace(subject, _MASK)
        return _ADDRESS.sub(_MASK, words)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailPolicies:
    """Policies of a worker for all its mails, each optional.

    Attributes:
        ring: keys that open sealed mails.
        safety: mode and domains that decide where mails may go.
        suppression: addresses that get no mail.
        sent: register of the recipients of sent mails.
        signer: DKIM signer.
    """

    ring: KeyRing | None = None
    safety: Safety = field(default_factory=Safety)
    suppression: SuppressionList | None = None
    sent: SentRegister | None = None
    signer: "Signer | None" = None

    def open_mail(self, payload: Mapping[str, object], *, job_id: str) -> OpenedMail:
        """Return the mail in readable form, with its fields checked.

        Raises:
            TryLater: the mail is sealed with a key that this worker does not have; it waits uncharged.
            GiveUp: the seal is broken, or a field has a wrong type.
        """
        mail = self._open_sealed(payload, job_id) if is_sealed(payload) else OpenedMail(fields=payload)
        check_shape(mail.fields)
        return mail

    def _open_sealed(self, payload: Mapping[str, object], job_id: str) -> OpenedMail:
        try:
            if self.ring is None:
                raise UnknownSealKey(key_id_of(payload))
            return OpenedMail(fields=self.ring.open(payload, kind=KIND, job_id=job_id), sealed=True)
        except UnknownSealKey as unknown:
            words = f"MOMENTUS_MAIL__SEAL_KEYS: lacks the key {unknown.key_id!r} that sealed the mail; add it"
            raise TryLater(words, after=_KEY_WAIT, charged=False) from None
        except BrokenSeal as broken:
            raise GiveUp(f"the sealed mail cannot be opened: {broken.reason}") from None

    async def address_mail(self, mail: OpenedMail, stream: Stream) -> OpenedMail | Suppression:
        """Return the mail with its final recipient, or the reason for which that recipient is suppressed.

        Raises:
            TryLater: mode ``hold``, or the suppression list cannot be read; uncharged.
            GiveUp: the recipient's domain is not allowed and no redirect address is set.
        """
        several = has_several(mail.fields)
        recipient = original_recipients(mail.fields) if several else str(mail.fields.get("to"))
        addresses = envelope_of(mail.fields) if several else (recipient,)
        match decide_all(addresses, self.safety):
            case DirectDelivery() if several:
                return mail  # each recipient is looked up by suppress_some
            case DirectDelivery():
                found = await self._find_suppression(recipient, stream)
                return mail if found is None else found
            case ModeHold(reason):
                raise TryLater(reason, charged=False)
            case ModeRefusal(reason):
                raise GiveUp(reason)
            case Redirection(to):
                return replace(mail, fields={**redirect_mail(mail.fields, to), ORIGINAL: recipient})

    async def suppress_some(self, recipients: Recipients, stream: Stream) -> None:
        """Note which recipients of a mail to several are suppressed.

        Raises:
            TryLater: the suppression list cannot be read; uncharged.
        """
        left = recipients.left
        found = await asyncio.gather(*(self._find_suppression(address, stream) for address in left))
        for address, suppression in zip(left, found, strict=True):
            if suppression is not None:
                recipients.suppressed[recipients.places[address]] = suppression

    def finish_letter(self, letter: Letter, mail: OpenedMail) -> Letter:
        """Return the letter with ``X-Original-To`` and DKIM signature; the same mail always gives the same bytes.

        Raises:
            UnsafeHeader: the original recipient is not a plain address.
        """
        if ORIGINAL in mail.fields:
            letter = add_original_recipient(letter, mail.fields[ORIGINAL])
        return letter if self.signer is None else self.signer.sign(letter)

    def note_recipient(self, mail: OpenedMail, account: str) -> None:
        """Queue a note of the mail's recipient and account; the mail does not wait for it."""
        if self.sent is not None and ORIGINAL not in mail.fields:
            self.sent.note_mail(str(mail.fields["message_id"]), str(mail.fields["to"]), account)

    def note_recipients(self, mail: OpenedMail, recipients: Recipients, account: str) -> None:
        """Queue a note of all recipients of a mail to several; the mail does not wait for it."""
        if self.sent is not None:
            message_id = str(mail.fields["message_id"])
            self.sent.note_several(message_id, recipients.left, account, earlier=recipients.accepted)

    async def wait_for_notes(self) -> None:
        """Wait until all queued notes are stored or have failed."""
        if self.sent is not None:
            await self.sent.wait_for_notes()

    async def record_refusal(
        self, mail: OpenedMail, reply: Refusal, *, account: str, job_id: str, recipient: str = ""
    ) -> Weighed:
        """Weigh a refusal for the suppression list.

        A Redis error is only logged, so that it does not change the mail's own outcome.
        """
        if self.suppression is None or ORIGINAL in mail.fields:
            return "noted"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                weighed = await self.suppression.record_refusal(
                    recipient or str(mail.fields["to"]), reply, account=account, job_id=job_id
                )
        except (RedisError, OSError) as error:
            emit(_MAIL_UNNOTED, error=type(error).__name__)
            return "noted"
        if weighed == "suppressed":
            emit(_MAIL_SUPPRESSION_ADDED)
        elif weighed == "doubtful":
            emit(_MAIL_REFUSAL_DOUBTED, account=account)
        return weighed

    async def _find_suppression(self, recipient: str, stream: Stream) -> Suppression | None:
        if self.suppression is None:
            return None
        essential = stream.suppression == "undeliverable"
        return await self.suppression.find_reason(recipient, stream=stream.name, essential=essential)
