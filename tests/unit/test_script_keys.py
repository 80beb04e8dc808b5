"""Scripts count their keys by what they were given: on a cluster each call brings one key more, behind the others.

`producers.link.cluster.guarded` tells why. A script that asks how many keys there are, or takes all of them, would
take that one for a job's.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("producers", "sessions", "worker", "ops", "reader", "jobs", "reports", "ledger")
SCRIPTS = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.lua"))
BY_NUMBER = re.compile(r"(?<!#)\bKEYS\[")
BOUNDED = re.compile(r"unpack\(KEYS, \d+, [^,]+\)")
"""With a first and a last."""


def unbounded_uses(source: str) -> list[str]:
    """Lines that use KEYS otherwise than by a number, or from a first to a last one."""
    code = [line.partition("--")[0] for line in source.splitlines()]
    return [line for line in code if re.search(r"\bKEYS\b(?!')", BOUNDED.sub("", BY_NUMBER.sub("", line)))]


def test_there_are_scripts_to_look_at() -> None:
    assert len(SCRIPTS) > 40
    assert any(BOUNDED.search(path.read_text()) for path in SCRIPTS)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_key_more_behind_the_others_is_never_seen(path: Path) -> None:
    assert unbounded_uses(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "redis.call('MGET', unpack(KEYS, 2))",
        "redis.call('DEL', unpack(KEYS))",
        "for n = 2, #KEYS do",
        "for _, key in ipairs(KEYS) do",
        "local keys = KEYS",
        "local last = KEYS[#KEYS]",
    ],
)
def test_what_would_see_it_is_found(line: str) -> None:
    assert unbounded_uses(line) == [line]


@pytest.mark.parametrize(
    "line", ["local key = KEYS[first + 1]", "unpack(KEYS, 2, 1 + #ARGV / 3)", "redis.call('HKEYS', key) -- KEYS"]
)
def test_what_cannot_see_it_is_not(line: str) -> None:
    assert unbounded_uses(line) == []
