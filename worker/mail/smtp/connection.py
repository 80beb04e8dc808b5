"""One SMTP connection, which sends mails stage by stage.

    MAIL, RCPT each, DATA  ->  body, mark, dot  ->  reply
    (one round trip)           (one round trip)

If the server offers PIPELINING (RFC 2920) the commands leave together, else one by one. The mark is durable before
the dot is written. A long body is sent while the mark is stored; a short body, which fits in one flight anyway,
leaves with its dot in one write. So a mail costs two round trips and two writes.

If another mail waits for a connection when the dot is due, and this server has been fast, that mail takes over at
once: its commands leave in one write with the dot (RFC 2920, 3.1: the content may begin a group), and its replies
come with the dot's. So on a busy connection a mail costs one round trip and one write. Until its turn, a failure
of the connection or of the mail before costs the mail behind nothing: it has no mark yet, and takes another
connection.

Each stage has the timeout of RFC 5321 (4.5.3.2); the reply to the dot has ten minutes. Every error but a refusal,
and every cancellation, closes the connection, so that a late reply is never taken for the next mail's.
"""

import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Final

from jobs.mail.letter import Letter
from worker.mail.smtp.envelope import (
    Acceptance,
    Commands,
    find_refusal,
    is_completion,
    is_intermediate,
    is_refusal,
    refused_recipients,
    write_body,
    write_commands,
)
from worker.mail.smtp.errors import ConnectionBroken, DeliveryUncertain, LeaseLost, MailRefused, TurnLost
from worker.mail.smtp.opening_fault import describe_error
from worker.mail.smtp.protocol import RepliesInterrupted, SMTPProtocol, SMTPReply
from worker.mail.smtp.reply import Refusal, Stage
from worker.mail.smtp.server import Server
from worker.mail.smtp.stage_times import STAGE_TIMES
from worker.mail.smtp.transport import open_connection
from worker.tracing import Attributes, stage_span

_SECONDS: Final[dict[Stage, float]] = {"mail": 300, "rcpt": 300, "data": 120, "dot": 600}
"""Timeout of each stage (RFC 5321, 4.5.3.2)."""
_CHUNK_SECONDS: Final = 180.0
_CHUNK: Final = 64 * 1024
_ONE_FLIGHT: Final = 14_600
"""Bytes that TCP sends before the first acknowledgement: ten segments (RFC 6928)."""
_QUIT_SECONDS: Final = 2.0
_BEHIND_SECONDS: Final = 10.0
"""Timeout of the reply to MAIL behind another mail, counted from the other mail's reply."""
_QUICK: Final = 0.25
"""Longest time, in seconds, of the last mail's envelope and of its dot with which another mail is sent behind the
next. The two wait for each other, because a server may hold its replies until it has processed all commands."""
_CLOSES: Final = 421


