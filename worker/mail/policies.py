"""What is done for a mail besides carrying it: opened, held back, redirected, signed, and remembered.

    opened      a sealed mail is opened; without its key it waits, uncharged, and is never dead
    addressed   the safety mode and the suppression list have their say, before any connection is asked for
    finished    what goes out gets its marks: the first recipient of a redirected mail, the DKIM signature
    leaving     to whom it goes is noted, so that a bounce can be told from a forgery
    refused     a server's clear word on a mailbox goes to the suppression list

Each step is skipped where nothing is configured for it.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from redis.exceptions import RedisError

from jobs.mail.dkim import Signer
from jobs.mail.letter import Letter
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
    redirected,
    way_of,
    with_original,
)
from worker.mail.sent import SentRegister
from worker.mail.shape import check_shape
from worker.mail.smtp.reply import Refusal
from worker.mail.suppression import SuppressionList

_MAIL_UNNOTED = event("mail.unnoted")
_MAIL_SUPPRESSION_ADDED = event("mail.suppression_added")
_MAIL_REFUSAL_DOUBTED = event("mail.refusal_doubted")

KIND = "mail.send"
ORIGINAL = "original_to"
"""The field of a redirected mail that holds its first recipient; it never travels."""
_RUN = r"[^\s<>\"'(),;:\[\]]"
_ADDRESS = re.compile(rf"(?<!{_RUN}){_RUN}+@{_RUN}+")
"""Tried from the first character of a run only, so that a long line of a server costs linear time."""
_MASK = "[masked]"
_KEY_WAIT = timedelta(minutes=1)
"""Soon enough after the key is added, or for another worker that has it."""


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and there is one for each mail
class OpenedMail:
    """A mail that can be read.

    Attributes:
        fields: the frozen mail.
        sealed: whether it came sealed: then nothing of it may be written down in clear.
    """

    fields: Mapping[str, object] = field(repr=False)
    sealed: bool = False

    def discreet(self, words: str) -> str:
        """A server's words, fit to be kept: of a sealed mail without addresses and without its subject."""
        if not self.sealed:
            return words
        subject = self.fields.get("subject")
        if isinstance(subject, str) and subject:
            words = words.replace(subject, _MASK)
        return _ADDRESS.sub(_MASK, words)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailPolicies:
    """The parts, each optional.

    Attributes:
        ring: opens sealed mails.
        safety: where mails may go.
        suppression: who is not written to.
        sent: notes to whom mails went.
        signer: DKIM.
    """

    ring: KeyRing | None = None
    safety: Safety = field(default_factory=Safety)
    suppression: SuppressionList | None = None
    sent: SentRegister | None = None
    signer: Signer | None = None

    def opened(self, payload: Mapping[str, object], *, job_id: str) -> OpenedMail:
        """The mail in the open.

        Raises:
            TryLater: sealed with a key that this worker does not have; uncharged, until one has it.
            GiveUp: the seal is broken, or a field is not what it must be.
        """
        mail = self._opened(payload, job_id) if is_sealed(payload) else OpenedMail(fields=payload)
        check_shape(mail.fields)
        return mail

    def _opened(self, payload: Mapping[str, object], job_id: str) -> OpenedMail:
        try:
            if self.ring is None:
                raise UnknownSealKey(key_id_of(payload))
            return OpenedMail(fields=self.ring.open(payload, kind=KIND, job_id=job_id), sealed=True)
        except UnknownSealKey as unknown:
            words = f"sealed with the key {unknown.key_id!r}, which MOMENTUS_MAIL__SEAL_KEYS does not have here"
            raise TryLater(words, after=_KEY_WAIT, charged=False) from None
        except BrokenSeal as broken:
            raise GiveUp(f"cannot be opened: {broken.reason}") from None

    async def addressed(self, mail: OpenedMail, stream: Stream) -> OpenedMail | Suppression:
        """The mail as it is to go, or the reason for which its recipient is not written to.

        Raises:
            TryLater: mode ``hold``, or the suppression list cannot be read; uncharged.
            GiveUp: its domain is not allowed, and there is no address to redirect to.
        """
        recipient = str(mail.fields.get("to"))
        match way_of(recipient, self.safety):
            case ModeHold(reason):
                raise TryLater(reason, charged=False)
            case ModeRefusal(reason):
                raise GiveUp(reason)
            case Redirection(to):
                return replace(mail, fields={**redirected(mail.fields, to), ORIGINAL: recipient})
            case DirectDelivery():
                found = await self._suppressed(recipient, stream)
                return mail if found is None else found

    def finished(self, letter: Letter, mail: OpenedMail) -> Letter:
        """The letter as it leaves; the same for the same mail.

        Raises:
            UnsafeHeader: its first recipient is no plain address.
        """
        if ORIGINAL in mail.fields:
            letter = with_original(letter, mail.fields[ORIGINAL])
        return letter if self.signer is None else self.signer.sign(letter)

    def leaving(self, mail: OpenedMail, account: str) -> None:
        """Note to whom it goes and by which account; nobody waits for that."""
        if self.sent is not None and ORIGINAL not in mail.fields:
            self.sent.note(str(mail.fields["message_id"]), str(mail.fields["to"]), account)

    async def written(self) -> None:
        """Wait until what was noted is written, or given up."""
        if self.sent is not None:
            await self.sent.written()

    async def refused(self, mail: OpenedMail, reply: Refusal, *, account: str, job_id: str) -> Weighed:
        """Learn from a refusal; a fault of Redis is logged, since the mail's own end matters more."""
        if self.suppression is None or ORIGINAL in mail.fields:
            return "noted"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                weighed = await self.suppression.learn(
                    str(mail.fields["to"]), reply, account=account, job_id=job_id
                )
        except (RedisError, OSError) as error:
            emit(_MAIL_UNNOTED, error=type(error).__name__)
            return "noted"
        if weighed == "suppressed":
            emit(_MAIL_SUPPRESSION_ADDED)
        elif weighed == "doubtful":
            emit(_MAIL_REFUSAL_DOUBTED, account=account)
        return weighed

    async def _suppressed(self, recipient: str, stream: Stream) -> Suppression | None:
        if self.suppression is None:
            return None
        essential = stream.suppression == "undeliverable"
        return await self.suppression.find(recipient, stream=stream.name, essential=essential)
