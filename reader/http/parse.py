"""Parser of requests: bytes in, requests and refusals out. It has no clock, no event loop and no connection.

llhttp splits the bytes; this module limits the size of a target, a head, a body and an incomplete request, and
decides which request is the last of its connection. After a refusal, an announced body or an upgrade the
parser must not be given more bytes, because the start of the next request is not known.
"""

from __future__ import annotations

import re
from typing import Final

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser

from reader import problem
from reader.http.request import HTTPFields, authority_of, split_target
from reader.message import Request, Response

TARGET_LIMIT: Final = 8 * 1024
"""Bytes of a target."""
HEAD_LIMIT: Final = 32 * 1024
"""Bytes of all names and values of a head together."""
BODY_LIMIT: Final = 64 * 1024
"""Bytes of a body. No request here needs one; a small one is read and ignored, so that the connection can stay
open."""
REQUEST_LIMIT: Final = 512 * 1024
"""Bytes of an incomplete request in all, so that what llhttp buffers is limited too."""
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [/*]")
"""Matches a request line with a method that llhttp does not know."""
_LINE_SO_FAR = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64} ?")
"""Matches an incomplete request line with such a method, up to its target."""


class ParseResult:
    """One request.

    Attributes:
        last: True if the connection ends with the response.
        refusal: the response to a request that is not valid, or None.
    """

    __slots__ = ("last", "refusal", "request")

    def __init__(self, request: Request, *, last: bool, refusal: Response | None) -> None:
        self.request = request
        self.last = last
        self.refusal = refusal


class RequestParser:
    r"""Parser of the bytes of one connection.

    Attributes:
        begun: True while a request is incomplete.
        size: bytes of the incomplete request so far.
        refusal: the response to bytes that cannot be parsed, or exceed a limit. It ends the connection.
        body_announced: True if the last request asks before it sends its body (Expect). It is answered at once,
            and the body is not read.
        upgrade: True if the last request asks for another protocol. It is answered like any other.

    Example:
        >>> parser = RequestParser()
        >>> parser.parse_bytes(b"GET /a HTTP/1.1\r\nHost: "), parser.begun
        ([], True)
        >>> [result.request.path for result in parser.parse_bytes(b"a\r\n\r\n")], parser.begun
        (['/a'], False)
    """

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)
        self._results: list[ParseResult] = []
        self._fault: problem.Problem | None = None
        self._latest = b""
        """Bytes so far of the request line, up to its target, or of a blank line."""
        self._is_unknown_method = False
        self._blank_lines = 0  # in the bytes that are parsed now
        self._body_since = 0  # bytes, behind the last of those lines
        self.refusal: Response | None = None
        self.body_announced = False
        self.upgrade = False
        self._expect_request()

    def parse_bytes(self, data: bytes) -> list[ParseResult]:
        """Parse some bytes and return the requests that they complete, in order.

        After each call the caller checks `refusal`, `body_announced` and `upgrade`; each of them ends the parsing.
        """
        results: list[ParseResult] = []
        self._results = results
        if self._is_unknown_method:
            self._await_target(self._latest + data)
            return results
        self._blank_lines = self._body_since = 0
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.upgrade = True
        except HttpParserInvalidMethodError:
            self._await_target(self._line_in(data))
        except HttpParserError:
            if not self.body_announced:
                self._refuse(refusal_of(self._fault or problem.MALFORMED))
        else:
            self.size += len(data)
            if self.begun and self.size > REQUEST_LIMIT:
                self._refuse(refusal_of(problem.HEAD_TOO_LARGE))
            self._latest = self._latest_of(data) if self.begun else b""
        return results

    def _latest_of(self, data: bytes) -> bytes:
        """Return the bytes so far of a request line, or of a blank line, which ends no body without chunks."""
        if not self._target:
            return self._line_in(data)
        return b"" if self._body and not self._is_chunked else self._since_blank_line(data)[-3:]

    def _line_in(self, data: bytes) -> bytes:
        """Return the bytes of the last request line. Chunked bodies end with a blank line, others by length."""
        return self._since_blank_line(data)[self._body_since :].lstrip(b"\r\n")

    def _since_blank_line(self, data: bytes) -> bytes:
        return (self._latest + data).split(b"\r\n\r\n", self._blank_lines)[-1]

    def _await_target(self, line: bytes) -> None:
        """Refuse a request whose method llhttp does not know, once its target has begun or cannot follow.

        405 if it would be a request with a known method, in however many pieces it arrives; otherwise 400.
        """
        if _REQUEST_LINE.match(line):
            self._refuse(problem.method_not_allowed())
        elif _LINE_SO_FAR.fullmatch(line):
            self._is_unknown_method, self._latest, self.begun = True, line, True
        else:
            self._refuse(refusal_of(problem.MALFORMED))

    def _refuse(self, refusal: Response) -> None:
        self.refusal = refusal
        self.begun = False

    # Called by llhttp

    def on_message_begin(self) -> None:
        """Note the first byte of a request."""
        self.begun = True
        self.size = 0

    def on_url(self, target: bytes) -> None:
        """Add a part of the request's target."""
        self._target += target
        if len(self._target) > TARGET_LIMIT:
            self._stop(problem.TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add one header line."""
        self._head += len(name) + len(value)
        if self._head > HEAD_LIMIT:
            self._stop(problem.HEAD_TOO_LARGE)
        self._fields.add_line(name, value)

    def on_headers_complete(self) -> None:
        """Complete a request that announces a body, without waiting for the body."""
        self._note_blank_line()
        if self._fields.get_all("expect"):
            self.body_announced = True
            self._complete(last=True)
            self._stop(None)

    def on_body(self, body: bytes) -> None:
        """Count a part of the body and ignore it."""
        self._body += len(body)
        self._body_since += len(body)
        if self._body > BODY_LIMIT:
            self._stop(problem.BODY_TOO_LARGE)

    def on_chunk_header(self) -> None:
        """Note that the body is chunked."""
        self._is_chunked = True

    def on_message_complete(self) -> None:
        """Complete the request."""
        if self._is_chunked:
            self._note_blank_line()
        self._complete(last=not self._parser.should_keep_alive())

    # Private

    def _note_blank_line(self) -> None:
        self._blank_lines += 1
        self._body_since = 0

    def _expect_request(self) -> None:
        self._target = b""
        self._fields = HTTPFields()
        self._head = 0
        self._body = 0
        self._is_chunked = False
        self.size = 0
        self.begun = False

    def _complete(self, *, last: bool) -> None:
        path, query = split_target(self._target)
        request = Request(self._parser.get_method().decode("latin-1"), path, query, self._fields)
        if not self._target.startswith(b"/"):
            request.authority = authority_of(self._target)
        # a client of HTTP/1.0 would need a header that says that the connection stays open
        is_old = self._parser.get_http_version() == "1.0"
        refusal = None
        if len(self._fields.get_all("host")) != 1 and not is_old:
            last = True
            refusal = problem.refuse(problem.MALFORMED, "Send one Host field (RFC 9112, 3.2).")
        self._results.append(ParseResult(request, last=last or is_old, refusal=refusal))
        self._expect_request()

    def _stop(self, fault: problem.Problem | None) -> None:
        """Stop the parsing from one of llhttp's calls, which can only raise."""
        self._fault = fault
        raise _ParseStop


def refusal_of(fault: problem.Problem) -> Response:
    """Return the response to a problem that needs no more than its title."""
    return problem.refuse(fault, fault.title)


class _ParseStop(Exception):
    """Raised into llhttp so that it parses no further."""
