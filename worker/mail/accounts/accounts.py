"""Accounts that send mails: choice of the account for a mail, and reports of its replies to the fleet.

An `AccountSender` is one account: its pool of connections, its gate (permits and breaker, shared by all workers)
and its provider's meaning of replies. Its budget is the engine's limit ``account:<name>``: the claim takes from
it, so a running mail has its share already, and the claim names the account. A mail is bound to one account, and
waits for it, if the mail names it or if an earlier attempt by it may have delivered the mail.

What can go wrong: an account lacks its password. Only this account stops, held with a message that names the
setting; the others continue.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import orjson

from jobs.mail.letter import Letter
from producers.keys import LaneKeys
from producers.link import Link
from producers.suppression import domain_of
from worker.mail.accounts.gate import DOUBTFUL, AccountClosed, Gate
from worker.mail.accounts.routing import bind_mail, route_mail
from worker.mail.smtp.advice import write_advice
from worker.mail.smtp.envelope import Acceptance
from worker.mail.smtp.errors import ConnectionBroken, MailRefused
from worker.mail.smtp.pool import ConnectionsExhausted, SMTPPool
from worker.mail.smtp.reply import Refusal, Trouble, Verdict, judge_reply
from worker.mail.uncertain import EarlierDelivery, find_earlier

_LOOK = timedelta(seconds=1)
_MOST_USED_UP = 4
_OPENING = {"connect", "login"}
_BEFORE_THE_MARK = {"mail", "rcpt", "data"}
_KEYS = LaneKeys("mail.normal")


class AccountSender:
    """Sender of mails through one account.

    Args:
        provider: name of its preset.
        gate: permits and breaker; without a gate the account is never closed and its connections are not counted.
        idempotency_header: header field by which its provider detects a second copy; "" if it has none.
        unusable: reason why the account cannot be used, naming the setting; "" if it can.
    """

    def __init__(
        self,
        name: str,
        pool: SMTPPool,
        *,
        provider: str = "generic",
        gate: Gate | None = None,
        link: Link | None = None,
        idempotency_header: str = "",
        unusable: str = "",
    ) -> None:
        self.name, self.pool, self.link = name, pool, link
        self.idempotency_header, self.unusable = idempotency_header, unusable
        self._provider, self._gate = provider, gate
        self._reported_failure: tuple[BaseException, asyncio.Task[timedelta | None]] | None = None

    async def send_letter(
        self, letter: Letter, mark: Callable[[], Awaitable[bool]], *, priority: int
    ) -> Acceptance:
        """Send one mail.

        Args:
            mark: stores durably that the final dot follows.
            priority: 0 urgent, 1 normal, 2 bulk.

        Raises:
            AccountClosed: no connection is available, which is not the mail's fault.
            MailRefused, ConnectionBroken, DeliveryUncertain, LeaseLost: see :mod:`worker.mail.smtp.errors`.
        """
        if self.unusable:
            await self._report_fault("login", self.unusable)
            raise AccountClosed(self.name, self.retry_delay, self.unusable)
        self._check_domains(letter)
        try:
            receipt = await self._send_by_one(letter, mark, priority)
        except MailRefused as refusal:
            receipt = await self._send_by_another(refusal, letter, mark, priority)
        except ConnectionsExhausted as exhausted:
            raise AccountClosed(self.name, self.retry_delay, str(exhausted)) from None
        if self._gate is not None:
            self._gate.tempo.record_acceptance()
            for recipient in letter.recipients if self._gate.aside else ():
                if recipient not in receipt.refused:
                    self._gate.aside.record_acceptance(domain_of(recipient))
        return receipt

    def _check_domains(self, letter: Letter) -> None:
        """Check that the domain of a recipient is not set aside; one of several is enough to let the mail go.

        Raises:
            AccountClosed: all of them are.
        """
        if self._gate is None or not self._gate.aside:
            return
        found = None
        for domain in dict.fromkeys(map(domain_of, letter.recipients)):
            if (found := self._gate.aside.find_wait(domain)) is None:
                return
        if found is None:
            return
        wait, reply = found
        words = (
            f"another mail to its domain was refused ({reply}); mails to other domains go first, as a test of "
            "the account"
        )
        raise AccountClosed(self.name, max(self.retry_delay, wait), words, bounded=self._gate.tempo.lately)

    @property
    def retry_delay(self) -> timedelta:
        """Delay of the next attempt of a mail that found the account closed."""
        return self._gate.retry_delay if self._gate else _LOOK

    def judge_reply(self, reply: Refusal) -> Verdict:
        """Return the verdict on a reply of this account's provider."""
        return judge_reply(reply, self._provider)

    def report_opening_failure(self, failure: MailRefused | ConnectionBroken) -> "asyncio.Task[timedelta | None]":
        """Report that a connection could not be opened; the task returns how long the account is closed for it.

        The pool reports a failure, and so does every mail that waited for the connection; it counts once.
        """
        if self._reported_failure is None or self._reported_failure[0] is not failure:
            self._reported_failure = failure, asyncio.create_task(self._report_failure(failure))
        return self._reported_failure[1]

    async def report_trouble(self, verdict: Verdict, reply: Refusal, recipient: str = "") -> timedelta | None:
        """Report trouble to the breaker; return how long the account is closed for it, or None.

        Args:
            recipient: the refused mail's recipient; refusals of many mails to one domain at once count once.
        """
        of_a_mail = reply.stage not in _OPENING
        if of_a_mail and verdict.trouble in DOUBTFUL and self._gate is not None:
            code = f"{reply.code} {reply.code // 100}.{reply.enhanced}" if reply.enhanced else str(reply.code)
            codes = f"{verdict.trouble}: {reply.stage} {code}"
            is_first = self._gate.aside.record_refusal(domain_of(recipient), codes)
            if not is_first and self._gate.tempo.lately:
                return None
        reason = write_advice(verdict.trouble, self.name, reply)
        return await self._report_fault(verdict.trouble, reason, asked=verdict.after, of_a_mail=of_a_mail)

    async def report_success(self) -> None:
        """Report that a connection got as far as a mail, so that the account works."""
        if self._gate is not None:
            await self._gate.report_success()

    async def _report_failure(self, failure: MailRefused | ConnectionBroken) -> timedelta | None:
        if isinstance(failure, ConnectionBroken):
            return await self._report_fault(failure.trouble, failure.advice)
        verdict = self.judge_reply(failure.reply)
        return await self.report_trouble(verdict, failure.reply) if verdict.trouble else None

    async def _report_fault(
        self, trouble: Trouble, reason: str, *, asked: timedelta | None = None, of_a_mail: bool = False
    ) -> timedelta | None:
        if self._gate is None:
            return None
        return await self._gate.report_trouble(trouble, reason, asked=asked, of_a_mail=of_a_mail)

    async def _send_by_another(
        self, refusal: MailRefused, letter: Letter, mark: Callable[[], Awaitable[bool]], priority: int
    ) -> Acceptance:
        """Try other connections if only the first was used up; several, because pooled ones have similar ages.

        Raises:
            AccountClosed: no other connection is available.
            MailRefused: the refusal, if it means more than a used-up connection, or another connection's refusal.
        """
        for _ in range(_MOST_USED_UP):
            if not self._is_connection_used_up(refusal.reply):
                break
            try:
                return await self._send_by_one(letter, mark, priority)
            except MailRefused as again:
                refusal = again
            except ConnectionsExhausted as exhausted:
                raise AccountClosed(self.name, self.retry_delay, str(exhausted)) from None
        raise refusal

    async def _send_by_one(self, letter: Letter, mark: Callable[[], Awaitable[bool]], priority: int) -> Acceptance:
        async with self.pool.connection(priority=priority) as connection:
            try:
                return await connection.send_letter(letter, mark)
            except MailRefused as refusal:
                if not self.judge_reply(refusal.reply).keep_connection:
                    connection.close()
                raise

    def _is_connection_used_up(self, reply: Refusal) -> bool:
        """True if only this connection was used up, before the mail stored its mark."""
        return reply.stage in _BEFORE_THE_MARK and self.judge_reply(reply).session_over


