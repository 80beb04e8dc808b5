"""One HTTP/1.1 connection (RFC 9112): the order of its responses, its timeouts and its end.

Responses leave in the order of their requests, one at a time, and requests that arrive meanwhile wait. The bytes
of a client that sends more than a few requests ahead, or does not read its responses, are neither read nor parsed.
The listener calls `enforce_deadline` at `deadline`. Bytes that cannot be parsed are refused in their turn, and the
connection ends.
"""

from __future__ import annotations

import asyncio
import math
import select
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from reader import problem
from reader.backlog import Backlog
from reader.http.common_form import read_common_form
from reader.http.parse import ParseResult, RequestParser, refusal_of
from reader.http.request import ParsedRequests
from reader.http.response import head_of_stream, response_head
from reader.message import Headers, Request, Response

HEAD_S: Final = 10.0
"""Timeout of a request: from its first byte, or from the start of the connection, to its last byte."""
IDLE_S: Final = 75.0
"""Timeout between two requests; longer than proxies keep a connection (mostly 60 s), so that the proxy ends it."""
WRITE_S: Final = 60.0
"""Timeout of a client that does not read its response."""
LINGER_S: Final = 2.0
"""Timeout of a client that still sends after a refusal: a connection that is closed before it has been read to its
end is reset, and a reset discards the refusal (RFC 9112, 9.6)."""
_AHEAD: Final = 16
"""Requests of one client that may wait for their turn."""
_PIECE: Final = 4 * 1024
"""Bytes parsed at once; requests take more memory parsed than as bytes."""
_PARSED_BYTES: Final = 1024
"""Approximate size of a request that waits for its turn."""
_SMALL: Final = 16 * 1024
"""Bytes up to which a connection is not counted in the backlog."""
_JOINED: Final = 16 * 1024
"""Bytes of the largest body that is joined to its head, because one write costs less than two."""


class HTTPExchange:
    """One request and the way to respond to it.

    Attributes:
        last: True if the connection ends with the response.
        refusal: the response to a request that is not valid, or None; with a refusal the request has no meaning.
    """

    __slots__ = ("_client", "last", "refusal", "request")

    def __init__(
        self, client: ClientConnection, request: Request, *, last: bool, refusal: Response | None = None
    ) -> None:
        self._client = client
        self.request = request
        self.last = last
        self.refusal = refusal

    def respond(self, response: Response) -> None:
        """Send the response.

        Raises:
            ValueError: a header field contains a line break, which is a fault of the reader. Nothing was sent.
        """
        self._client.respond(self, response)

    def respond_in_parts(self, status: int, headers: Headers) -> ResponseStream:
        """Send the head of a response that is sent in parts and ends the connection."""
        return self._client.respond_in_parts(self, status, headers)


Serve = Callable[[HTTPExchange], None]
"""Function that sends one response to the exchange, now or later. Must not raise."""


