"""SMTP server of the sink, in the running event loop, with faults on request.

It accepts every sender and recipient, keeps the mail and answers 250, unless its faults say otherwise. Faults
are decided by a generator with a seed, so a run can be repeated. They are changed by assigning another
`SinkFaults`, which takes effect with the next command.

It listens on 127.0.0.1 only, offers neither TLS nor AUTH and never passes a mail on.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from random import Random
from types import TracebackType
from typing import Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from local.sink.mailbox import Mailbox

_NO_DELAY = timedelta(0)


class DropPoint(Enum):
    """The point at which a connection is cut."""

    BEFORE_DOT = "before the final dot"
    """While the body arrives; the mail is not kept."""
    BEFORE_REPLY = "before the reply to the final dot"
    """After the mail is kept, which the sender cannot know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkFaults:
    """Faults of the sink; by default none.

    Args:
        delay_min, delay_max: shortest and longest delay of the reply to the final dot, drawn evenly between them.
        temporary_share: share of mails, 0 to 1, answered with `temporary_reply` and not kept.
        temporary_reply: that reply, code first.
        recipient_replies: reply to RCPT by address in lower case, `{"a@example.org": "550 5.1.1 Gone"}`.
        drop: cut the connection at this point.
        drop_first: cut it for this many mails only, counted from when these faults were set; None for all.
        seed: of the random decisions.
    """

    delay_min: timedelta = _NO_DELAY
    delay_max: timedelta = _NO_DELAY
    temporary_share: float = 0.0
    temporary_reply: str = "451 4.3.0 Try again later"
    recipient_replies: Mapping[str, str] = field(default_factory=dict)
    drop: DropPoint | None = None
    drop_first: int | None = None
    seed: int = 0


class MailSink:
    """Catch-all SMTP server, listening from `async with` to its end.

    Args:
        mailbox: takes the mails.
        faults: the initial ones.
        port: on 127.0.0.1; 0 for a free one.

    `delaying` is the number of mails now waiting for the reply to their final dot.

    Raises (on entering):
        OSError: the port is in use.

    Example:
        async with MailSink(Mailbox()) as sink:
            sink.faults = SinkFaults(drop=DropPoint.BEFORE_REPLY, drop_first=1)
            ...  # send to 127.0.0.1:sink.port
            await sink.mailbox.wait_for(1)
    """

    def __init__(self, mailbox: Mailbox, faults: SinkFaults | None = None, *, port: int = 0) -> None:
        self.mailbox = mailbox
        self.port = port
        self.faults = faults or SinkFaults()
        self.delaying = 0
        self._server: asyncio.Server | None = None
        self._connections: set[_SinkConnection] = set()

    @property
    def host(self) -> str:
        """Address on which it listens."""
        return "127.0.0.1"

    @property
    def connections(self) -> int:
        """Number of connected clients."""
        return len(self._connections)

    @property
    def faults(self) -> SinkFaults:
        """Current faults."""
        return self._faults

    @faults.setter
    def faults(self, faults: SinkFaults) -> None:
        self._faults = faults
        self._random = Random(faults.seed)  # noqa: S311  a repeatable fault, not a secret
        self._dropped = 0

    async def __aenter__(self) -> Self:
        await self.accept_connections()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse_connections()

    async def accept_connections(self) -> None:
        """Start listening, on the previous port if there was one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _SinkConnection(self, self._connections), self.host, self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse_connections(self) -> None:
        """Stop listening and cut every connection; connecting is refused until `accept_connections`."""
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._connections):
            await connection.cut()
        await self._server.wait_closed()
        self._server = None

    def take_drop(self, where: DropPoint) -> bool:
        """Return True if this mail's connection is to be cut at this point; counts it then."""
        limit = self._faults.drop_first
        if self._faults.drop is not where or (limit is not None and self._dropped >= limit):
            return False
        self._dropped += 1
        return True

    def reply_delay(self) -> float:
        """Return the seconds until the reply to this mail's final dot."""
        shortest, longest = self._faults.delay_min, max(self._faults.delay_min, self._faults.delay_max)
        return self._random.uniform(shortest.total_seconds(), longest.total_seconds())

    def refuses_for_now(self) -> bool:
        """Return True if this mail gets the temporary reply."""
        return self._random.random() < self._faults.temporary_share


class _SinkConnection(SMTP):
    """Connection of one client. aiosmtpd speaks the protocol; this class adds faults that it has no hook for."""

    def __init__(self, sink: MailSink, connections: "set[_SinkConnection]") -> None:
        # A given name keeps aiosmtpd from a DNS query for this machine's name.
        super().__init__(
            _SinkHooks(sink),
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="Momentus sink",
            loop=asyncio.get_running_loop(),
        )
        self._sink = sink
        self._connections = connections
        self._gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._connections.discard(self)
        self._gone.set()

    async def cut(self) -> None:
        """Close the connection without a reply; returns when it is closed."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        await self._gone.wait()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802  the name aiosmtpd looks for
        if self._sink.take_drop(DropPoint.BEFORE_DOT):
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            await self._reader.readline()
            await self.cut()
            return
        await super().smtp_DATA(arg)


class _SinkHooks:
    """Hooks that aiosmtpd calls."""

    def __init__(self, sink: MailSink) -> None:
        self._sink = sink

    async def handle_RCPT(  # noqa: N802  the name aiosmtpd looks for
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        refusal = self._sink.faults.recipient_replies.get(address.lower())
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802  the name aiosmtpd looks for
        self, server: _SinkConnection, _session: Session, envelope: Envelope
    ) -> str:
        self._sink.delaying += 1
        try:
            await asyncio.sleep(self._sink.reply_delay())
        finally:
            self._sink.delaying -= 1
        if self._sink.refuses_for_now():
            return self._sink.faults.temporary_reply
        raw = envelope.original_content or b""
        mail = self._sink.mailbox.keep_mail(envelope.mail_from or "", envelope.rcpt_tos, raw)
        if self._sink.take_drop(DropPoint.BEFORE_REPLY):
            await server.cut()
        return f"250 2.0.0 OK queued as {mail.number}"
