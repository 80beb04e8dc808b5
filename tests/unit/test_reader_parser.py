"""The reader's parser needs no event loop, and how its bytes are cut into pieces changes nothing."""

from hypothesis import example, given, settings, strategies as st

from reader.http.parse import BODY_LIMIT, HEAD_LIMIT, TARGET_LIMIT, RequestParser
from tests.reader_corpus import CASES, Bad

Outcome = tuple[object, ...]
"""A request with its fields, or the status of a refusal."""

SOUND = [
    b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Mark: 1\r\nX-Mark: 2\r\n\r\n",
    b"\r\nHEAD /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET http://user@x:80/v1?at=2026-11-20 HTTP/1.1\r\nHost: y\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: t\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
]
LAST = [
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
]
WRONG = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /" + b"a" * TARGET_LIMIT + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * HEAD_LIMIT + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n" + bytes(BODY_LIMIT + 1),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


def written(bad: Bad) -> bytes:
    """One request of the corpus as the bytes that a careless client would send."""
    target = bad.path + (f"?{bad.query}" if bad.query else "")
    lines = [f"{bad.method} {target} HTTP/1.1", "host: x", *(f"{name}: {value}" for name, value in bad.headers)]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


CORPUS = [written(form) for bad in CASES for form in [bad, *bad.forms(2)]]


def outcomes(pieces: list[bytes]) -> list[Outcome]:
    """What comes of these bytes, up to the end of the connection."""
    parser = RequestParser()
    found: list[Outcome] = []
    for piece in pieces:
        for result in parser.parse_bytes(piece):
            request = result.request
            status = result.refusal.status if result.refusal else None
            fields = sorted(request.fields._values.items())  # type: ignore[attr-defined]
            parts = (request.method, request.path, request.query, request.authority)
            found.append((*parts, fields, result.last, status))
            if result.last:
                return found
        if parser.refusal is not None:
            found.append(("refused", parser.refusal.status))
            return found
        if parser.upgrade or parser.body_announced:
            return found
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(
    st.lists(st.sampled_from(SOUND), max_size=4),
    st.sampled_from([*SOUND, *LAST, *WRONG, *CORPUS]) | st.binary(max_size=60),
    st.lists(st.integers(min_value=0), max_size=12),
)
@example([], b"FETCH / HTTP/1.1\r\nHost: x\r\n\r\n", [2])
@example([], b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", [1])
@example(SOUND, b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", [*range(4000)])
@example(SOUND, LAST[3], [0])
@settings(deadline=None, max_examples=300)
def test_the_same_bytes_in_any_pieces_are_the_same_requests_and_refusals(
    first: list[bytes], then: bytes, places: list[int]
) -> None:
    data = b"".join(first) + then
    whole = outcomes([data])
    assert outcomes(cut(data, places)) == whole
    assert len(whole) >= len(first), "each sound request comes out"


def test_each_request_of_the_corpus_byte_by_byte_is_what_it_is_in_one_piece() -> None:
    for data in (*SOUND, *LAST, *(one for one in [*WRONG, *CORPUS] if len(one) < 2000)):
        assert outcomes([data[at : at + 1] for at in range(len(data))]) == outcomes([data]), data


def test_sound_requests_come_out_and_faults_are_refused() -> None:
    for data in SOUND:
        assert [one[-1] for one in outcomes([data])] == [None], data
    for data in LAST:
        assert [one[-1] for one in outcomes([data + SOUND[0]])] == [None], "nothing behind the last one is parsed"
    for data in WRONG:
        assert outcomes([data])[-1][-1] in {400, 413, 414, 431}, data
