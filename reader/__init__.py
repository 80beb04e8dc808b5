"""The HTTP reader: serves precomputed reports from Redis, with their age, to users who may read them.

    message         one request and one response, as plain values
    http/           HTTP/1.1: bytes in, bytes out
    handler         routes: from a request to a response
    report          response for one report
    lookup          one lookup of a session and a report
    store           reports in Redis: one command, with a deadline
    snapshot        format of a stored report
    guard           sessions in Redis
    access          credentials of a request, and whether a node lies below one of a session's roots
    cache_control   the oldest response that a client accepts
    freshness       fresh, stale, too stale or not fresh enough, and the headers that say so
    problem         every refusal, as RFC 9457 problem details
    page/           the page for managers: static files
    metrics         counters in Prometheus text
    __main__        the process: settings, socket, signals

No request can cause SQL: nothing here can reach Postgres. docs/reader.md lists routes, statuses and headers.
"""
