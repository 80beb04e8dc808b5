"""One SMTP connection, driven stage by stage.

    MAIL, RCPT each, DATA  ->  body, mark, dot  ->  reply
    (one round trip)           (one round trip)

Where the server offers PIPELINING (RFC 2920) the commands leave together, else one by one. The mark is durable
before the dot is written. A long body is on its way while the mark is made; a short one, which arrives in one
flight anyway, leaves with its dot in one write. So a mail costs two round trips and two writes.

If another mail waits for a connection when the dot is due, and this server has been quick, that mail takes
over at once: its commands leave in one write with the dot (RFC 2920, 3.1: the content may begin a group), and its
replies come with the dot's. So on a busy connection a mail costs one round trip and one write. What happens to the
mail before, or to the connection, until it is its turn costs the one behind nothing: it has made no mark, and
takes another connection.

The stage is known, each has the time that RFC 5321 (4.5.3.2) gives it, and the reply to the dot has ten minutes.
Whatever goes wrong, cancellation included, closes the connection: a reply that comes late must never be taken
for the next mail's.
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
    is_go_ahead,
    is_no,
    is_yes,
    refused_recipients,
    write_body,
    write_commands,
)
from worker.mail.smtp.errors import ConnectionBroken, DeliveryUncertain, LeaseLost, MailRefused, TurnLost
from worker.mail.smtp.opening_fault import describe
from worker.mail.smtp.protocol import RepliesInterrupted, SMTPProtocol, SMTPReply
from worker.mail.smtp.reply import Refusal, Stage
from worker.mail.smtp.server import Server
from worker.mail.smtp.transport import open_wire

_SECONDS: Final[dict[Stage, float]] = {"mail": 300, "rcpt": 300, "data": 120, "dot": 600}
"""RFC 5321, 4.5.3.2."""
_CHUNK_SECONDS: Final = 180.0
_CHUNK: Final = 64 * 1024
_ONE_FLIGHT: Final = 14_600
"""What TCP sends before the first acknowledgement: ten segments (RFC 6928)."""
_QUIT_SECONDS: Final = 2.0
_BEHIND_SECONDS: Final = 10.0
"""For the reply to MAIL behind another mail, once that one has its own."""
_QUICK: Final = 0.25
"""Seconds for the envelope, and for the dot, of the last mail up to which another one is put behind the next: they
wait for one another, as a server may keep its replies until it has answered all that it was sent."""
_CLOSES: Final = 421


class SMTPConnection:
    """A connection to a mail server. One mail at a time, and one right behind it; closed on any doubt.

    Args:
        server: where to.
        on_end: called once when an open connection has ended, whoever ended it.

    Attributes:
        sent: how many mails it carried.
    """

    def __init__(self, server: Server, on_end: Callable[[], None] = lambda: None) -> None:
        self._server = server
        self._on_end = on_end
        self._wire: SMTPProtocol | None = None
        self._extensions: Mapping[str, str] = {}
        self._took = math.inf, math.inf
        self.sent = 0

    @property
    def awaited(self) -> bool:
        """Whether a reply is still to come."""
        return self._wire is not None and self._wire.awaited

    @property
    def usable(self) -> bool:
        """Whether it is open, no reply is still to come, and the server has said nothing since the last mail."""
        return self._wire is not None and self._wire.quiet and not self.awaited

    async def open(self) -> None:
        """Connect, greet, encrypt, log in.

        Raises:
            Refused, Broken: as `worker.mail.smtp.transport.open_wire`.
        """
        self._wire, self._extensions = await open_wire(self._server, self._on_end)

    async def send(
        self,
        letter: Letter,
        begin_effect: Callable[[], Awaitable[bool]],
        pass_on: Callable[[], bool] = lambda: False,
    ) -> Acceptance:
        """Hand over one mail; the reply to the one before may still be to come.

        Args:
            begin_effect: makes the durable mark; awaited after the body and before the dot.
            pass_on: lets another mail follow at once, if there is one; asked when the dot is due.

        Returns:
            The server's words, and the recipients whom it refused although it took the mail for others.

        Raises:
            Refused, Malformed, Broken, Unfollowed, Uncertain, LeaseLost: see `worker.mail.smtp.errors`.
        """
        commands, body = write_commands(letter, self._extensions), write_body(letter.content)
        wire = self._wire
        if wire is None:
            raise ConnectionBroken("connect", ConnectionError("not open"))
        followed = False
        try:
            began = monotonic()
            answers = await self._envelope(wire, letter, commands)
            self._took = monotonic() - began, self._took[1]
            rest = await self._body(wire, body, begin_effect)
            followed = self._pipelines and max(self._took) < _QUICK and pass_on()
            text = await self._dot(wire, rest, held=followed)
        except MailRefused:
            raise  # the connection is in order, or has been closed
        except BaseException:
            if not (followed or wire.ending):  # else it is another mail's, or ends with the reply to one
                self.close()
            raise
        self.sent += 1
        return Acceptance(text, refused_recipients(letter, answers) if len(letter.recipients) > 1 else {})

    def close(self) -> None:
        """Close at once, without a QUIT."""
        if self._wire is not None:
            self._wire.abort()

    def retire(self) -> None:
        """Close it, but not before the reply that another mail waits for."""
        if self._wire is not None:
            self._wire.end_when_answered()

    async def quit(self) -> None:
        """Close politely; a server that does not answer is left."""
        if self._wire is not None:
            with contextlib.suppress(RepliesInterrupted):
                await self._wire.ask(b"QUIT\r\n", (_QUIT_SECONDS,))
            self._wire.abort()

    # One mail

    async def _envelope(self, wire: SMTPProtocol, letter: Letter, commands: Commands) -> list[SMTPReply]:
        """All that goes before the body; returns when somebody will get it and the server waits for it.

        What a server says to MAIL right behind another mail may be about that order, so that a no does not count.
        """
        behind = wire.awaited
        seconds = [_SECONDS[stage] for stage in commands.stages]
        try:
            if not self._pipelines:
                answers = await self._one_by_one(wire, letter, commands)
            elif behind:
                answers = await wire.ask(b"".join(commands.lines), [_BEHIND_SECONDS, *seconds[1:]])
            else:
                answers = await wire.ask(b"".join(commands.lines), seconds)
        except RepliesInterrupted as end:
            if behind and not (end.answers and is_yes(end.answers[0])):
                raise _unfollowed(end, let_go=wire.ending) from end
            self.close()
            if refusal := find_refusal(letter, end.answers):
                raise refusal from None
            raise ConnectionBroken(commands.stages[len(end.answers)], end.cause) from end
        if behind and not is_yes(answers[0]):
            self.close()
            raise TurnLost(refused=answers[0].code != _CLOSES)
        if refusal := find_refusal(letter, answers):
            await self._abandon(wire, refusal, body_awaited=is_go_ahead(answers[-1]))
            raise refusal
        return answers

    @property
    def _pipelines(self) -> bool:
        return "pipelining" in self._extensions

    async def _one_by_one(self, wire: SMTPProtocol, letter: Letter, commands: Commands) -> list[SMTPReply]:
        answers: list[SMTPReply] = []
        for line, stage in zip(commands.lines, commands.stages, strict=True):
            try:
                answers += await wire.ask(line, (_SECONDS[stage],))
            except RepliesInterrupted as end:
                raise RepliesInterrupted([*answers, *end.answers], end.cause) from end
            if find_refusal(letter, answers):
                break
        return answers

    async def _abandon(self, wire: SMTPProtocol, refusal: MailRefused, *, body_awaited: bool) -> None:
        """Bring the connection back into order for the next mail, or close it.

        A server that refused everybody and waits for a body nevertheless gets one dot: a mail of nothing, to
        nobody (RFC 2920, 3.1).
        """
        try:
            if refusal.reply.code == _CLOSES:
                self.close()
                return
            if body_awaited:
                await wire.ask(b".\r\n", (_SECONDS["dot"],))
            (answer,) = await wire.ask(b"RSET\r\n", (_SECONDS["mail"],))
            if not is_yes(answer):
                self.close()
        except RepliesInterrupted:
            self.close()
        except BaseException:
            self.close()
            raise

    async def _body(self, wire: SMTPProtocol, body: bytes, begin_effect: Callable[[], Awaitable[bool]]) -> bytes:
        """The body and the mark; returns what is left to be written before the dot.

        A long body has left this process when the mark is made, so that the time of doubt is short.
        """
        try:
            if len(body) > _ONE_FLIGHT:
                await self._chunks(wire, body)
                body = b""
            if not await begin_effect():
                raise LeaseLost
            await wire.drain(_CHUNK_SECONDS)
            self._heed_early_reply(wire)
            if not wire.quiet:
                raise ConnectionBroken("data", ConnectionResetError("the server has hung up"))
        except RepliesInterrupted as end:
            raise ConnectionBroken("data", end.cause) from end
        return body

    async def _chunks(self, wire: SMTPProtocol, body: bytes) -> None:
        wire.hold_nothing_back(strictly=True)
        for start in range(0, len(body), _CHUNK):
            wire.write(body[start : start + _CHUNK])
            await wire.drain(_CHUNK_SECONDS)
            self._heed_early_reply(wire)
        wire.hold_nothing_back(strictly=False)

    def _heed_early_reply(self, wire: SMTPProtocol) -> None:
        """A server may refuse a mail in the middle of its body; without a dot, the next command would be body."""
        if (early := wire.unasked) is None:
            return
        self.close()
        if not is_no(early):
            raise ConnectionBroken("data", EOFError(f"{early.code} before the dot"))
        raise MailRefused(Refusal("dot", early.code, early.text))

    async def _dot(self, wire: SMTPProtocol, rest: bytes, *, held: bool) -> str:
        began = monotonic()
        try:
            (answer,) = await wire.ask(rest + b".\r\n", (_SECONDS["dot"],), held=held)
        except RepliesInterrupted as end:
            raise DeliveryUncertain(describe(end.cause)) from end
        self._took = self._took[0], monotonic() - began
        if is_yes(answer):
            return answer.text
        if not is_no(
            answer
        ):  # 354 once more: what became of the mail it does not say, and whose the next is nobody knows
            self.close()
            raise DeliveryUncertain(f"{answer.code} is no answer to it")
        if answer.code == _CLOSES:
            self.close()
        raise MailRefused(Refusal("dot", answer.code, answer.text))


def _unfollowed(end: RepliesInterrupted, *, let_go: bool) -> TurnLost:
    """Why a mail behind another did not get its turn; if it was let go, the one before took too long."""
    if end.answers:
        return TurnLost(refused=end.answers[0].code != _CLOSES)
    return TurnLost(refused=isinstance(end.cause, TimeoutError) and not let_go)
