"""The accounts at work: which one carries a mail, and what its replies teach the fleet.

An `AccountSender` is one account: its pool of connections, its gate (permits and breaker, shared by all workers)
and what its provider means by a reply. Its budget is the engine's limit ``account:<name>``: the claim takes from
it, so a mail that runs has its share already, and its name comes with the claim. A mail is bound to an account,
and waits for that one alone, when it names it or when an earlier attempt by it may have delivered the mail.

What can go wrong: an account without its password. It alone stands still, held with a message that names the
setting; the others go on.
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
from worker.mail.accounts.routing import bind, route
from worker.mail.smtp.advice import advice
from worker.mail.smtp.envelope import Acceptance
from worker.mail.smtp.errors import ConnectionBroken, MailRefused
from worker.mail.smtp.pool import ConnectionsExhausted, SMTPPool
from worker.mail.smtp.reply import Refusal, Trouble, Verdict, judge
from worker.mail.uncertain import EarlierDelivery, find_earlier

_LOOK = timedelta(seconds=1)
_MOST_USED_UP = 4
_OPENING = {"connect", "login"}
_BEFORE_THE_MARK = {"mail", "rcpt", "data"}
_KEYS = LaneKeys("mail.normal")


class AccountSender:
    """One account at work.

    Args:
        provider: its preset's name.
        gate: None where nothing is shared: the account is never closed and its connections are not counted.
        idempotency_header: by which its provider knows a second copy; "" where there is none.
        unusable: why it cannot be used at all, naming the setting; "" when it can.
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
        self._told: tuple[BaseException, asyncio.Task[timedelta | None]] | None = None

    async def send(self, letter: Letter, mark: Callable[[], Awaitable[bool]], *, priority: int) -> Acceptance:
        """Hand over one mail.

        Args:
            mark: makes it durable that the final dot follows.
            priority: 0 urgent, 1 normal, 2 bulk.

        Raises:
            AccountClosed: there is no connection for now, and it is not the mail's fault.
            Refused, Broken, Uncertain, LeaseLost: see :mod:`worker.mail.smtp.errors`.
        """
        if self.unusable:
            await self._fault("login", self.unusable)
            raise AccountClosed(self.name, self.look, self.unusable)
        domain = domain_of(letter.recipients[0])
        self._check_domain(domain)
        try:
            receipt = await self._hand_over(letter, mark, priority)
        except MailRefused as refusal:
            receipt = await self._by_another(refusal, letter, mark, priority)
        except ConnectionsExhausted as crowded:
            raise AccountClosed(self.name, self.look, str(crowded)) from None
        if self._gate is not None:
            self._gate.tempo.accepted()
            self._gate.aside.accepted(domain)
        return receipt

    def _check_domain(self, domain: str) -> None:
        if self._gate is not None and (found := self._gate.aside.wait(domain)):
            wait, reply = found
            words = (
                f"another mail to its domain was refused ({reply}); others go first, to show if the account works"
            )
            raise AccountClosed(self.name, max(self.look, wait), words, bounded=self._gate.tempo.lately)

    @property
    def look(self) -> timedelta:
        """How soon a mail looks again that found the account closed."""
        return self._gate.look if self._gate else _LOOK

    def judge(self, reply: Refusal) -> Verdict:
        """What the reply means to this account's provider."""
        return judge(reply, self._provider)

    def failed_to_open(self, failure: MailRefused | ConnectionBroken) -> "asyncio.Task[timedelta | None]":
        """A connection could not be opened; how long the account is closed for it.

        The pool tells of it, and so does every mail that waited for the connection: it is one fault all the same.
        """
        if self._told is None or self._told[0] is not failure:
            self._told = failure, asyncio.create_task(self._tell(failure))
        return self._told[1]

    async def trouble(self, verdict: Verdict, reply: Refusal, recipient: str = "") -> timedelta | None:
        """Let the fleet know; how long the account is closed for it, None when it is not.

        Args:
            recipient: of the mail that was refused. Many mails to one domain at once are one refusal.
        """
        of_a_mail = reply.stage not in _OPENING
        if of_a_mail and verdict.trouble in DOUBTFUL and self._gate is not None:
            code = f"{reply.code} {reply.code // 100}.{reply.enhanced}" if reply.enhanced else str(reply.code)
            codes = f"{verdict.trouble}: {reply.stage} {code}"
            is_first = self._gate.aside.refused(domain_of(recipient), codes)
            if not is_first and self._gate.tempo.lately:
                return None
        reason = advice(verdict.trouble, self.name, reply)
        return await self._fault(verdict.trouble, reason, asked=verdict.after, of_a_mail=of_a_mail)

    async def worked(self) -> None:
        """A connection got as far as a mail."""
        if self._gate is not None:
            await self._gate.worked()

    async def _tell(self, failure: MailRefused | ConnectionBroken) -> timedelta | None:
        if isinstance(failure, ConnectionBroken):
            return await self._fault(failure.trouble, failure.advice)
        verdict = self.judge(failure.reply)
        return await self.trouble(verdict, failure.reply) if verdict.trouble else None

    async def _fault(
        self, trouble: Trouble, reason: str, *, asked: timedelta | None = None, of_a_mail: bool = False
    ) -> timedelta | None:
        if self._gate is None:
            return None
        return await self._gate.fault(trouble, reason, asked=asked, of_a_mail=of_a_mail)

    async def _by_another(
        self, refusal: MailRefused, letter: Letter, mark: Callable[[], Awaitable[bool]], priority: int
    ) -> Acceptance:
        """Use another connection when only the first was used up: those that are kept are of about the same age.

        Raises:
            AccountClosed: there is no other connection for now.
            Refused: the refusal, if it means more than that, or that of another connection.
        """
        for _ in range(_MOST_USED_UP):
            if not self._may_go_by_another(refusal.reply):
                break
            try:
                return await self._hand_over(letter, mark, priority)
            except MailRefused as again:
                refusal = again
            except ConnectionsExhausted as crowded:
                raise AccountClosed(self.name, self.look, str(crowded)) from None
        raise refusal

    async def _hand_over(self, letter: Letter, mark: Callable[[], Awaitable[bool]], priority: int) -> Acceptance:
        async with self.pool.connection(priority=priority) as connection:
            try:
                return await connection.send(letter, mark)
            except MailRefused as refusal:
                if not self.judge(refusal.reply).keep_connection:
                    connection.close()
                raise

    def _may_go_by_another(self, reply: Refusal) -> bool:
        """Whether only that one connection was used up, before the mail had made its mark."""
        return reply.stage in _BEFORE_THE_MARK and self.judge(reply).session_over


