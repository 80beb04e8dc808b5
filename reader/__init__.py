"""The thin HTTP reader: precomputed reports out of Redis, with their age, for those who may see them.

    message     one request and one answer, as plain values
    bounds      how old an answer this client will take
    access      who asks, and whether a node lies below one of their roots
    snapshot    what one look into Redis brought back
    freshness   fresh, stale, too stale or not fresh enough; and the headers that say so
    problem     every refusal, in the words of RFC 9457
    store       the look into Redis: one command, with a deadline
    metrics     counters in Prometheus text
    handler     the routes: from a request to an answer
    __main__    the process: settings, socket, signals

It causes no SQL, whatever is asked of it: nothing here can reach Postgres. docs/reader.md lists routes,
statuses and headers.
"""
