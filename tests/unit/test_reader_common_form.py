"""Requests of the common form are read as the parser reads them; all others are left to the parser."""

from hypothesis import example, given, settings, strategies as st

from reader.http.common_form import read_common_form
from reader.http.parse import RequestParser
from reader.http.request import USED_FIELDS
from reader.message import Request
from tests.unit.test_reader_parser import CORPUS, LAST, SOUND, WRONG

NAMES = [
    *sorted(USED_FIELDS),
    *("Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Proxy-Connection", "TE", "Keep-Alive"),
    *("User-Agent", "X_y", "X.y", "X y", "é", ""),
]
VALUES = [
    "a",
    "keep-alive",
    "Keep-Alive",
    "KEEP-ALIVE",
    "close",
    "upgrade",
    "0",
    "3",
    "chunked",
    'W/"x", "y"',
    "é",
    "a\tb",
]
VALUES += ["", " ", "a\x00", "a\rb", "a\nb", "a\r\n b", "a\x7f", "a: b", "keep-alive, close"]
BLANKS = ["", " ", "\t", "  "]
TARGETS = [
    "/",
    "/v1/reports/a/1?at=2026-11-20",
    "*",
    "http://x/a",
    "/a b",
    "/a#b",
    "/é",
    "/%61",
    "/a\x00",
    "",
    "//",
    "/\\",
    "/|",
]
FIRST = st.tuples(
    st.sampled_from(["GET"] * 8 + ["HEAD", "get", "POST"]),
    st.sampled_from(TARGETS),
    st.sampled_from(["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/2.0", "http/1.1"]),
)
FIELD = st.tuples(
    st.sampled_from(NAMES),
    st.booleans(),
    st.sampled_from(["", "", "", " ", "\t"]),
    st.sampled_from(BLANKS),
    st.sampled_from(VALUES) | st.text(max_size=5),
    st.sampled_from(BLANKS),
)
HOST = ("Host", False, "", " ", "x", "")
TAILS = st.sampled_from(
    ["\r\n\r\n"] * 6 + ["", "\r\n", "\r\n\r\nx", "\n\n", "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"]
)


def written(first: tuple[str, ...], fields: list[tuple[str, bool, str, str, str, str]], tail: str) -> bytes:
    lines = [" ".join(first)]
    for name, shouts, before, blank, value, after in fields:
        lines.append(f"{name.upper() if shouts else name}{before}:{blank}{value}{after}")
    return ("\r\n".join(lines) + tail).encode("utf-8", "surrogatepass")


def parsed(data: bytes) -> tuple[object, ...] | None:
    """What the parser reads, if it is one whole request after which the connection goes on."""
    parser = RequestParser()
    results = parser.parse_bytes(data)
    if parser.refusal or parser.begun or parser.upgrade or parser.body_announced or len(results) != 1:
        return None
    (result,) = results
    return None if result.last or result.refusal else outcome(result.request)


def outcome(request: Request) -> tuple[object, ...]:
    fields = {name: request.values(name) for name in (*USED_FIELDS, "te", "user-agent", "keep-alive", "x_y")}
    return request.method, request.path, request.query, request.authority, fields


@given(FIRST, st.lists(FIELD, max_size=5), st.integers(0, 5), TAILS)
@example(("GET", "/", "HTTP/1.1"), [], 0, "\r\n\r\n")
@example(("GET", "/", "HTTP/1.1"), [("cookie", True, "", "  ", "a", " \t")], 0, "\r\n\r\n")
@settings(deadline=None, max_examples=10 * settings().max_examples)
def test_what_is_read_is_what_the_parser_reads(
    first: tuple[str, ...], fields: list[tuple[str, bool, str, str, str, str]], place: int, tail: str
) -> None:
    data = written(first, [*fields[:place], HOST, *fields[place:]], tail)
    request = read_common_form(data)
    if request is not None:
        assert outcome(request) == parsed(data), data


@given(st.sampled_from([*SOUND, *LAST, *WRONG, *CORPUS]), st.binary(max_size=3), st.integers(min_value=0))
@settings(deadline=None, max_examples=3 * settings().max_examples)
def test_no_spoilt_request_is_read_otherwise(data: bytes, spoilt: bytes, place: int) -> None:
    place %= len(data) + 1
    for one in (data, data[:place] + spoilt + data[place:], data[:place] + data[place + len(spoilt) :]):
        request = read_common_form(one)
        assert request is None or outcome(request) == parsed(one), one


def test_heads_of_browsers_have_the_common_form() -> None:
    for head in BROWSERS:
        assert read_common_form(head.replace("\n", "\r\n").encode()) is not None, head


BROWSERS = [
    (
        'GET /v1/reports/a/1 HTTP/1.1\nHost: a.example\nConnection: keep-alive\nsec-ch-ua-platform: "Windows"\n'
        'Accept: */*\nsec-ch-ua: "Chromium";v="140", "Not?A_Brand";v="24"\nCookie: a=b; c=d\n\n'
    ),
    "GET /v1/reports/a/1?at=2026-11-20 HTTP/1.1\nHost: a.example\nUser-Agent: curl/8.5.0\nAccept: */*\n\n",
    'GET /v1/reports/a/1 HTTP/1.1\nhost: a.example\nauthorization: Bearer ms1.x\nif-none-match: W/"1"\n\n',
]
