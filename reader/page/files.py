"""Static files of the managers' page, loaded once, at the start.

    GET, HEAD  /                        the page; every response is checked with its ETag
    GET, HEAD  /page/{version}/{name}   its style sheet, scripts and icon; kept by browsers for a year

The version is a digest of all files, so that a page never mixes files of two builds. A browser that got its page
from a reader of another build still gets the file, and does not keep it.

The page may load files of this reader and nothing else: no script, style or image of another origin, none inline
in the page itself, and no text that becomes HTML (Trusted Types).
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from reader import problem
from reader.encoding import takes_gzip
from reader.message import Headers, Request, Response
from reader.preconditions import Condition, weigh_conditions

_FOLDER = Path(__file__).parent / "web"
_INDEX = "index.html"
_PLACE = b"{version}"
"""Placeholder in the page for the version of its files."""
_PATH = re.compile(r"/page/([0-9a-f]{16})/([a-z]+\.[a-z]+)", re.ASCII)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_COMMON: Headers = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("content-security-policy", _POLICY),
    ("vary", "Accept-Encoding"),
)
_CHECKED = ("cache-control", "no-cache")
_KEPT = ("cache-control", "public, max-age=31536000, immutable")


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file, as it is and compressed, with its headers."""

    etag: str
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    compressed: bytes = field(repr=False)

    def response(self, request: Request) -> Response:
        """Return the file, or 304 or 412 by the request's conditions."""
        weighed = weigh_conditions(request.fields, self.etag, changed_s=None, dated=False)
        if weighed is Condition.FAILED:
            return problem.precondition_failed()
        if weighed is Condition.HELD:
            return Response(304, "not_modified", self.headers[1:])
        if takes_gzip(request.header("accept-encoding")):
            return Response(200, "page", (*self.headers, ("content-encoding", "gzip")), self.compressed)
        return Response(200, "page", self.headers, self.body)


class PageFiles:
    """The files of a folder.

    Attributes:
        version: digest of all of them, 16 hex digits.
    """

    def __init__(self, folder: Path = _FOLDER) -> None:
        contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        self.version = _digest(b"".join(b"%b\n%b" % (name.encode(), body) for name, body in contents.items()))
        index = contents.pop(_INDEX).replace(_PLACE, self.version.encode())
        self._index = _file(_INDEX, index, _CHECKED)
        self._files = {name: _file(name, body, _KEPT) for name, body in contents.items()}
        self._of_other_builds = {name: _file(name, body, _CHECKED) for name, body in contents.items()}

    def find(self, path: str) -> PageFile | None:
        """Return the file of a path, or None."""
        if path == "/":
            return self._index
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        return (self._files if found[1] == self.version else self._of_other_builds).get(found[2])


def _file(name: str, body: bytes, caching: tuple[str, str]) -> PageFile:
    etag = _digest(body)
    headers: Headers = (
        ("content-type", _TYPES[Path(name).suffix]),
        ("etag", f'W/"{etag}"'),
        caching,
        *_COMMON,
    )
    return PageFile(etag, headers, body, gzip.compress(body, 9, mtime=0))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
