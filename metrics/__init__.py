"""Metrics of every process: one table of names, plain counters, and the page that Prometheus reads.

    table        every metric: its name, type, labels, meaning and the process that has it
    histogram    counts of durations, cheap enough for the hot path
    readings     what a process reports at one instant, checked against the table
    process      what every process reports about itself: version, event loop, background tasks
    exposition   the page: OpenMetrics or Prometheus text, whichever the client prefers
    place        where a process listens: a port or a Unix socket
    listener     the HTTP server of that page

docs/metrics.md is written from the table by docs/metrics_page.py.

Counting is separate from reporting: the hot path adds to plain numbers of its own process, and only a scrape makes
metrics of them. So a scrape costs nothing between scrapes, and no lock is taken for a job.
"""
