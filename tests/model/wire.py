"""The server as the machine speaks to it: a step is one round trip that brings the reply, the time, and all keys.

Commands go between MULTI and EXEC. The server's clock stands still in there, so the time it tells is the very time
that the script saw, and what it holds is what the script left. The product composes every command: whatever has
`call` can run its scripts, and a client whose calls never wait runs its coroutines without an event loop.
"""

import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import hiredis
import orjson
from redis.exceptions import NoScriptError, ResponseError

from producers.link.script import Script

Value = bytes | dict[str, Any] | set[str] | list[Any]
Keyspace = dict[str, tuple[Value, int]]
"""Every key: what it holds, and when it expires (ms since 1970; -1: never)."""

OURS = b'{"v":'
"""How a payload of ours begins."""

Answer = TypeVar("Answer")

_ROOM = Path(__file__).parent
_PICTURE = Script((_ROOM / "picture.lua").read_text(encoding="utf-8"))


@dataclass(slots=True)
class Wire:
    """One blocking connection.

    Attributes:
        now: the server's time (ms) during the last step.
        first: what the next call does before its own command, at the same instant.
        picture: what the server held after it.
        steps: how many there have been.
    """

    port: int
    now: int = 0
    steps: int = 0
    first: list[tuple[Any, ...]] = field(default_factory=list)
    picture: list[Any] = field(default_factory=list)
    _socket: socket.socket | None = None
    _reader: Any = None

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """What the product's coroutine returns; its calls are answered at once."""
        try:
            work.send(None)
        except StopIteration as ended:
            return ended.value
        raise AssertionError("it waits for something else than this wire")

    async def call(self, *command: Any) -> Any:
        """One command of the product, and the picture after it."""
        first, self.first = self.first, []
        return self.step(*first, command)

    async def execute_command(self, *command: Any) -> Any:
        """As redis-py does it."""
        return await self.call(*command)

    def pipeline(self, *, transaction: bool) -> "Pipeline":
        """As redis-py does it."""
        assert not transaction, "the product asks for none"
        return Pipeline(self)

    def register_script(self, source: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        """As redis-py does it."""

        async def run(keys: Sequence[str], args: Sequence[Any]) -> Any:
            return await Script(source).run(self.call, keys, args)

        return run

    def step(self, *commands: tuple[Any, ...]) -> Any:
        """These commands as one, the time they saw and what they left; the last one's reply."""
        *_, replies = self.ask(("MULTI",), ("TIME",), *commands, _PICTURE.command([], []), ("EXEC",))
        self.steps += 1
        for reply in replies[:-1]:
            if isinstance(reply, Exception):
                raise NoScriptError(str(reply)) if str(reply).startswith("NOSCRIPT") else ResponseError(str(reply))
        self.now = int(replies[0][0]) * 1000 + int(replies[0][1]) // 1000
        self.picture = replies[-1]
        return replies[-2]

    def ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """The replies, in one round trip; errors among them as values."""
        if self._socket is None:
            self._connect()
        assert self._socket is not None
        self._socket.sendall(b"".join(map(hiredis.pack_command, commands)))
        replies: list[Any] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is not False:
                replies.append(reply)
            elif octets := self._socket.recv(1 << 16):
                self._reader.feed(octets)
            else:
                raise ConnectionError("the server closed the connection")
        return replies

    def zset(self, name: str) -> dict[str, int]:
        """One of the picture's sorted sets."""
        for at in range(0, len(self.picture), 4):
            if self.picture[at] == name.encode():
                return _zset(self.picture[at + 3])
        return {}

    def forget_scripts(self) -> None:
        """The server knows none of the product's scripts any more."""
        self.ask(("SCRIPT", "FLUSH"))
        self._learn()

    def _learn(self) -> None:
        """Our own it must know; the product's it has to be told by the product."""
        (digest,) = self.ask(("SCRIPT", "LOAD", _PICTURE._source))
        assert not isinstance(digest, Exception), digest

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self._learn()


def read_keyspace(picture: list[Any]) -> Keyspace:
    """The picture as values. Of what happened, and how far a job is, that it was told; not when."""
    return {
        name.decode(): (_READ[kind](content), expires)
        for name, kind, expires, content in zip(
            picture[::4], picture[1::4], picture[2::4], picture[3::4], strict=True
        )
    }


def _list(content: list[bytes]) -> list[Any]:
    return [_event(one) if one.startswith(b"{") else one for one in content]


class Pipeline:
    """Commands that are asked one after the other at the end."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._commands: list[tuple[Any, ...]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._commands.clear()

    def __getattr__(self, command: str) -> Callable[..., None]:
        return lambda *words: self._commands.append((command.upper(), *words))

    async def execute(self) -> list[Any]:
        """The replies in order."""
        return [await self._wire.call(*one) for one in self._commands]


def _zset(content: list[bytes]) -> dict[str, int]:
    return {name.decode(): int(score) for name, score in zip(content[::2], content[1::2], strict=True)}


def _note(octets: bytes) -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads(octets)
    told.pop("at_ms", None)
    return told


def _event(octets: bytes) -> tuple[int, str]:
    told = orjson.loads(octets)
    return told["attempt"], told["outcome"]


_READ: dict[bytes, Callable[[Any], Value]] = {
    b"string": bytes,
    b"list": _list,
    b"set": lambda content: {one.decode() for one in content},
    b"hash": lambda content: {
        name.decode(): _note(value) if value.startswith(b"{") else value
        for name, value in zip(content[::2], content[1::2], strict=True)
    },
    b"zset": _zset,
}
