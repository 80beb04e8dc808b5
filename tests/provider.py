"""A mail provider with limits, as Microsoft 365 has them: a fake server that counts everything.

It takes AUTH PLAIN over plain text, since it listens on loopback only. What it refuses it refuses in the words of
the real one. What happened is kept: mails by Message-ID, logins, refusals, and the most connections at once.
"""

import asyncio
import base64
import re
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_GREETING = b"220 provider.example ready\r\n"
_OFFER = b"250-provider.example\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 ENHANCEDSTATUSCODES\r\n"
TOO_MANY = b"432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending\r\n"
TOO_FAST = b"432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded\r\n"
_DAY_OVER = (
    b"554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message\r\n"
)
_REFUSED = b"535 5.7.139 Authentication unsuccessful, the user credentials were incorrect\r\n"


@dataclass(kw_only=True)
class Provider:
    """The server, listening from `async with` to its end.

    Attributes:
        password: what it takes; "" for a server without logins.
        connections, rate, window, day: its limits; 0 for none. `rate` mails in any `window` seconds.
        seconds: how long it takes for a mail.
        silent: how many mails it takes in and then drops the line without a word.
        word: while it is not set, every mail waits for it behind its final dot.
    """

    password: str = ""
    connections: int = 0
    rate: int = 0
    window: float = 1.0
    day: int = 0
    seconds: float = 0.0
    silent: int = 0
    word: asyncio.Event | None = None
    port: int = 0
    mails: Counter[str] = field(default_factory=Counter)
    recipients: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    headers: list[str] = field(default_factory=list)
    logins: list[bool] = field(default_factory=list)
    refusals: Counter[bytes] = field(default_factory=Counter)
    most_at_once: int = 0
    _open: set["asyncio.StreamWriter"] = field(default_factory=set)
    _times: deque[float] = field(default_factory=deque)
    _server: asyncio.Server | None = None

    @property
    def accepted(self) -> int:
        """How many mails it took, each copy counted."""
        return sum(self.mails.values())

    @property
    def duplicates(self) -> int:
        """How many of them were second copies."""
        return sum(count - 1 for count in self.mails.values())

    @property
    def limits_hit(self) -> int:
        """How often a limit made it refuse."""
        return sum(self.refusals[reply] for reply in (TOO_MANY, TOO_FAST, _DAY_OVER))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.most_at_once = max(self.most_at_once, len(self._open))
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        crowded = bool(self.connections) and len(self._open) > self.connections
        writer.write(_GREETING)
        to = ""
        while line := await reader.readline():
            word = line[:4].upper().strip()
            if word == b"QUIT":
                writer.write(b"221 bye\r\n")
                return
            if word == b"DATA":
                writer.write(b"354 go ahead\r\n")
                if not await self._mail(reader, writer, to):
                    return
                continue
            if word == b"RCPT":
                to = line.decode().partition("<")[2].partition(">")[0]
            self._say(writer, self._answer(word, line, crowded=crowded))

    def _answer(self, word: bytes, line: bytes, *, crowded: bool) -> bytes:
        if word == b"EHLO":
            return _OFFER
        if word == b"AUTH":
            given = base64.b64decode(line.split()[2]).split(b"\0")[2].decode()
            self.logins.append(given == self.password)
            return b"235 2.7.0 ok\r\n" if self.logins[-1] else _REFUSED
        if word == b"MAIL" and crowded:
            return TOO_MANY
        return b"250 2.1.0 ok\r\n"

    async def _mail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: str) -> bool:
        """Whether the line stays."""
        body = (await reader.readuntil(b"\r\n.\r\n")).decode()
        await asyncio.sleep(self.seconds)
        if self.word is not None:
            await self.word.wait()
        if refusal := self._refusal():
            self._say(writer, refusal)
            return True
        found = re.search(r"(?im)^message-id: *(\S+)", body)
        message_id = found[1] if found else "none"
        self._times.append(time.monotonic())
        self.mails[message_id] += 1
        self.recipients[to] += 1
        self.headers.append(body.partition("\r\n\r\n")[0])
        if self.silent:
            self.silent -= 1
            self.dropped[message_id] += 1
            return False
        writer.write(f"250 2.0.0 queued as {self.accepted}\r\n".encode())
        return True

    def _refusal(self) -> bytes | None:
        if self.day and self.accepted >= self.day:
            return _DAY_OVER
        now = time.monotonic()
        while self._times and now - self._times[0] >= self.window:
            self._times.popleft()
        return TOO_FAST if self.rate and len(self._times) >= self.rate else None

    def _say(self, writer: asyncio.StreamWriter, reply: bytes) -> None:
        if reply[:1] in b"45":
            self.refusals[reply] += 1
        writer.write(reply)
