"""Writes what the classes without asyncio share with those of asyncio: every call but how it waits.

    .venv/bin/python -m tests.twins

In `producers/sync.py`, `producers/sync_levels.py`, `sessions/sync.py` and `sessions/sync_visit.py`, what stands
below the line `# Every call below ...` is written from the other file: the methods below that line there, with
`async` and `await` taken out. Above it is what differs.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TWINS = {
    "producers/producer.py": "producers/sync.py",
    "producers/levels.py": "producers/sync_levels.py",
    "sessions/store.py": "sessions/sync.py",
    "sessions/visit.py": "sessions/sync_visit.py",
}
MARK = re.compile(r"(?<=\n)    # Every call below stands in `\w+/\w+\.py` too[^\n]*\n")


def calls_of(path: str) -> str:
    """What stands below the mark."""
    return MARK.split(_text(path), maxsplit=1)[1]


def without_asyncio(calls: str) -> str:
    """The same calls for threads.

    >>> without_asyncio("async def send(self):\\n    async with a: return await b")
    'def send(self):\\n    with a: return b'
    """
    return re.sub(r"\b(?:async|await) ", "", calls)


def written(twin: str, calls: str) -> str:
    """The file without asyncio, with these calls below its mark."""
    text = _text(twin)
    mark = MARK.search(text)
    assert mark is not None, f"{twin} has no mark"
    return text[: mark.end()] + without_asyncio(calls)


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


if __name__ == "__main__":
    for source, twin in TWINS.items():
        (ROOT / twin).write_text(written(twin, calls_of(source)), encoding="utf-8")
