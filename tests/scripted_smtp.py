"""A small SMTP server that does exactly what a test says, on a real socket.

    async with ScriptedSmtp() as server:               # a well-behaved one with PIPELINING
        server.replies["rcpt"] = ["550 5.1.1 nobody"]  # for the next RCPT; then the usual again
        ...
        assert server.mails[0].recipients == ["ana@example.com"]

What it was told is in ``commands``, connection by connection, so that a test can say what must not have been
said. A test that needs another conversation gives a ``talk`` of its own.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

_LONGEST_MAIL = 2**26
_OFFERS = ("PIPELINING", "SIZE 1000000", "ENHANCEDSTATUSCODES")


@dataclass(slots=True)
class Taken:
    """A mail that was answered with 250, or would have been if somebody had still been there."""

    sender: str
    recipients: list[str]
    octets: bytes


@dataclass(slots=True)
class Talk:
    """One connection, for scripts."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    commands: list[str] = field(default_factory=list)
    sender: str = ""
    recipients: list[str] = field(default_factory=list)

    async def say(self, text: str) -> None:
        """A line, or several that go out together."""
        self.writer.write(text.replace("\n", "\r\n").encode() + b"\r\n")
        await self.writer.drain()

    async def hear(self) -> str:
        """A line without its end; remembered as a command."""
        line = (await self.reader.readuntil(b"\r\n")).decode().removesuffix("\r\n")
        self.commands.append(line)
        return line

    async def body(self) -> bytes:
        """All up to the dot, as it was written."""
        octets = b""
        while not (octets.endswith(b"\r\n.\r\n") or octets == b".\r\n"):
            octets += await self.reader.readuntil(b".\r\n")
        return octets.removesuffix(b".\r\n")


@dataclass
class ScriptedSmtp:
    """The server, listening from ``async with`` to its end.

    Attributes:
        offers: what EHLO is answered with.
        replies: by verb (``greeting``, ``ehlo``, ``starttls``, ``auth``, ``mail``, ``rcpt``, ``data``, ``dot``,
            ``rset``), what to say once each instead of the usual; an empty one closes the connection instead.
        before: by verb, what is waited for before the reply; ``body``: before it takes the body.
        context: for TLS; with ``implicit`` from the first octet, else after STARTTLS.
        talk: another conversation instead of the usual one.
        connections: the conversations so far, newest last.
    """

    offers: tuple[str, ...] = _OFFERS
    replies: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    before: dict[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    implicit: bool = False
    talk: Callable[["Talk"], Awaitable[None]] | None = None
    connections: list[Talk] = field(default_factory=list)
    mails: list[Taken] = field(default_factory=list)
    port: int = 0
    open: int = 0
    most_open: int = 0

    async def __aenter__(self) -> Self:
        context = self.context if self.implicit else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context, limit=_LONGEST_MAIL)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def commands(self) -> list[str]:
        """All commands of all connections."""
        return [line for one in self.connections for line in one.commands]

    def refuse(self) -> None:
        """Take no more connections."""
        self._server.close()

    def cut(self) -> None:
        """Close all connections without a word."""
        for one in self.connections:
            one.writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        talk = Talk(reader, writer)
        self.connections.append(talk)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await (self.talk or self._usual)(talk)
        except (asyncio.IncompleteReadError, OSError, EOFError, asyncio.CancelledError):
            return
        finally:
            self.open -= 1
            self._tasks.discard(task)
            talk.writer.transport.abort()

    async def _usual(self, talk: Talk) -> None:
        await self._answer(talk, "greeting", "220 scripted.example ESMTP")
        while True:
            verb = (await talk.hear()).split(" ")[0].upper()
            match verb:
                case "EHLO":
                    await self._answer(talk, "ehlo", _lines("scripted.example", *self.offers))
                case "STARTTLS":
                    if await self._answer(talk, "starttls", "220 2.0.0 go ahead"):
                        assert self.context is not None
                        await talk.writer.start_tls(self.context)
                case "AUTH":
                    await self._answer(talk, "auth", "235 2.7.0 welcome")
                case "QUIT":
                    await talk.say("221 2.0.0 bye")
                    return
                case _:
                    await self._transaction(talk, verb)

    async def _transaction(self, talk: Talk, verb: str) -> None:
        line = talk.commands[-1]
        match verb:
            case "MAIL":
                if await self._answer(talk, "mail", "250 2.1.0 fine"):
                    talk.sender, talk.recipients = line[11:].partition(">")[0], []
            case "RCPT":
                if await self._answer(talk, "rcpt", "250 2.1.5 fine"):
                    talk.recipients.append(line[9:].partition(">")[0])
            case "DATA":
                usual = "354 go ahead" if talk.recipients else "554 5.5.1 no valid recipients"
                if await self._answer(talk, "data", usual):
                    if wait := self.before.get("body"):
                        transport = cast("asyncio.Transport", talk.writer.transport)
                        transport.pause_reading()
                        await wait()
                        transport.resume_reading()
                    taken = Taken(talk.sender, talk.recipients, await talk.body())
                    talk.commands.append(".")
                    if await self._answer(talk, "dot", "250 2.0.0 queued as 4711"):
                        self.mails.append(taken)
            case _:
                await self._answer(talk, "rset", "250 2.0.0 fine")

    async def _answer(self, talk: Talk, verb: str, usual: str) -> bool:
        """Say what is scripted or usual; whether that was a yes."""
        if wait := self.before.get(verb):
            await wait()
        reply = self.replies[verb].pop(0) if self.replies.get(verb) else usual
        if not reply:
            raise EOFError
        await talk.say(reply)
        return reply[0] in "23"


def _lines(*words: str) -> str:
    return "\n".join(f"250{' ' if word == words[-1] else '-'}{word}" for word in words)