class SMTPConnection:
    """Connection to a mail server, for one mail at a time and one behind it; any error closes it.

    Args:
        server: the server to connect to.
        on_end: called once when an open connection has ended, at either end.

    Attributes:
        sent: number of mails that it carried.
    """

    def __init__(self, server: Server, on_end: Callable[[], None] = lambda: None) -> None:
        self._server = server
        self._on_end = on_end
        self._protocol: SMTPProtocol | None = None
        self._extensions: Mapping[str, str] = {}
        self._pipelines = False
        self._took = math.inf, math.inf
        self._place: Attributes = {"server.address": server.host, "server.port": server.port}
        self.sent = 0

    @property
    def awaited(self) -> bool:
        """True if a reply is still to come."""
        return self._protocol is not None and self._protocol.awaited

    @property
    def usable(self) -> bool:
        """True if it is open, no reply is still to come, and no unsolicited reply has come since the last mail."""
        protocol = self._protocol
        return protocol is not None and not protocol.awaited and protocol.quiet

    async def open(self) -> None:
        """Connect, greet, start TLS, log in.

        Raises:
            MailRefused, ConnectionBroken: see `worker.mail.smtp.transport.open_connection`.
        """
        began = monotonic()
        with stage_span("smtp open", self._place, is_call=True):
            self._protocol, self._extensions = await open_connection(self._server, self._on_end)
        STAGE_TIMES["open"].observe(monotonic() - began)
        self._pipelines = "pipelining" in self._extensions

    async def send_letter(
        self,
        letter: Letter,
        begin_effect: Callable[[], Awaitable[bool]],
        pass_on: Callable[[], bool] = lambda: False,
    ) -> Acceptance:
        """Send one mail; the reply to the mail before may still be to come.

        Args:
            begin_effect: stores the durable mark; awaited after the body and before the dot.
            pass_on: called when the dot is due; hands the connection to the next waiting mail, False if none
                waits.

        Returns:
            The server's reply, and the recipients that it refused although it accepted the mail for others.

        Raises:
            MailRefused, MalformedMail, ConnectionBroken, TurnLost, DeliveryUncertain, LeaseLost: see
                `worker.mail.smtp.errors`.
        """
        commands, body = write_commands(letter, self._extensions), write_body(letter.content)
        protocol = self._protocol
        if protocol is None:
            raise ConnectionBroken("connect", ConnectionError("the connection is not open"))
        followed = False
        try:
            began = monotonic()
            with stage_span("smtp envelope", self._place, is_call=True) as stage:
                replies = await self._send_envelope(protocol, letter, commands)
                stage.set_attribute("momentus.smtp.code", replies[-1].code)
            accepted = monotonic()
            self._took = accepted - began, self._took[1]
            STAGE_TIMES["envelope"].observe(accepted - began)
            with stage_span("smtp mark"):
                rest = await self._send_body(protocol, body, begin_effect)
            STAGE_TIMES["mark"].observe(monotonic() - accepted)
            followed = self._pipelines and max(self._took) < _QUICK and pass_on()
            with stage_span("smtp dot", self._place, is_call=True) as stage:
                reply = await self._send_dot(protocol, rest, held=followed)
                stage.set_attribute("momentus.smtp.code", reply.code)
        except MailRefused:
            raise  # the connection is intact, or has been closed
        except BaseException:
            if not (followed or protocol.ending):  # else another mail uses it, or it ends with that mail's reply
                self.close()
            raise
        self.sent += 1
        return Acceptance(reply.text, refused_recipients(letter, replies) if len(letter.recipients) > 1 else {})

    def close(self) -> None:
        """Close at once, without a QUIT."""
        if self._protocol is not None:
            self._protocol.abort()

    def close_after_reply(self) -> None:
        """Close after the reply that another mail waits for, or at once if none does."""
        if self._protocol is not None:
            self._protocol.end_after_reply()

    async def quit(self) -> None:
        """Close with QUIT; without a reply in time, close anyway."""
        if self._protocol is not None:
            with contextlib.suppress(RepliesInterrupted):
                await self._protocol.send_commands(b"QUIT\r\n", (_QUIT_SECONDS,))
            self._protocol.abort()

    # One mail

    async def _send_envelope(self, protocol: SMTPProtocol, letter: Letter, commands: Commands) -> list[SMTPReply]:
        """Send the commands before the body, and return their replies when the server waits for the body.

        A refusal of MAIL behind another mail may be about the order of commands, so it raises TurnLost instead.
        """
        behind = protocol.awaited
        try:
            if self._pipelines:
                seconds = list(map(_SECONDS.__getitem__, commands.stages))
                seconds[0] = _BEHIND_SECONDS if behind else seconds[0]
                replies = await protocol.send_commands(b"".join(commands.lines), seconds)
            else:
                replies = await self._send_one_by_one(protocol, letter, commands)
        except RepliesInterrupted as end:
            if behind and not (end.replies and is_completion(end.replies[0])):
                raise _turn_lost(end, dropped=protocol.ending) from end
            self.close()
            if refusal := find_refusal(letter, end.replies):
                raise refusal from None
            raise ConnectionBroken(commands.stages[len(end.replies)], end.cause) from end
        if behind and not is_completion(replies[0]):
            self.close()
            raise TurnLost(refused=replies[0].code != _CLOSES)
        if refusal := find_refusal(letter, replies):
            await self._reset(protocol, refusal, body_awaited=is_intermediate(replies[-1]))
            raise refusal
        return replies

    async def _send_one_by_one(
        self, protocol: SMTPProtocol, letter: Letter, commands: Commands
    ) -> list[SMTPReply]:
        replies: list[SMTPReply] = []
        for line, stage in zip(commands.lines, commands.stages, strict=True):
            try:
                replies += await protocol.send_commands(line, (_SECONDS[stage],))
            except RepliesInterrupted as end:
                raise RepliesInterrupted([*replies, *end.replies], end.cause) from end
            if find_refusal(letter, replies):
                break
        return replies

    async def _reset(self, protocol: SMTPProtocol, refusal: MailRefused, *, body_awaited: bool) -> None:
        """Reset the connection for the next mail, or close it.

        A server that refused every recipient and still waits for a body gets a single dot: an empty mail without
        recipients (RFC 2920, 3.1).
        """
        try:
            if refusal.reply.code == _CLOSES:
                self.close()
                return
            if body_awaited:
                await protocol.send_commands(b".\r\n", (_SECONDS["dot"],))
            (reply,) = await protocol.send_commands(b"RSET\r\n", (_SECONDS["mail"],))
            if not is_completion(reply):
                self.close()
        except RepliesInterrupted:
            self.close()
        except BaseException:
            self.close()
            raise

    async def _send_body(
        self, protocol: SMTPProtocol, body: bytes, begin_effect: Callable[[], Awaitable[bool]]
    ) -> bytes:
        """Send the body and store the mark; return the bytes to write before the dot.

        A long body has left this process when the mark is stored, so that the uncertain time is short.
        """
        try:
            if len(body) > _ONE_FLIGHT:
                await self._send_chunks(protocol, body)
                body = b""
            if not await begin_effect():
                raise LeaseLost
            await protocol.drain(_CHUNK_SECONDS)
            self._raise_early_reply(protocol)
            if not protocol.quiet:
                raise ConnectionBroken("data", ConnectionResetError("the server closed the connection"))
        except RepliesInterrupted as end:
            raise ConnectionBroken("data", end.cause) from end
        return body

    async def _send_chunks(self, protocol: SMTPProtocol, body: bytes) -> None:
        protocol.limit_write_buffer(strictly=True)
        for start in range(0, len(body), _CHUNK):
            protocol.write(body[start : start + _CHUNK])
            await protocol.drain(_CHUNK_SECONDS)
            self._raise_early_reply(protocol)
        protocol.limit_write_buffer(strictly=False)

    def _raise_early_reply(self, protocol: SMTPProtocol) -> None:
        """Close and raise if the server replied before the dot; it would take the next command for body.

        Raises:
            MailRefused: the server refused the mail in the middle of its body.
            ConnectionBroken: the early reply is not a refusal.
        """
        if (early := protocol.unsolicited) is None:
            return
        self.close()
        if not is_refusal(early):
            raise ConnectionBroken("data", EOFError(f"the server replied {early.code} before the dot"))
        raise MailRefused(Refusal("dot", early.code, early.text))

    async def _send_dot(self, protocol: SMTPProtocol, rest: bytes, *, held: bool) -> SMTPReply:
        began = monotonic()
        try:
            (reply,) = await protocol.send_commands(rest + b".\r\n", (_SECONDS["dot"],), held=held)
        except RepliesInterrupted as end:
            raise DeliveryUncertain(describe_error(end.cause)) from end
        self._took = self._took[0], monotonic() - began
        STAGE_TIMES["dot"].observe(self._took[1])
        if is_completion(reply):
            return reply
        if not is_refusal(reply):
            # 354 again: the mail's outcome is unknown, and later replies can no longer be matched.
            self.close()
            raise DeliveryUncertain(f"the reply {reply.code} is neither an acceptance nor a refusal")
        if reply.code == _CLOSES:
            self.close()
        raise MailRefused(Refusal("dot", reply.code, reply.text))


def _turn_lost(end: RepliesInterrupted, *, dropped: bool) -> TurnLost:
    """Return the loss of a mail's turn behind another.

    Args:
        dropped: True if it was dropped because the mail before got no reply in time.
    """
    if end.replies:
        return TurnLost(refused=end.replies[0].code != _CLOSES)
    return TurnLost(refused=isinstance(end.cause, TimeoutError) and not dropped)
