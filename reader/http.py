"""HTTP/1.1 on one connection (RFC 9112): octets in, requests out; answers in, octets out.

llhttp takes the octets apart; everything here is about order, limits and ends.

    order    answers leave in the order of their requests, one at a time; what comes meanwhile waits, and who sends
             more than a few ahead, or does not take the answers, is read no further and parsed no further
    limits   of a request line, of a head, of a body that nobody wanted, and of the time each may take
    ends     a fault in the octets is answered in its turn, and then the connection ends, because nobody can know
             where the next request would begin

There is no TLS, no HTTP/2 and no upgrade: those are the business of the proxy before the reader.
"""

from __future__ import annotations

import asyncio
import math
import re
import select
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final, cast

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser

from reader import problem
from reader.backlog import Backlog
from reader.memo import memo
from reader.message import WITHOUT_LENGTH, Headers, Request, Response

TARGET_LIMIT: Final = 8 * 1024
HEAD_LIMIT: Final = 32 * 1024
BODY_LIMIT: Final = 64 * 1024
"""Octets. No request here needs a body; a small one is read and forgotten, so that the connection can go on."""
REQUEST_LIMIT: Final = 512 * 1024
"""Of all that has come of a request that is not whole: what llhttp keeps to itself has an end too."""
HEAD_S: Final = 10.0
"""From the first octet of a request, or from the connection's begin, to the end of the request."""
IDLE_S: Final = 75.0
"""Between two requests; longer than proxies keep a connection, so that they end it and not we (60 s mostly)."""
WRITE_S: Final = 60.0
"""For a client that does not take its answer."""
LINGER_S: Final = 2.0
"""For a client that is still sending what has been refused: a connection that is closed before it has been read to
its end is reset, and a reset takes the refusal with it (RFC 9112, 9.6)."""
_AHEAD: Final = 16
"""Requests of a client that may wait for their turn."""
_PIECE: Final = 4 * 1024
"""How much is parsed at once: what has been parsed costs more than as it came."""
_PARSED_BYTES: Final = 1024
"""What a request that waits for its turn costs, about."""
_SMALL: Final = 16 * 1024
"""Less than this is not counted for a connection."""
_JOINED: Final = 16 * 1024
"""A body up to this size is copied behind its head: one write costs less than two."""