class Accounts(Mapping[str, AccountSender]):
    """Account senders by name, in the order in which they are tried.

    Args:
        senders: at least one.
        sender_domains: by account, the domains for which it may send; absent or empty for any.
    """

    def __init__(
        self, senders: Iterable[AccountSender], sender_domains: Mapping[str, Collection[str]] | None = None
    ) -> None:
        self._sender_domains = sender_domains or {}
        self._senders = {one.name: one for one in senders}
        self._first = next(iter(self._senders.values()))

    @classmethod
    def single(cls, pool: SMTPPool) -> "Accounts":
        """Return a single account without gate and budget."""
        return cls([AccountSender("default", pool)])

    def __getitem__(self, name: str) -> AccountSender:
        return self._senders[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._senders)

    def __len__(self) -> int:
        return len(self._senders)

    def find_by_limit(self, limit: str) -> AccountSender:
        """Return the account whose limit the claim took, or the first account if it took none."""
        return self._senders.get(limit.removeprefix("account:"), self._first)

    def may_send(self, name: str, domain: str) -> bool:
        """True if this account may send mails from this domain."""
        domains = self._sender_domains.get(name)
        return not domains or domain in domains

    async def find_earlier_delivery(self, context: Mapping[str, Any]) -> EarlierDelivery | None:
        """Return the last attempt that may have delivered the mail, or None."""
        link = self._first.link
        if link is None:
            return EarlierDelivery() if context["unknown_effect"] else None
        if len(self) == 1 and context["job_try"] == 1 and not context["unknown_effect"]:
            return None
        journal = await link.call("LRANGE", _KEYS.history(context["job_id"]), 0, -1)
        return find_earlier(orjson.loads(entry) for entry in journal)

    async def bind_mail(self, context: Mapping[str, Any], name: str) -> None:
        """Bind the mail to this account, so that the claim gives it to no other."""
        if (link := self[name].link) is not None:
            await bind_mail(link, context["job_id"], name)

    async def route_mail(self, context: Mapping[str, Any], domain: str) -> str:
        """Bind the mail to an account that may send for this domain; return its name, or "" if none may."""
        names = [name for name in self if self.may_send(name, domain)]
        if names and (link := self._first.link) is not None:
            return await route_mail(link, context, names)
        return names[0] if names else ""
