"""Limits that are looked up together say what each says alone: the script itself, against itself key by key."""

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from redis import Redis

from tests.admission import BEFORE, KEYS, START

_BOTH = """
local keys = {limits = KEYS[1], buckets = KEYS[2], holds = KEYS[3]}
local limits = require_limits()
limits.only_looks = ARGV[1] == 'looks'

local function told(it)
  local free_at = it.room < 1 and limits.free_at(it) or 0
  local numbers = {tostring(it.room), tostring(free_at), tostring(it.blocked), tostring(it.used)}
  return {it.key, numbers, tostring(it.unreadable), it.definition or ''}
end

local function open()
  limits.known = {}
  limits.open('{test}', tonumber(ARGV[2]), keys, ARGV[3] == 'urgent')
end

local names, together, alone = {unpack(ARGV, 4)}, {}, {}
open()
limits.look_all(names)
for n, key in ipairs(names) do
  together[n] = told(limits.look(key))
end
for n, key in ipairs(names) do
  open()
  alone[n] = told(limits.look(key))
end
return {together, alone}
"""

names = st.sampled_from([f"{family}{number}" for family in ("customer:", "account:", "") for number in range(4)])
definitions = st.dictionaries(
    names | st.sampled_from(["customer:*", "account:*", "*"]) | names.map("slow:{}".format),
    st.sampled_from(
        [
            {"rates": [], "concurrency": 2, "reserve": 0.5},
            {"rates": [{"count": 5, "per_ms": 1000, "burst": 3}], "concurrency": None},
            {"rates": [{"count": 2, "per_ms": 1000, "parts": 4}, {"count": 9, "per_ms": 50, "burst": 9}]},
            {"rates": [{"count": 0, "per_ms": "x"}], "concurrency": 1},
            {"rates": 7},
            [],
            0.5,
            "{",
        ]
    ),
)
buckets = st.dictionaries(
    st.tuples(names, st.integers(1, 2)).map(lambda field: f"{field[0]}#{field[1]}"),
    st.integers(START - 100, START + 2_000).map(str)
    | st.just(f"{START + 900}@[250,{START // 250},2]")
    | st.sampled_from(["", "x", "9@[]"]),
)
holds = st.dictionaries(
    names.map("limit:{}".format),
    st.sampled_from([{"until_ms": START + 5}, {"until_ms": START - 5}, {"until_ms": None}, []]),
)
places = st.dictionaries(names, st.integers(0, 4))
"""How many run; 0: the key holds something else."""


@pytest.fixture
def redis(valkey_url: str) -> Redis:
    return Redis.from_url(valkey_url)


def _store(redis: Redis, hash_: str, fields: dict[str, Any]) -> None:
    for field, value in fields.items():
        redis.hset(hash_, field, value if isinstance(value, str) else orjson.dumps(value).decode())


def _store_members(redis: Redis, running: dict[str, int], waiting: dict[str, int]) -> None:
    for key, count in running.items():
        if count == 0:
            redis.set(f"momentus:{{test}}:occupying:{key}", "not a set")
        for number in range(count):
            redis.sadd(f"momentus:{{test}}:occupying:{key}", f"{key} {number}")
            redis.set(f"arq:in-progress:{key} {number}", "token")
    for key, count in waiting.items():
        if count == 0:
            redis.set(f"momentus:{{test}}:blocked:{key}", "not a line")
        for number in range(count):
            redis.zadd(f"momentus:{{test}}:blocked:{key}", {f"lane {number}": number})


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    defined=definitions,
    more=st.sampled_from([0, 200]),
    used=buckets,
    held=holds,
    running=places,
    waiting=places,
    asked=st.lists(names, min_size=1, max_size=12),
    how=st.tuples(st.sampled_from(["looks", "takes"]), st.sampled_from(["urgent", ""])),
)
def test_limits_that_are_looked_up_together_say_what_each_says_alone(  # noqa: PLR0913, PLR0917  all that is stored
    redis: Redis,
    defined: dict[str, Any],
    more: int,
    used: dict[str, str],
    held: dict[str, Any],
    running: dict[str, int],
    waiting: dict[str, int],
    asked: list[str],
    how: tuple[str, str],
) -> None:
    redis.flushall()
    _store(redis, KEYS[0], {**{f"filler:{number}": [] for number in range(more)}, **defined})
    _store(redis, KEYS[1], used)
    _store(redis, KEYS[2], held)
    _store_members(redis, running, waiting)
    looks, who = how
    together, alone = redis.register_script(BEFORE + _BOTH)(keys=KEYS, args=[looks, START, who, *asked])
    assert together == alone


def test_a_hash_of_buckets_that_holds_something_else_stops_only_limits_with_a_rate(redis: Redis) -> None:
    redis.flushall()
    _store(redis, KEYS[0], {"a": {"rates": [{"count": 5, "per_ms": 9, "burst": 3}]}, "b": {"rates": []}})
    redis.set(KEYS[1], "not a hash")
    together, alone = redis.register_script(BEFORE + _BOTH)(keys=KEYS, args=["takes", START, "", "a", "b", "c"])
    assert together == alone
    assert [one[2] for one in together] == [b"true", b"nil", b"nil"]


def test_more_limits_than_one_command_takes_are_looked_up_in_several(redis: Redis) -> None:
    redis.flushall()
    _store(redis, KEYS[0], {"customer:*": {"rates": [{"count": 5, "per_ms": 1000, "burst": 3}] * 9}})
    keys = [f"customer:{number}" for number in range(1_000)]
    _store(redis, KEYS[1], {f"{key}#9": str(START + 400) for key in keys[::2]})
    together, alone = redis.register_script(BEFORE + _BOTH)(keys=KEYS, args=["takes", START, "", *keys])
    assert together == alone
    assert [one[1][0] for one in together] == [b"1", b"3"] * 500