_KEPT_OCTETS: Final = 4 * 1024
_KEPT_BYTES: Final = 16 * 1024 * 1024
_KEPT_OVERHEAD: Final = 3 * 1024
"""What a kept request costs beside its texts, each of which it holds three times."""
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [/*]")
"""With a method that llhttp does not know."""
_AUTHORITY_ENDS = re.compile(r"[/?#]")


class HTTPFields:
    """The header fields of a request; names in lower case."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}

    def add(self, name: bytes, value: bytes) -> None:
        """Take in one line of a head."""
        key = _lower(name)
        values = self._values.get(key)
        if values is None:
            self._values[key] = [value.decode("latin-1")]
        else:
            values.append(value.decode("latin-1"))

    def get_all(self, name: str) -> list[str]:
        """All values of one field, in the order they came."""
        return self._values.get(name) or []


class HTTPExchange:
    """One request, and where its answer goes.

    Attributes:
        last: whether the connection ends with the answer.
        refusal: what is wrong with the request, when something is; then the rest means nothing.
    """

    __slots__ = ("_client", "last", "refusal", "request")

    def __init__(
        self, client: ClientConnection, request: Request, *, last: bool, refusal: Response | None = None
    ) -> None:
        self._client = client
        self.request = request
        self.last = last
        self.refusal = refusal

    def respond(self, answer: Response) -> None:
        """Answer it.

        Raises:
            ValueError: a header field would make a line of its own; a fault of ours. Nothing was sent.
        """
        self._client.respond(self, answer)

    def respond_in_parts(self, status: int, headers: Headers) -> Parts:
        """Begin an answer that is sent in parts, and that ends the connection."""
        return self._client.respond_in_parts(self, status, headers)


class ParsedRequests:
    """Requests as they were read before, by their octets: most clients ask for the same again and again.

    The octets of one whole request that stand between two others mean what they meant the last time; so they need
    not be taken apart again.
    """

    def __init__(self) -> None:
        self._requests: dict[bytes, Request] = {}
        self.get = self._requests.get
        self.held = 0

    def keep(self, octets: bytes, request: Request) -> None:
        """Keep one, if it is small; when all are too large together, begin anew."""
        if len(octets) > _KEPT_OCTETS or octets in self._requests:
            return
        weight = 3 * len(octets) + _KEPT_OVERHEAD
        if self.held + weight > _KEPT_BYTES:
            self._requests.clear()
            self.held = 0
        self.held += weight
        self._requests[octets] = request


Serve = Callable[[HTTPExchange], None]
"""Sees to it that the exchange gets one answer, now or later. Must not raise."""


class ClientConnection(asyncio.Protocol):
    """A connection from its begin to its end.

    Args:
        serve: answers requests.
        known: where the connection is listed as long as it is open.
        kept: what all connections have read.
        limit: connections that may be listed; one more is refused.
        backlog: bounds what all connections hold together.

    Attributes:
        deadline: of the event loop's clock; see `expire`.
        served: whether a request was answered on it.

    A client may send a request at the very moment at which its connection is closed, and can only guess whether
    it was served (RFC 9112, 9.3.1). So the end is announced with an answer wherever there is one, what has been
    sent meanwhile is read first, and a silent connection is closed only when nothing has come on it.
    """

    def __init__(
        self, serve: Serve, known: set[ClientConnection], kept: ParsedRequests, limit: int, backlog: Backlog
    ) -> None:
        self._serve = serve
        self._known = known
        self._kept = kept
        self._limit = limit
        self._backlog = backlog
        self._held = False
        self._unread = b""
        self._busy = False
        self._is_scheduled = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = HttpRequestParser(self)
        self._turn: deque[HTTPExchange] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._wrong: problem.Problem | None = None
        self._taken = 0
        self._latest: HTTPExchange | None = None
        self._gone: Callable[[], object] | None = None
        self._lingers = False
        self._deaf = False
        self._has_ended = False
        self._ending = False
        self._answers_at_end = 0
        self.deadline = math.inf
        self.served = False
        self._expect_request()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._known.add(self)
        self.deadline = self._loop.time() + HEAD_S
        if len(self._known) > self._limit:
            self._refuse(_refusal(problem.TOO_MANY_CONNECTIONS), lingers=False)

    def data_received(self, data: bytes) -> None:
        """Requests, or parts of them."""
        if self._deaf:
            return
        if self._drained is None and self._silent and (request := self._kept.get(data)):
            self._queue(HTTPExchange(self, request, last=False))
        elif self._unread or self._crowded or len(data) > _PIECE:
            self._unread += data
            self._read_on()
        else:
            self._parse(data)
        if self._held or self._begun or self._unread:
            self._weigh()

    def _read_on(self) -> None:
        """Parse a piece of what has come, if the answers go out; the rest waits, and the client with it.

        A piece is a few dozen requests at most: then it is the others' turn.
        """
        if not (self._crowded or self._deaf):
            piece, self._unread = self._unread[:_PIECE], self._unread[_PIECE:]
            self._parse(piece)
        if self._deaf:
            self._unread = b""
        if not self._unread:
            return
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        self._soon()

    def _soon(self) -> None:
        """Go on once the others had their turn."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._go_on)

    @property
    def _crowded(self) -> bool:
        """Whether no further request is parsed for now."""
        return self._drained is not None or len(self._turn) > _AHEAD

    def _weigh(self) -> None:
        """Have it counted what this connection holds."""
        waiting = len(self._unread) + len(self._turn) * _PARSED_BYTES + (self._octets if self._begun else 0)
        if self._transport is not None and self._drained is not None:
            waiting += self._transport.get_write_buffer_size()
        self._held = waiting > _SMALL
        self._backlog.hold(self, waiting if self._held else 0)

    def _parse(self, data: bytes) -> None:
        between = self._silent
        taken = self._taken
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:  # nobody here speaks anything else, so the request is answered as any other
            self.end()
            self._deaf = True
        except HttpParserInvalidMethodError:
            line = taken == self._taken and _REQUEST_LINE.match(data)
            self._refuse(problem.method_not_allowed() if line else _refusal(problem.MALFORMED))
        except HttpParserError:
            self._refuse(_refusal(self._wrong or problem.MALFORMED))
        else:
            self._octets += len(data)
            if between and self._taken == taken + 1:
                self._keep(data)
            if self._begun and self._octets > REQUEST_LIMIT:
                self._refuse(_refusal(problem.HEAD_TOO_LARGE))

    def eof_received(self) -> bool:
        """The client asks for nothing more; what it asked for it may still wait for, unless that has no end."""
        self._has_ended = self._ending = True
        return bool(self._turn or self._unread) and self._gone is None

    def connection_lost(self, _error: Exception | None) -> None:
        """It is closed; answers under way go nowhere."""
        self._known.discard(self)
        self._transport = None
        self._deaf = True
        self._unread = b""
        self._backlog.hold(self, 0)
        self.resume_writing()
        if self._gone is not None:
            self._gone()

    def pause_writing(self) -> None:
        """The client does not take what it asked for."""
        self._drained = self._loop.create_future()
        self.deadline = self._loop.time() + WRITE_S
        self._weigh()

    def resume_writing(self) -> None:
        """It does again."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
        if self._transport is None:
            return
        if not self._deaf:
            self.deadline = math.inf if self._turn else self._loop.time() + IDLE_S
        self._weigh()
        self._soon()

    # What the parser calls

    def on_message_begin(self) -> None:
        """The first octet of a request."""
        self._begun = True
        self._octets = 0
        if not self._turn and self._drained is None:
            self.deadline = self._loop.time() + HEAD_S

    def on_url(self, target: bytes) -> None:
        """A part of the request's target."""
        self._target += target
        if len(self._target) > TARGET_LIMIT:
            self._stop(problem.TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line of the head."""
        self._head += len(name) + len(value)
        if self._head > HEAD_LIMIT:
            self._stop(problem.HEAD_TOO_LARGE)
        self._fields.add(name, value)

    def on_headers_complete(self) -> None:
        """Whoever asks before sending a body is answered at once, and the body is not waited for."""
        if self._fields.get_all("expect"):
            self._lingers = True
            self._take_turn(last=True)
            self._deaf = True
            self._stop(None)

    def on_body(self, body: bytes) -> None:
        """A part of what nobody wants."""
        self._body += len(body)
        if self._body > BODY_LIMIT:
            self._stop(problem.BODY_TOO_LARGE)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if not self._deaf:
            self._take_turn(last=not self._parser.should_keep_alive())

    # Answers

    def respond(self, exchange: HTTPExchange, answer: Response) -> None:
        """Send the answer to the request whose turn it is; what comes after it may go on."""
        if self._transport is None or self._transport.is_closing():
            return
        last = exchange.last or (self._ending and self._ends_here())
        head = _head(answer, last=last)
        body = b"" if exchange.request.method == "HEAD" else answer.body
        if len(body) <= _JOINED:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        self._done(last=last)

    def respond_in_parts(self, exchange: HTTPExchange, status: int, headers: Headers) -> Parts:
        """Send the head of an answer that goes on until the connection ends."""
        exchange.last = True
        if self._transport is not None and not self._transport.is_closing():
            first = _first_lines(status, int(time.time()), True)  # noqa: FBT003  as there
            self._transport.write(first + _rendered(headers) + b"\r\n")
        return Parts(self)

    async def send_part(self, octets: bytes) -> None:
        """Send a part, and wait until the client takes more.

        Raises:
            ConnectionResetError: it is gone.
        """
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)
        if self._drained is not None:
            await self._drained
        if self._transport is None:
            raise ConnectionResetError("the client has gone")

    def when_gone(self, call: Callable[[], object]) -> None:
        """Call this once the connection is lost; at once if it is."""
        if self._transport is None:
            call()
        else:
            self._gone = call

    def end_parts(self) -> None:
        """The answer is over, and so is the connection."""
        self._gone = None
        if self._transport is not None:
            self._done(last=True)

    # Ends

    def end(self, *, waits: bool = False) -> None:
        """End it: with the last answer to what has come, which says so; at once if nothing has.

        Args:
            waits: leave it open if nothing has come, for a request that may be on its way.
        """
        self._ending = True
        if waits or self._deaf or not self._silent or self._unread or self._has_more():
            return
        if self._transport is not None:
            self._transport.close()

    def _ends_here(self) -> bool:
        """Whether this answer is the last one: nothing more has come, or too much of it."""
        self._answers_at_end += 1
        coming = bool(self._unread) or (self._begun and not self._has_ended)
        if len(self._turn) == 1 and (self._deaf or not coming):
            return True
        return self._answers_at_end > _AHEAD and not self._has_ended

    def _has_more(self) -> bool:
        """Whether octets have come that the event loop has not read yet."""
        if self._transport is None or self._transport.is_closing():
            return False
        waiting = select.poll()
        waiting.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(waiting.poll(0))

    def abort(self) -> None:
        """End it now; whatever is under way is lost."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def _silent(self) -> bool:
        """Whether nothing of a request is here."""
        return not self._turn and not self._begun

    @property
    def _idle(self) -> bool:
        """Whether it waits for the next request and for nothing else."""
        return self._silent and not self._deaf and self._drained is None

    def expire(self) -> None:
        """The deadline has passed: of a request that does not come to its end, of the next one, of its answer."""
        if self._transport is None:
            return
        if self._idle and self._has_more():
            return
        if self._turn or self._silent or self._deaf or self._drained is not None:
            self._transport.abort()
        else:
            self._refuse(_refusal(problem.TOO_SLOW))

    # Its own

    def _expect_request(self) -> None:
        self._target = b""
        self._fields = HTTPFields()
        self._head = 0
        self._body = 0
        self._octets = 0
        self._begun = False

    def _take_turn(self, *, last: bool) -> None:
        path, query = _split(self._target)
        request = Request(self._parser.get_method().decode("latin-1"), path, query, self._fields)
        if not self._target.startswith(b"/"):
            request.authority = _authority(self._target)
        first = self._parser.get_http_version() == "1.0"  # it would want to be told that the connection stays
        exchange = HTTPExchange(self, request, last=last or first)
        if len(self._fields.get_all("host")) != 1 and not first:
            exchange.last = True
            exchange.refusal = problem.refuse(problem.MALFORMED, "Send one Host field (RFC 9112, 3.2).")
        self._expect_request()
        self._queue(exchange)

    def _keep(self, octets: bytes) -> None:
        """The octets were one request, whole and in order."""
        one = self._latest
        if one is not None and not (self._begun or self._deaf or one.last or one.refusal):
            self._kept.keep(octets, one.request)

    def _queue(self, exchange: HTTPExchange) -> None:
        self._taken += 1
        self._latest = exchange
        self._turn.append(exchange)
        if self._drained is not None:
            return
        if len(self._turn) == 1 and self._ending:
            self._soon()  # once all that has come is parsed: the last answer says that it is the last
        elif len(self._turn) == 1:
            self.deadline = math.inf
            self._begin()
        elif len(self._turn) > _AHEAD and self._transport is not None:
            self._transport.pause_reading()

    def _begin(self) -> None:
        exchange = self._turn[0]
        self._busy = True
        if exchange.refusal is None:
            self._serve(exchange)
        else:
            exchange.respond(exchange.refusal)

    def _done(self, *, last: bool) -> None:
        self.served = True
        self._busy = False
        self._turn.popleft()
        if last:
            self._turn.clear()
            self._close()
        elif self._turn or self._unread:
            self._soon()
        elif self._drained is None:
            self.deadline = self._loop.time() + (HEAD_S if self._begun else IDLE_S)

    def _close(self) -> None:
        """After what is written has gone out."""
        lingers = self._lingers or (self._ending and not (self._deaf or self._has_ended))
        self._deaf = True
        if self._transport is None or self._transport.is_closing():
            return
        if lingers:
            self.deadline = self._loop.time() + LINGER_S
            self._transport.write_eof()
        else:
            self.deadline = self._loop.time() + WRITE_S
            self._transport.close()

    def _go_on(self) -> None:
        """The next request, and what has come behind it, once the answers go out."""
        self._is_scheduled = False
        if self._transport is None or self._transport.is_closing() or self._drained is not None:
            return
        if self._turn and not self._busy:
            self.deadline = math.inf
            self._begin()
        if self._unread and not self._crowded:
            self._read_on()
        if self._has_ended and self._silent and not self._unread:
            self._close()
        elif not (self._unread or self._crowded or self._deaf or self._has_ended):
            self._transport.resume_reading()
        if self._held:
            self._weigh()

    def _stop(self, wrong: problem.Problem | None) -> None:
        """End the parsing, from one of its calls; it has no other way than to raise."""
        self._wrong = wrong
        raise _Stopped

    def _refuse(self, refusal: Response, *, lingers: bool = True) -> None:
        """Say what is wrong, in its turn, and end. Whoever has had a final answer gets no second one."""
        if self._deaf:
            return
        self._deaf = True
        self._begun = False
        self._lingers = lingers
        self._queue(HTTPExchange(self, Request("GET", "/"), last=True, refusal=refusal))


class Parts:
    """An answer that is sent in parts. It has no length: the connection's end is its end (RFC 9112, 6.3)."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client

    async def send_str(self, data: str) -> None:
        """Send some.

        Raises:
            ConnectionResetError: the client has gone.
        """
        await self._client.send_part(data.encode())

    def when_gone(self, call: Callable[[], object]) -> None:
        """Call this once the client has gone: whoever waits for something to send would notice only then."""
        self._client.when_gone(call)

    def end(self) -> None:
        """That was all."""
        self._client.end_parts()


def _refusal(wrong: problem.Problem) -> Response:
    return problem.refuse(wrong, wrong.title)


class _Stopped(Exception):
    """The rest of the octets is not to be parsed."""


@memo(1 << 20)
def _lower(name: bytes) -> str:
    return name.decode("latin-1").lower()


@memo(8 << 20)
def _split(target: bytes) -> tuple[str, str]:
    """Path and query of a request's target, in any of its forms (RFC 9112, 3.2).

    The path stays as it was sent: each page has one path, which needs no percents, and another way to write it
    would get past the rules of a proxy.
    """
    text = target.decode("latin-1")
    if not text.startswith("/") and "://" in text:
        text = "/" + text.partition("://")[2].partition("/")[2]
    path, _, query = text.partition("?")
    return path, query


def _authority(target: bytes) -> str:
    """The host of a target that is a whole address; empty for any other.

    >>> _authority(b"http://user@reports.example:80/v1?at=http://elsewhere"), _authority(b"/v1?at=http://elsewhere")
    ('reports.example:80', '')
    """
    scheme, found, rest = target.decode("latin-1").partition("://")
    return _AUTHORITY_ENDS.split(rest, maxsplit=1)[0].rpartition("@")[2] if found and "/" not in scheme else ""


@lru_cache(maxsize=256)
def _first_lines(status: int, second: int, last: bool) -> bytes:  # noqa: FBT001  cached by place
    ending = "connection: close\r\n" if last else ""
    date = formatdate(second, usegmt=True)
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ndate: {date}\r\n{ending}".encode("ascii")


@memo(32 << 20, lambda _headers: 1024)
def _rendered(headers: Headers) -> bytes:
    """Header fields as lines. Many answers have the very headers of an earlier one.

    Raises:
        ValueError: a field would make a line of its own.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("a header field of an answer holds a line break")
    return lines.encode("latin-1")


@lru_cache(maxsize=16_384)
def _length(octets: int) -> bytes:
    return b"content-length: %d\r\n\r\n" % octets


def _head(answer: Response, *, last: bool) -> bytes:
    """The head of an answer, with the empty line that ends it."""
    first = _first_lines(answer.status, int(time.time()), last)
    timing = f"server-timing: {answer.timing}\r\n".encode("ascii") if answer.timing else b""
    length = b"\r\n" if answer.status in WITHOUT_LENGTH else _length(len(answer.body))
    return b"".join((first, _rendered(answer.headers), timing, length))
