"""Checks of the Redis server. Pure."""

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address

from clocks import BOUND
from ops.doctor.checks_queue import judge_depth
from ops.doctor.finding import DoctorFinding, fine, warning, wrong
from ops.doctor.redis_facts import RedisFacts

_LEAST_VERSION = 7
_USUAL_MAIL = 8 * 1024
"""Assumed bytes of a waiting mail if none waits to be measured."""
_FEW_MAILS = 10_000
_FULL = 0.9
_SKEW_WARNING = 1.0
_WHERE = "redis"


def judge_redis(facts: RedisFacts, *, bound: timedelta = BOUND) -> Iterator[DoctorFinding]:
    """Judge the facts of Redis; one finding for each checked fact.

    Args:
        bound: how far clocks may be apart.
    """
    for right, part in facts.lacking:
        yield warning("redis.no_right", _WHERE, right=right, part=part)
    if facts.info:
        yield _version(facts)
        if facts.info.get("role") == "slave":
            yield wrong("redis.replica", _WHERE)
        yield _eviction(facts)
        yield from _durability(facts)
        yield _memory(facts)
    if facts.skew is not None:
        yield _clock(facts.skew, bound.total_seconds())
    yield from _access(facts)
    if facts.depth is not None:
        yield from judge_depth(facts.depth)
    if facts.flood is not None:
        values = {"at": f"{facts.flood.at:%Y-%m-%d %H:%M}", "by": facts.flood.by, "age": facts.flood.age}
        yield warning("mail.suppressed_many", "mail", count=facts.flood.count, **values)


def _version(facts: RedisFacts) -> DoctorFinding:
    version = str(facts.info.get("redis_version", "0"))
    name = str(facts.info.get("server_name", "redis"))
    shown = f"{name} {facts.info.get(f'{name}_version', version)}"
    major = int(version.partition(".")[0]) if version.partition(".")[0].isdigit() else 0
    build = fine if major >= _LEAST_VERSION else wrong
    return build("redis.version" if major >= _LEAST_VERSION else "redis.old", _WHERE, version=shown)


def _eviction(facts: RedisFacts) -> DoctorFinding:
    policy = facts.config.get("maxmemory-policy") or str(facts.info.get("maxmemory_policy", "unknown"))
    if int(facts.info.get("evicted_keys", 0)):
        return wrong("redis.evicted", _WHERE, keys=facts.info["evicted_keys"], policy=policy)
    if policy != "noeviction":
        return wrong("redis.eviction", _WHERE, policy=policy)
    return fine("redis.noeviction", _WHERE)


def _durability(facts: RedisFacts) -> Iterator[DoctorFinding]:
    on = facts.config.get("appendonly", "yes" if facts.info.get("aof_enabled") else "no")
    if on != "yes":
        yield wrong("redis.no_aof", _WHERE)
    elif facts.info.get("aof_last_write_status", "ok") != "ok":
        yield wrong("redis.aof_failed", _WHERE)
    elif facts.config.get("appendfsync", "everysec") == "no":
        yield warning("redis.no_fsync", _WHERE)
    else:
        yield fine("redis.aof", _WHERE)
    if facts.info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield wrong("redis.save_failed", _WHERE)


def _memory(facts: RedisFacts) -> DoctorFinding:
    used, most = int(facts.info.get("used_memory", 0)), int(facts.info.get("maxmemory", 0))
    limit = most or int(facts.info.get("total_system_memory", 0))
    mails = max(0, limit - used) // (facts.mail_bytes or _USUAL_MAIL)
    values = {"mails": mails, "used": _mib(used), "limit": _mib(limit)}
    if most and used > _FULL * most:
        return wrong("redis.full", _WHERE, **values)
    if not most:
        return warning("redis.no_limit", _WHERE, **values)
    return (warning if mails < _FEW_MAILS else fine)("redis.memory", _WHERE, **values)


def _clock(ahead: float, bound: float) -> DoctorFinding:
    skew = abs(ahead)
    build = wrong if skew > bound else warning if skew > _SKEW_WARNING else fine
    return build("redis.clock" if skew > _SKEW_WARNING else "redis.clock_right", _WHERE, seconds=f"{ahead:+.1f}")


def _access(facts: RedisFacts) -> Iterator[DoctorFinding]:
    if _is_loopback(facts.host):
        return
    if not facts.encrypted:
        yield warning("redis.no_tls", _WHERE, host=facts.host)
    if not facts.password:
        yield wrong("redis.no_password", _WHERE, host=facts.host)


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.0f} MiB"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
