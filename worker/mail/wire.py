"""The octets of one SMTP connection once it is logged in: commands out, replies in, in their order.

Replies carry no number, so order is all there is: several commands may leave in one write (RFC 2920), and the
n-th reply is the answer to the n-th of them. A wire on which a reply was overdue, or whose reader was
cancelled, must therefore never be used again; whoever uses it closes it then. A reply that nobody asked for is
kept in ``unasked``: a server may refuse a mail in the middle of its body, or take its leave while the
connection is idle.

What can go wrong is one error, `Interrupted`: the connection ended, a reply was overdue, or what came is no
reply. It holds the answers that came before. Replies are limited to 32 KiB, so that nobody fills the memory.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_LONGEST_REPLY: Final = 32 * 1024
_LOWEST_CODE, _HIGHEST_CODE = 200, 599


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and there are four for each mail
class Answer:
    """One reply: its code, and its lines without the code, joined by line feeds."""

    code: int
    text: str


class Interrupted(Exception):
    """Not all answers came.

    Attributes:
        answers: those that did.
        cause: why no more did.
    """

    def __init__(self, answers: Sequence[Answer], cause: BaseException) -> None:
        super().__init__(str(cause))
        self.answers = answers
        self.cause = cause


class Wire(asyncio.Protocol):
    """Asks and waits. One caller at a time.

    Args:
        transport: open and idle; from now on what comes is handed to this object.
        on_end: called once, when the connection has ended, whoever ended it.

    Attributes:
        ended: why it is over; None as long as it is open.
        unasked: the last reply that nobody had asked for.
    """

    def __init__(self, transport: asyncio.Transport, on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._on_end = on_end
        self._rest = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._answers: list[Answer] = []
        self._seconds: Sequence[float] = ()
        self._asked: asyncio.Future[None] | None = None
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._flowing: asyncio.Future[None] | None = None
        self.ended: BaseException | None = None
        self.unasked: Answer | None = None
        transport.set_protocol(self)

    @property
    def quiet(self) -> bool:
        """Whether it is open and nothing has come that nobody asked for."""
        return self.ended is None and self.unasked is None and not self._transport.is_closing()

    async def ask(self, octets: bytes, seconds: Sequence[float]) -> list[Answer]:
        """Send commands, and wait for as many replies as there are times. If it is not quiet, nothing is sent.

        Args:
            seconds: how long each reply may take, counted from the one before it.

        Raises:
            Interrupted: not all of them came.
        """
        if not self.quiet:
            early = [self.unasked] if self.unasked else []
            raise Interrupted(early, self.ended or EOFError("the server spoke unasked"))
        self._answers, self._seconds = [], seconds
        self._transport.write(octets)
        self._asked = self._loop.create_future()
        self._expect_within(seconds[0])
        try:
            await self._asked
        finally:
            self._deadline = math.inf
            self._asked = None
        return self._answers

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
            raise Interrupted([], self.ended)

    def hold_nothing_back(self, *, strictly: bool) -> None:
        """Strictly: `drain` waits until the kernel has taken every octet, not only most of them."""
        self._transport.set_write_buffer_limits(0 if strictly else None)

    def close(self) -> None:
        """End it, as far as possible with what is written already."""
        self._transport.close()

    def abort(self) -> None:
        """End it at once; what was not sent yet is not sent."""
        self._end(ConnectionAbortedError("closed here"))

    # What the event loop calls

    def data_received(self, data: bytes) -> None:
        """Replies, or parts of them."""
        *lines, self._rest = (self._rest + data if self._rest else data).split(b"\n")
        known = len(self._answers)
        for line in lines:
            self._line(line)
        if self._size + len(self._rest) > _LONGEST_REPLY:
            self._end(ValueError("the server's reply is too long"))
        elif known < len(self._answers) < len(self._seconds):
            self._expect_within(self._seconds[len(self._answers)])

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
        self._answer(Answer(int(code), said.decode("utf-8", "replace")))

    def _answer(self, answer: Answer) -> None:
        if self._asked is None or self._asked.done():
            self.unasked = answer
            return
        self._answers.append(answer)
        if len(self._answers) == len(self._seconds):
            self._asked.set_result(None)

    def _expect_within(self, seconds: float) -> None:
        """One timer for many replies: it is moved only when it would ring too late."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._deadline <= self._loop.time():
            self._overdue()
        elif self._deadline < math.inf:
            self._set_timer()

    def _overdue(self) -> None:
        self._end(TimeoutError("the server takes too long"))

    def _end(self, cause: BaseException) -> None:
        if self.ended is not None:
            return
        self.ended = cause
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(Interrupted(self._answers, cause))
            self._asked.exception()  # its reader may have been cancelled; then nobody reads it, which is no fault
        self.resume_writing()
        self._on_end()
