"""Commands and replies of one SMTP connection after its login, matched by their order.

SMTP replies have no number, so only the order matches them: several commands may leave in one write (RFC 2920),
and the n-th reply belongs to the n-th command. A group of commands may be sent while the group before it still
awaits replies; if those do not come soon, the later group is dropped and the connection ends with the earlier
group's last reply. A connection with an overdue reply, or whose caller was cancelled, ends and is never used
again. A reply without a command is kept in ``unsolicited``: a server may refuse a mail in the middle of its body,
or close an idle connection with 421.

Every failure is one error, `RepliesInterrupted`: the connection ended, a reply was overdue, or the server's bytes
are not a reply. It holds the replies that came before. Replies are limited to 32 KiB, to bound the memory.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

_LONGEST_REPLY: Final = 32 * 1024
_CODES: Final = {b"%d" % code: code for code in range(200, 600)}
"""The codes with which a reply may begin."""
_PATIENCE: Final = 2.0
"""Seconds for which a group of commands waits for the replies to the group before it."""


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and there are four for each mail
class SMTPReply:
    """SMTP reply: its code, and its lines without the code, joined by line feeds."""

    code: int
    text: str = field(repr=False)


class RepliesInterrupted(Exception):
    """The replies to a group of commands were interrupted.

    Attributes:
        replies: the replies that came.
        cause: the error that ended the connection or the wait.
    """

    def __init__(self, replies: Sequence[SMTPReply], cause: BaseException) -> None:
        super().__init__(str(cause))
        self.replies = replies
        self.cause = cause


@dataclass(slots=True, eq=False)
class _CommandGroup:
    """Group of commands that awaits its replies.

    Attributes:
        seconds: timeout of each reply.
        finished: set when all replies have come or the group has failed.
        replies: the replies that have come.
    """

    seconds: Sequence[float]
    finished: asyncio.Future[None]
    replies: list[SMTPReply]


class SMTPProtocol(asyncio.Protocol):
    """Sender of commands and receiver of replies on one connection.

    Args:
        transport: an open, idle transport, whose protocol this object becomes.
        on_end: called once when the connection has ended, at either end.

    Attributes:
        ended: the cause of the end; None while the connection is open.
        ending: True if the connection ends with the last reply to the group that already waits.
        unsolicited: the last reply without a command.
    """

    def __init__(self, transport: asyncio.Transport, on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._on_end = on_end
        self._rest = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._groups: deque[_CommandGroup] = deque()
        self._held = b""
        self._deadline = math.inf
        self._patient_until = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._writable: asyncio.Future[None] | None = None
        self.ended: BaseException | None = None
        self.ending = False
        self.unsolicited: SMTPReply | None = None
        transport.set_protocol(self)

    @property
    def quiet(self) -> bool:
        """True if the connection is open and no unsolicited reply has come."""
        if self.ended is not None or self.ending or self.unsolicited is not None:
            return False
        return not self._transport.is_closing()

    @property
    def awaited(self) -> bool:
        """True if a reply is still to come."""
        return bool(self._groups)

    async def send_commands(
        self, commands: bytes, seconds: Sequence[float], *, held: bool = False
    ) -> list[SMTPReply]:
        """Send commands and return their replies, one for each timeout. If it is not quiet, nothing is sent.

        Args:
            commands: the commands as bytes.
            seconds: timeout of each reply, counted from the reply before it.
            held: delay the write until the next commands or the next iteration of the event loop, to send both
                together.

        Raises:
            RepliesInterrupted: a reply did not come.
        """
        if not self.quiet:
            early = [self.unsolicited] if self.unsolicited else []
            raise RepliesInterrupted(early, self.ended or EOFError("the server sent an unsolicited reply"))
        self._send(commands, held=held)
        group = _CommandGroup(seconds, self._loop.create_future(), [])
        self._groups.append(group)
        if len(self._groups) == 1:
            self._expect_within(seconds[0])
        else:
            self._patient_until = self._loop.time() + _PATIENCE
            self._set_timer()
        try:
            await group.finished
        except asyncio.CancelledError:
            self._drop(group)
            raise
        return group.replies

    def write(self, content: bytes) -> None:
        """Send bytes of the body, which get no reply; see `drain`."""
        self._transport.write(content)

    async def drain(self, seconds: float) -> None:
        """Wait until the transport accepts more bytes.

        Raises:
            RepliesInterrupted: it did not in time, or the connection ended.
        """
        if self.ended is None and self._writable is not None:
            timer = self._loop.call_later(seconds, self._overdue)
            try:
                await self._writable
            finally:
                timer.cancel()
        if self.ended is not None:
            raise RepliesInterrupted([], self.ended)

    def limit_write_buffer(self, *, strictly: bool) -> None:
        """Set the write buffer's limit: strictly, `drain` waits until the kernel has all bytes but one.

        A limit of 0 does not work: asyncio's TLS then counts an empty buffer as full and never reports it as
        empty.
        """
        self._transport.set_write_buffer_limits(1 if strictly else None)

    def end_after_reply(self) -> None:
        """End the connection after the last reply to the first group that waits, or at once if none does."""
        if self._groups:
            self.ending = True
        else:
            self.abort()

    def abort(self) -> None:
        """End the connection at once and drop unsent bytes."""
        self._end(ConnectionAbortedError("this client closed the connection"))

    # Called by the event loop

    def data_received(self, data: bytes) -> None:
        """Add received bytes, which hold replies or parts of them."""
        *lines, self._rest = (self._rest + data if self._rest else data).split(b"\n")
        replies: list[SMTPReply] = []
        fault = None
        try:
            for line in lines:
                self._read_line(line, replies)
            self._check_length(len(self._rest))
        except ValueError as error:
            fault = error
        if replies:
            self._add_replies(replies)
        if fault is not None:
            self._end(fault)

    def eof_received(self) -> bool:
        """Let asyncio close the connection when the server has closed its side."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """End when the transport is closed."""
        self._end(error or ConnectionResetError("the server closed the connection"))

    def pause_writing(self) -> None:
        """Let `drain` wait, because the write buffer is full."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let `drain` return, because the write buffer has room."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # Private

    def _read_line(self, line: bytes, replies: list[SMTPReply]) -> None:
        """Add the reply that ends with this line.

        Raises:
            ValueError: it is not a line of a reply, or the reply is too long.
        """
        code = _CODES.get(line[:3])
        if code is None:
            raise ValueError("the server's reply does not begin with a code from 200 to 599")
        text = line[4:].strip()
        if self._lines or line[3:4] == b"-":  # rare: most replies have one line
            self._size += len(line)
            self._check_length(0)
            self._lines.append(text)
            if line[3:4] == b"-":
                return
            text = b"\n".join(self._lines)
            self._lines.clear()
            self._size = 0
        elif len(line) > _LONGEST_REPLY:
            self._check_length(len(line))
        replies.append(SMTPReply(code, text.decode("utf-8", "replace")))

    def _check_length(self, more: int) -> None:
        if self._size + more > _LONGEST_REPLY:
            raise ValueError(f"the server's reply is longer than {_LONGEST_REPLY} bytes")

    def _add_replies(self, replies: list[SMTPReply]) -> None:
        while replies and self._groups:
            group = self._groups[0]
            missing = len(group.seconds) - len(group.replies)
            group.replies += replies[:missing]
            replies = replies[missing:]
            if len(group.replies) == len(group.seconds):
                self._end_first_group()
        if replies:
            self.unsolicited = replies[-1]
        if self._groups:
            group = self._groups[0]
            self._expect_within(group.seconds[len(group.replies)])

    def _end_first_group(self) -> None:
        group = self._groups.popleft()
        self._deadline = self._patient_until = math.inf
        if not group.finished.done():
            group.finished.set_result(None)
        if self.ending:
            self.abort()

    def _send(self, content: bytes, *, held: bool) -> None:
        self._held = self._held + content if self._held else content
        if held:
            self._loop.call_soon(self._release)
        else:
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, b""
        if held and self.ended is None:
            self._transport.write(held)

    def _drop(self, group: _CommandGroup) -> None:
        """Drop a group whose caller was cancelled; its late replies would be taken for those of the next."""
        if group not in self._groups:
            return  # all its replies had come
        if group is self._groups[0]:
            self.abort()
        else:
            self._fail_later_groups(ConnectionAbortedError("this client closed the connection"))

    def _fail_later_groups(self, cause: BaseException) -> None:
        """Fail all groups but the first; the connection ends with the first group's last reply."""
        self.ending = True
        self._patient_until = math.inf
        while len(self._groups) > 1:
            _fail(self._groups.pop(), cause)

    def _expect_within(self, seconds: float) -> None:
        """Set the timeout of the next reply. One timer serves all: it moves only if it would fire too late."""
        self._deadline = self._loop.time() + seconds
        if self._timer_at > self._deadline:
            self._set_timer()

    def _set_timer(self) -> None:
        at = min(self._deadline, self._patient_until)
        if self._timer_at > at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_at = self._loop.call_at(at, self._on_timer), at

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, math.inf
        now = self._loop.time()
        if self._deadline <= now:
            self._overdue()
            return
        if self._patient_until <= now:
            self._fail_later_groups(TimeoutError("timeout: no reply to the previous mail"))
        if self._deadline < math.inf:
            self._set_timer()

    def _overdue(self) -> None:
        self._end(TimeoutError("timeout: the server does not respond"))

    def _end(self, cause: BaseException) -> None:
        if self.ended is not None:
            return
        self.ended = cause
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        while self._groups:
            _fail(self._groups.popleft(), cause)
        self.resume_writing()
        self._on_end()


def _fail(group: _CommandGroup, cause: BaseException) -> None:
    if not group.finished.done():
        group.finished.set_exception(RepliesInterrupted(group.replies, cause))
        group.finished.exception()  # marks it as retrieved: its caller may have been cancelled
