"""Durations of this process's refreshes, and their failures, by board and report."""

from collections import Counter, defaultdict
from typing import Final

from metrics.histogram import LONG, Histogram

REFRESHES: Final = defaultdict[str, Histogram](lambda: Histogram(LONG))
"""Whole refreshes, by board."""
QUERIES: Final = defaultdict[str, Histogram](lambda: Histogram(LONG))
"""Execution times of a report's queries, by report."""
FAILURES: Final = Counter[str]()
"""Failed refreshes, by report."""