class Accounts(Mapping[str, AccountSender]):
    """All of them, in the order in which they are tried.

    Args:
        carriers: at least one.
        sender_domains: by account, for which it may send; absent or empty for any.
    """

    def __init__(
        self, carriers: Iterable[AccountSender], sender_domains: Mapping[str, Collection[str]] | None = None
    ) -> None:
        self._sender_domains = sender_domains or {}
        self._carriers = {one.name: one for one in carriers}
        self._first = next(iter(self._carriers.values()))

    @classmethod
    def alone(cls, pool: SMTPPool) -> "Accounts":
        """One account of which nothing is shared."""
        return cls([AccountSender("default", pool)])

    def __getitem__(self, name: str) -> AccountSender:
        return self._carriers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._carriers)

    def __len__(self) -> int:
        return len(self._carriers)

    def chosen(self, limit: str) -> AccountSender:
        """The account whose limit the claim took; the first when it took none."""
        return self._carriers.get(limit.removeprefix("account:"), self._first)

    def may_send(self, name: str, domain: str) -> bool:
        """Whether a mail that is from this domain may go by this account."""
        domains = self._sender_domains.get(name)
        return not domains or domain in domains

    async def earlier(self, context: Mapping[str, Any]) -> EarlierDelivery | None:
        """The last attempt that may have delivered the mail, if there was one."""
        link = self._first.link
        if link is None:
            return EarlierDelivery() if context["unknown_effect"] else None
        if len(self) == 1 and context["job_try"] == 1 and not context["unknown_effect"]:
            return None
        journal = await link.call("LRANGE", _KEYS.history(context["job_id"]), 0, -1)
        return find_earlier(orjson.loads(octets) for octets in journal)

    async def bind(self, context: Mapping[str, Any], name: str) -> None:
        """From now on the claim gives the mail to this account alone."""
        if (link := self[name].link) is not None:
            await bind(link, context["job_id"], name)

    async def route(self, context: Mapping[str, Any], domain: str) -> str:
        """Bind the mail to one of the accounts that may send for this domain; its name, "" when none may."""
        names = [name for name in self if self.may_send(name, domain)]
        if names and (link := self._first.link) is not None:
            return await route(link, context, names)
        return names[0] if names else ""
