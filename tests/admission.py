"""The script of limits on a clock of the test's own: what it lets through at which instants.

`limits.lua` takes the time from whoever opens it, so a run of admissions at any instants is one call here.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from redis import Redis

import producers
from producers.limits.limit import Limit, Rate, Window

_SCRIPTS = Path(producers.__file__).parent / "scripts"
BEFORE = "".join(
    f"local function require_{part}()\n{(_SCRIPTS / f'{part}.lua').read_text(encoding='utf-8')}end\n"
    for part in ("window", "limits")
)
_DRIVE = """
local limits = require_limits()
local keys = {limits = KEYS[1], buckets = KEYS[2], holds = KEYS[3]}
local reply = {}
for at = 2, #ARGV, 3 do
  limits.known = {}
  limits.open('{test}', tonumber(ARGV[at]), keys, ARGV[at + 2] == 'urgent')
  local it, taken = limits.look(ARGV[1]), 0
  while it.room >= 1 and taken < tonumber(ARGV[at + 1]) do
    limits.take(it, 'x')
    taken = taken + 1
  end
  limits.commit()
  reply[#reply + 1] = {taken, it.room >= 1 and tonumber(ARGV[at]) or limits.free_at(it)}
end
return reply
"""
"""For each instant, how many are asked for, and by whom: how many were let through, and when the next may be."""

_LOOK = """
local limits = require_limits()
limits.only_looks = true
limits.open('{test}', tonumber(ARGV[2]), {limits = KEYS[1], buckets = KEYS[2], holds = KEYS[3]}, true)
return limits.look(ARGV[1]).room
"""

KEYS = ("momentus:{test}:limits", "momentus:{test}:buckets", "momentus:{test}:holds")
START = 1_795_400_000_000
NEVER = -(2**63)
"""How the script's infinity arrives: nobody knows when the next may be."""

Visit = tuple[int, int]
"""Milliseconds since the visit before, and how many are asked for."""
Admitted = tuple[int, int, int]
"""Instant, how many were let through, when the next may be."""


def define(redis: Redis, rates: Sequence[Rate | Window], *, key: str = "x", reserve: float = 0) -> None:
    """Set a limit, in place of what its key was."""
    redis.hset(KEYS[0], key, Limit(key, tuple(rates), reserve=reserve).to_json().decode())


def admit(
    redis: Redis, visits: Sequence[Visit], *, key: str = "x", who: str = "urgent", start: int = START
) -> list[Admitted]:
    """What is let through of a limit that is defined."""
    now, arguments = start, list[int | str]()
    for step, count in visits:
        now += step
        arguments += [now, count, who]
    reply = redis.register_script(BEFORE + _DRIVE)(keys=KEYS, args=[key, *arguments])
    return [(int(at), taken, free) for at, (taken, free) in zip(arguments[::3], reply, strict=True)]


def drive(
    redis: Redis,
    rates: Sequence[Rate | Window],
    visits: Sequence[Visit],
    *,
    reserve: float = 0,
    who: str = "urgent",
) -> list[Admitted]:
    """What is let through of a new limit."""
    redis.flushall()
    define(redis, rates, reserve=reserve)
    return admit(redis, visits, who=who)


def look(redis: Redis, now: int, *, key: str = "x") -> int:
    """The room of a limit that is only looked at."""
    room: Any = redis.eval(BEFORE + _LOOK, len(KEYS), *KEYS, key, str(now))
    return int(room)


def kept(redis: Redis) -> dict[str, bytes]:
    """What is stored of rates."""
    found: Any = redis.hgetall(KEYS[1])
    return {field.decode(): text for field, text in found.items()}


def instants(admitted: Sequence[Admitted]) -> list[int]:
    """When each one began."""
    return [at for at, taken, _ in admitted for _ in range(taken)]


def never_more(begun: Sequence[int], count: int, per: timedelta) -> bool:
    """Whether no window of the length sees more than so many begin, wherever it lies."""
    ordered, shortest = sorted(begun), milliseconds(per)
    return all(later - earlier >= shortest for earlier, later in zip(ordered, ordered[count:], strict=False))


def milliseconds(duration: timedelta) -> int:
    """As the script counts them."""
    return round(duration / timedelta(milliseconds=1))