class ClientConnection(asyncio.Protocol):
    """A client's connection from its start to its end.

    Args:
        serve: responds to requests.
        open_connections: set that contains the connection while it is open.
        cache: requests that any connection has parsed.
        limit: largest number of open connections; one more is refused.
        backlog: limits the bytes that all connections hold together.

    Attributes:
        deadline: instant of the event loop's clock at which the listener calls `enforce_deadline`.
        served: True after the first response.

    A client may send a request at the moment at which its connection is closed, and can only guess whether it was
    served (RFC 9112, 9.3.1). So the last response announces the end wherever there is one, bytes that were sent
    meanwhile are read first, and an idle connection is closed only if nothing has arrived on it.
    """

    def __init__(
        self,
        serve: Serve,
        open_connections: set[ClientConnection],
        cache: ParsedRequests,
        limit: int,
        backlog: Backlog,
    ) -> None:
        self._serve = serve
        self._open_connections = open_connections
        self._cache = cache
        self._limit = limit
        self._backlog = backlog
        self._is_in_backlog = False
        self._unread = b""
        self._is_serving = False
        self._is_scheduled = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = RequestParser()
        self._waiting: deque[HTTPExchange] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._on_lost: Callable[[], object] | None = None
        self._lingers = False
        self._ignores_input = False
        self._has_ended = False
        self._is_ending = False
        self._responses_at_end = 0
        self.deadline = math.inf
        self.served = False

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection, or refuse it if there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        self._open_connections.add(self)
        self.deadline = self._loop.time() + HEAD_S
        if len(self._open_connections) > self._limit:
            self._refuse(refusal_of(problem.TOO_MANY_CONNECTIONS), lingers=False)

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests: serve a request of a known or common form, parse the bytes, or keep them."""
        if self._ignores_input:
            return
        if self._drained is None and self._has_no_request and (request := self._read_whole(data)):
            self._queue(HTTPExchange(self, request, last=False))
        elif self._unread or self._is_full or len(data) > _PIECE:
            self._unread += data
            self._read_on()
        else:
            self._parse(data)
        if self._is_in_backlog or self._parser.begun or self._unread:
            self._update_backlog()

    def _read_whole(self, data: bytes) -> Request | None:
        """Return the request that these bytes form, if it is cached or of the common form."""
        request = self._cache.get(data)
        if request is None and (request := read_common_form(data)) is not None:
            self._cache.keep_request(data, request)
        return request

    def _read_on(self) -> None:
        """Parse one piece of the unread bytes, if the client reads its responses; the rest waits.

        A piece holds a few dozen requests at most; after it other connections have their turn.
        """
        if not (self._is_full or self._ignores_input):
            piece, self._unread = self._unread[:_PIECE], self._unread[_PIECE:]
            self._parse(piece)
        if self._ignores_input:
            self._unread = b""
        if not self._unread:
            return
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        self._schedule()

    def _schedule(self) -> None:
        """Continue after other connections had their turn."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._continue)

    @property
    def _is_full(self) -> bool:
        """True if no further request is parsed for now."""
        return self._drained is not None or len(self._waiting) > _AHEAD

    def _update_backlog(self) -> None:
        """Report to the backlog how many bytes this connection holds."""
        size = len(self._unread) + len(self._waiting) * _PARSED_BYTES
        if self._parser.begun:
            size += self._parser.size
        if self._transport is not None and self._drained is not None:
            size += self._transport.get_write_buffer_size()
        self._is_in_backlog = size > _SMALL
        self._backlog.note_held(self, size if self._is_in_backlog else 0)

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        had_begun = parser.begun
        is_between = not had_begun and not self._waiting
        results = parser.parse_bytes(data)
        if parser.body_announced:
            self._lingers = True
        for result in results:
            if self._ignores_input:
                break
            self._queue(HTTPExchange(self, result.request, last=result.last, refusal=result.refusal))
        if parser.begun and (results or not had_begun) and not self._waiting and self._drained is None:
            self.deadline = self._loop.time() + HEAD_S
        if parser.refusal is not None:
            self._refuse(parser.refusal)
        elif parser.body_announced:
            self._ignores_input = True
        elif parser.upgrade:
            self.end()
            self._ignores_input = True
        elif is_between and len(results) == 1:
            self._remember(data, results[0])

    def _remember(self, data: bytes, result: ParseResult) -> None:
        """Cache the request if the bytes were this one request, complete."""
        if not (self._parser.begun or self._ignores_input or result.last or result.refusal):
            self._cache.keep_request(data, result.request)

    def eof_received(self) -> bool:
        """Note that the client sends no more. It may still wait for responses, unless one of them is a stream."""
        self._has_ended = self._is_ending = True
        return bool(self._waiting or self._unread) and self._on_lost is None

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the connection; responses that come later are discarded."""
        self._open_connections.discard(self)
        self._transport = None
        self._ignores_input = True
        self._unread = b""
        self._backlog.note_held(self, 0)
        self.resume_writing()
        if self._on_lost is not None:
            self._on_lost()

    def pause_writing(self) -> None:
        """Stop: the client does not read its responses."""
        self._drained = self._loop.create_future()
        self.deadline = self._loop.time() + WRITE_S
        self._update_backlog()

    def resume_writing(self) -> None:
        """Continue: the client reads its responses again."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
        if self._transport is None:
            return
        if not self._ignores_input:
            self.deadline = math.inf if self._waiting else self._loop.time() + IDLE_S
        self._update_backlog()
        self._schedule()

    # Responses

    def respond(self, exchange: HTTPExchange, response: Response) -> None:
        """Send the response to the first waiting request, so that the next one can be served."""
        if self._transport is None or self._transport.is_closing():
            return
        last = exchange.last or (self._is_ending and self._ends_here())
        start = response_head(response, last=last)
        body = b"" if exchange.request.method == "HEAD" else response.body
        if len(body) <= _JOINED:
            self._transport.write(start + body)
        else:
            self._transport.writelines((start, body))
        self._finish_response(last=last)

    def respond_in_parts(self, exchange: HTTPExchange, status: int, headers: Headers) -> ResponseStream:
        """Send the head of a response that continues until the connection ends."""
        exchange.last = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head_of_stream(status, headers))
        return ResponseStream(self)

    async def send_part(self, data: bytes) -> None:
        """Send a part of a response, and wait until the client reads more.

        Raises:
            ConnectionResetError: the connection is lost.
        """
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
        if self._drained is not None:
            await self._drained
        if self._transport is None:
            raise ConnectionResetError("the client closed the connection")

    def when_gone(self, call: Callable[[], object]) -> None:
        """Call this function when the connection is lost; now if it is lost already."""
        if self._transport is None:
            call()
        else:
            self._on_lost = call

    def end_parts(self) -> None:
        """End the response that was sent in parts, and with it the connection."""
        self._on_lost = None
        if self._transport is not None:
            self._finish_response(last=True)

    # Ends

    def end(self, *, waits: bool = False) -> None:
        """End the connection: with the last response, which announces it, or now if no request has arrived.

        Args:
            waits: leave the connection open if nothing has arrived, for a request that may be on its way.
        """
        self._is_ending = True
        if waits or self._ignores_input or not self._has_no_request or self._unread or self._has_more():
            return
        if self._transport is not None:
            self._transport.close()

    def _ends_here(self) -> bool:
        """Return True if this response is the last one: nothing more has arrived, or too many requests have."""
        self._responses_at_end += 1
        coming = bool(self._unread) or (self._parser.begun and not self._has_ended)
        if len(self._waiting) == 1 and (self._ignores_input or not coming):
            return True
        return self._responses_at_end > _AHEAD and not self._has_ended

    def _has_more(self) -> bool:
        """Return True if bytes have arrived that the event loop has not read yet."""
        if self._transport is None or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def abort(self) -> None:
        """End the connection now; requests and responses under way are lost."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def _has_no_request(self) -> bool:
        """True if there is neither a request nor a part of one."""
        return not self._waiting and not self._parser.begun

    @property
    def _is_idle(self) -> bool:
        """True if the connection waits for the next request and for nothing else."""
        return self._has_no_request and not self._ignores_input and self._drained is None

    def enforce_deadline(self) -> None:
        """Enforce the deadline: refuse a request that is still incomplete, and abort in any other state."""
        if self._transport is None:
            return
        if self._is_idle and self._has_more():
            return
        if self._waiting or self._has_no_request or self._ignores_input or self._drained is not None:
            self._transport.abort()
        else:
            self._refuse(refusal_of(problem.TOO_SLOW))

    # Private

    def _queue(self, exchange: HTTPExchange) -> None:
        self._waiting.append(exchange)
        if self._drained is not None:
            return
        if len(self._waiting) == 1 and self._is_ending:
            self._schedule()  # once all bytes are parsed, so that the last response says that it is the last
        elif len(self._waiting) == 1:
            self.deadline = math.inf
            self._serve_first()
        elif len(self._waiting) > _AHEAD and self._transport is not None:
            self._transport.pause_reading()

    def _serve_first(self) -> None:
        exchange = self._waiting[0]
        self._is_serving = True
        if exchange.refusal is None:
            self._serve(exchange)
        else:
            exchange.respond(exchange.refusal)

    def _finish_response(self, *, last: bool) -> None:
        self.served = True
        self._is_serving = False
        self._waiting.popleft()
        if last:
            self._waiting.clear()
            self._close()
        elif self._waiting or self._unread:
            self._schedule()
        elif self._drained is None:
            self.deadline = self._loop.time() + (HEAD_S if self._parser.begun else IDLE_S)

    def _close(self) -> None:
        """Close the connection after everything written has been sent."""
        lingers = self._lingers or (self._is_ending and not (self._ignores_input or self._has_ended))
        self._ignores_input = True
        if self._transport is None or self._transport.is_closing():
            return
        if lingers:
            self.deadline = self._loop.time() + LINGER_S
            self._transport.write_eof()
        else:
            self.deadline = self._loop.time() + WRITE_S
            self._transport.close()

    def _continue(self) -> None:
        """Serve the next request and parse the bytes behind it, if the client reads its responses."""
        self._is_scheduled = False
        if self._transport is None or self._transport.is_closing() or self._drained is not None:
            return
        if self._waiting and not self._is_serving:
            self.deadline = math.inf
            self._serve_first()
        if self._unread and not self._is_full:
            self._read_on()
        if self._has_ended and self._has_no_request and not self._unread:
            self._close()
        elif not (self._unread or self._is_full or self._ignores_input or self._has_ended):
            self._transport.resume_reading()
        if self._is_in_backlog:
            self._update_backlog()

    def _refuse(self, refusal: Response, *, lingers: bool = True) -> None:
        """Send a refusal in its turn and end the connection, unless a final response ends it already."""
        if self._ignores_input:
            return
        self._ignores_input = True
        self._parser.begun = False
        self._lingers = lingers
        self._queue(HTTPExchange(self, Request("GET", "/"), last=True, refusal=refusal))


class ResponseStream:
    """A response that is sent in parts. It has no length: it ends when the connection ends (RFC 9112, 6.3)."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client

    async def send_str(self, data: str) -> None:
        """Send one part.

        Raises:
            ConnectionResetError: the client has closed the connection.
        """
        await self._client.send_part(data.encode())

    def when_gone(self, call: Callable[[], object]) -> None:
        """Call this function when the client has closed the connection, even if there is nothing to send."""
        self._client.when_gone(call)

    def end(self) -> None:
        """End the response."""
        self._client.end_parts()
