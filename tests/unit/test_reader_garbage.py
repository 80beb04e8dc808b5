"""A request leaves nothing to the garbage collector, whose pauses every other request would wait for."""

import gc

from reader.connection import Connection
from reader.http.parse import RequestParser
from reader.lookup import ReportRequest
from reader.message import Request
from reader.report import ReportResponder
from reader.store import StoredReports

HEAD = b'GET /v1/reports/general/%d HTTP/1.1\r\nHost: a\r\nIf-None-Match: "x"\r\nCookie: a=%d\r\n\r\n'


def living() -> int:
    return sum(isinstance(one, Request | ReportRequest) for one in gc.get_objects())


def test_requests_and_what_was_found_for_them_are_freed_at_once() -> None:
    parser = RequestParser()
    reports = ReportResponder(StoredReports(Connection("redis://127.0.0.1:1"), tenant="default"), None)
    gc.collect()
    before = living()
    gc.disable()
    try:
        for number in range(1, 100):
            (result,) = parser.parse_bytes(HEAD % (number, number))
            result.request.found = reports.read_request(result.request, "general", str(number), "")
            assert isinstance(result.request.found, ReportRequest)
        assert living() <= before + 2, "the last ones, which the parser holds"
    finally:
        gc.enable()
