"""The octets of one SMTP connection once it is logged in: commands out, replies in, in their order.

Replies carry no number, so order is all there is: several commands may leave in one write (RFC 2920), and the
n-th reply is the answer to the n-th of them. A question may be asked while the one before is still to be answered;
if that one is not answered soon, the later is let go, and the connection ends with the earlier's answer. A wire on
which a reply was overdue, or whose reader was cancelled, must never be used again: it ends. A reply that nobody
asked for is kept in ``unasked``: a server may refuse a mail in the middle of its body, or take its leave while the
connection is idle.

What can go wrong is one error, `RepliesInterrupted`: the connection ended, a reply was overdue, or what came is no
reply. It holds the answers that came before. Replies are limited to 32 KiB, so that nobody fills the memory.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

_LONGEST_REPLY: Final = 32 * 1024
_LOWEST_CODE, _HIGHEST_CODE = 200, 599
_PATIENCE: Final = 2.0
"""Seconds for which a question waits for its turn."""


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and there are four for each mail
class SMTPReply:
    """One reply: its code, and its lines without the code, joined by line feeds."""

    code: int
    text: str = field(repr=False)


class RepliesInterrupted(Exception):
    """Not all answers came.

    Attributes:
        answers: those that did.
        cause: why no more did.
    """

    def __init__(self, answers: Sequence[SMTPReply], cause: BaseException) -> None:
        super().__init__(str(cause))
        self.answers = answers
        self.cause = cause


@dataclass(slots=True, eq=False)
class _Question:
    """What was asked: how long each reply may take, those that have come, and whether all have."""

    seconds: Sequence[float]
    heard: asyncio.Future[None]
    answers: list[SMTPReply] = field(default_factory=list)


class SMTPProtocol(asyncio.Protocol):
    """Asks and waits.

    Args:
        transport: open and idle; from now on what comes is handed to this object.
        on_end: called once, when the connection has ended, whoever ended it.

    Attributes:
        ended: why it is over; None as long as it is open.
        ending: it ends with the next answer to somebody who waits already.
        unasked: the last reply that nobody had asked for.
    """

    def __init__(self, transport: asyncio.Transport, on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._on_end = on_end
        self._rest = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._heard = 0
        self._questions: deque[_Question] = deque()
        self._held = b""
        self._deadline = math.inf
        self._patient_until = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._flowing: asyncio.Future[None] | None = None
        self.ended: BaseException | None = None
        self.ending = False
        self.unasked: SMTPReply | None = None
        transport.set_protocol(self)

    @property
    def quiet(self) -> bool:
        """Whether it is open and nothing has come that nobody asked for."""
        open_ = self.ended is None and not self.ending and not self._transport.is_closing()
        return open_ and self.unasked is None

    @property
    def awaited(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._questions)

    async def ask(self, octets: bytes, seconds: Sequence[float], *, held: bool = False) -> list[SMTPReply]:
        """Send commands, and wait for as many replies as there are times. If it is not quiet, nothing is sent.

        Args:
            seconds: how long each reply may take, counted from the one before it.
            held: they leave with the next ones, or in a moment.

        Raises:
            Interrupted: not all of them came.
        """
        if not self.quiet:
            early = [self.unasked] if self.unasked else []
            raise RepliesInterrupted(early, self.ended or EOFError("the server spoke unasked"))
        self._send(octets, held=held)
        question = _Question(seconds, self._loop.create_future())
        self._questions.append(question)
        if len(self._questions) == 1:
            self._expect_within(seconds[0])
        else:
            self._patient_until = self._loop.time() + _PATIENCE
            self._see_to_timer()
        try:
            await question.heard
        except asyncio.CancelledError:
            self._leave(question)
            raise
        return question.answers

    def write(self, octets: bytes) -> None:
        """Send what is not answered yet; see `drain`."""
        self._transport.write(octets)

    async def drain(self, seconds: float) -> None:
        """Wait until the other side takes more.

        Raises:
            Interrupted: it did not, or the connection ended.
        """
        if self.ended is None and self._flowing is not None:
            timer = self._loop.call_later(seconds, self._overdue)
            try:
                await self._flowing
            finally:
                timer.cancel()
        if self.ended is not None:
            raise RepliesInterrupted([], self.ended)

    def hold_nothing_back(self, *, strictly: bool) -> None:
        """Strictly: `drain` waits until the kernel has taken every octet but one, not only most of them.

        None at all cannot be asked for: with a limit of 0, asyncio's TLS counts an empty buffer as full, and never
        tells that it is empty.
        """
        self._transport.set_write_buffer_limits(1 if strictly else None)

    def end_when_answered(self) -> None:
        """End it, but not before the answer to who asked first and still waits."""
        if self._questions:
            self.ending = True
        else:
            self.abort()

    def abort(self) -> None:
        """End it at once; what was not sent yet is not sent."""
        self._end(ConnectionAbortedError("closed here"))

    # What the event loop calls

    def data_received(self, data: bytes) -> None:
        """Replies, or parts of them."""
        *lines, self._rest = (self._rest + data if self._rest else data).split(b"\n")
        known = self._heard
        for line in lines:
            self._line(line)
        if self._size + len(self._rest) > _LONGEST_REPLY:
            self._end(ValueError("the server's reply is too long"))
        elif self._heard > known and self._questions:
            question = self._questions[0]
            self._expect_within(question.seconds[len(question.answers)])

    def eof_received(self) -> bool:
        """The server will say no more: asyncio closes the connection."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """It is closed."""
        self._end(error or ConnectionResetError("the server closed the connection"))

    def pause_writing(self) -> None:
        """The other side is slow."""
        self._flowing = self._loop.create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._flowing is not None and not self._flowing.done():
            self._flowing.set_result(None)
        self._flowing = None

    # Its own

    def _line(self, line: bytes) -> None:
        code = line[:3]
        self._size += len(line)
        if self._size > _LONGEST_REPLY or not (code.isdigit() and _LOWEST_CODE <= int(code) <= _HIGHEST_CODE):
            self._end(ValueError("what the server says is no reply"))
            return
        said = line[4:].strip()
        if line[3:4] == b"-":
            self._lines.append(said)
            return
        if self._lines:  # as hardly any reply has
            said = b"\n".join([*self._lines, said])
            self._lines.clear()
        self._size = 0
        self._answer(SMTPReply(int(code), said.decode("utf-8", "replace")))

    def _answer(self, answer: SMTPReply) -> None:
        self._heard += 1
        if not self._questions:
            self.unasked = answer
            return
        question = self._questions[0]
        question.answers.append(answer)
        if len(question.answers) == len(question.seconds):
            self._questions.popleft()
            self._deadline = self._patient_until = math.inf
            if not question.heard.done():
                question.heard.set_result(None)
            if self.ending:
                self.abort()

    def _send(self, octets: bytes, *, held: bool) -> None:
        self._held += octets
        if held:
            self._loop.call_soon(self._release)
        else:
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, b""
        if held and self.ended is None:
            self._transport.write(held)

    def _leave(self, question: _Question) -> None:
        """Nobody reads its answers: then nobody can tell whose the next ones are."""
        if question not in self._questions:
            return  # all had come
        if question is self._questions[0]:
            self.abort()
        else:
            self._let_go(ConnectionAbortedError("closed here"))

    def _let_go(self, cause: BaseException) -> None:
        """All but the first, who has been waiting longest; it ends with that one's answer."""
        self.ending = True
        self._patient_until = math.inf
        while len(self._questions) > 1:
            _fail(self._questions.pop(), cause)

    def _expect_within(self, seconds: float) -> None:
        """One timer for many replies: it is moved only when it would ring too late."""
        self._deadline = self._loop.time() + seconds
        self._see_to_timer()

    def _see_to_timer(self) -> None:
        at = min(self._deadline, self._patient_until)
        if self._timer is None or self._timer.when() > at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._deadline <= now:
            self._overdue()
            return
        if self._patient_until <= now:
            self._let_go(TimeoutError("the mail before it takes too long"))
        if self._deadline < math.inf:
            self._see_to_timer()

    def _overdue(self) -> None:
        self._end(TimeoutError("the server takes too long"))

    def _end(self, cause: BaseException) -> None:
        if self.ended is not None:
            return
        self.ended = cause
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        while self._questions:
            _fail(self._questions.popleft(), cause)
        self.resume_writing()
        self._on_end()


def _fail(question: _Question, cause: BaseException) -> None:
    if not question.heard.done():
        question.heard.set_exception(RepliesInterrupted(question.answers, cause))
        question.heard.exception()  # its reader may have been cancelled; then nobody reads it, which is no fault
