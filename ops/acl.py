"""Redis users as an ACL file: one per role, each limited to the keys and commands of its work.

    producer   a backend that queues work
    sessions   a backend that logs people in
    worker     runs jobs, computes reports
    reader     reads reports and sessions
    console    counts, and writes what its charts show
    ops        operators with the command line or the console

A role has grants: commands together with the keys that they may use (selectors, Redis 7). Redis checks the
commands inside scripts too, with the caller's rights, even for keys that the script does not declare
(https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/). So a script adds no rights: the
grant for EVALSHA names all keys of the queue, because Redis treats every declared key as read and written, and the
commands of the script are in the grants beside it. No role may run KEYS, FLUSHALL, CONFIG SET, DEBUG or MODULE, or
touch keys of other applications. The file holds the SHA-256 of each password, never the password.

docs/operations.md lists the differences that a grant cannot express because they lie within one key or one
command.
"""

import argparse
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.lanes import GROUPS
from ops.command import Command, CommandRefused, CommandResult, Tools

_TALK = "ping hello auth select role time cluster|slots cluster|info command asking"
"""The commands of every connection; the last four on a cluster. Redis 7.0 does not know CLIENT SETINFO and
refuses a file that names it."""
_SCRIPTS = "script|load script|exists"


def _each(*names: str, access: str = "~") -> str:
    """Return the key patterns for each lane group."""
    return " ".join(f"{access}momentus:{{{group}}}:{name}" for group in GROUPS for name in names)


_QUEUES = " ".join(f"~arq:queue:{{{group}}}:*" for group in GROUPS)
_JOBS = "~arq:job:* ~arq:in-progress:* ~arq:retry:* ~arq:result:*"
_QUEUE = f"{_QUEUES} {_JOBS} {_each('*')}"
_SESSIONS = "~momentus:{s:*"
_AUDIT = "~momentus:{ops}:audit"
_SAMPLES = "~momentus:{ops}:samples"
_SETS_OF_REPORTS = " ".join(
    f"~momentus:{{reports}}:{name}:*" for name in ("snapshot", "closed", "staged", "withdrawn")
)
_KEPT_ASIDE = f"~arq:job:* ~arq:result:* {_each('history:*', 'undo:*')}"
_CHANGED = "&momentus:{reports}:changed:*"

_STRINGS = "get getdel set mget mset exists del unlink expire pexpire pexpireat pttl persist type getrange strlen"
_HASHES = "hget hset hsetnx hmget hdel hlen hkeys hgetall hincrby hexists hscan hrandfield"
_ZSETS = (
    "zadd zrem zscore zmscore zcard zcount zrange zrevrange zrangebyscore zrank zremrangebyscore zremrangebyrank"
)
_SETS = "sadd srem scard sismember smembers srandmember"
_LISTS = "lpush rpush llen ltrim lrange lindex lset blpop"
_ALL = f"{_STRINGS} {_HASHES} {_ZSETS} {_SETS} {_LISTS} evalsha"


@dataclass(frozen=True, slots=True)
class Grant:
    """Commands and the keys that they may use.

    Attributes:
        keys: ACL patterns: ``~`` for any use, ``%R~`` to read, ``%W~`` to write.
        commands: names, subcommands behind a ``|``.
    """

    keys: str
    commands: str

    def __str__(self) -> str:
        """Return the grant as a selector of an ACL rule."""
        return f"({self.keys} {_plus(self.commands)})"


@dataclass(frozen=True, slots=True)
class Role:
    """Rights of one kind of process.

    Attributes:
        commands: the commands without keys.
        channels: ACL patterns.
    """

    name: str
    commands: str
    grants: tuple[Grant, ...]
    channels: str = ""


_PRODUCER = (
    Grant(_QUEUE, "evalsha"),
    Grant("%W~arq:job:* %W~arq:retry:* %W~arq:result:*", "set mset exists del"),
    Grant("%R~arq:in-progress:*", "exists"),
    Grant("%R~arq:job:{jobs}* %R~arq:result:{jobs}* %R~arq:retry:{jobs}* %R~arq:in-progress:{jobs}*", "get mget"),
    Grant("%R~momentus:{jobs}:history:*", "lrange"),
    Grant(f"{_QUEUES} {_each('leases:*', 'dead:*')}", "zadd zscore zcard zrem"),
    Grant(_each("blocked:*"), "zrange zrem"),
    Grant(
        _each("counters", "minute:*", "limited", "keyed", "next", "ledger", "ended"),
        "hget hmget hset hdel hlen hkeys hincrby pexpire",
    ),
    Grant(_each("lapses", "effects", "progress", "parked:*", access="%W~"), "hdel hexists"),
    Grant(_each("uncertain"), "zadd zcard zremrangebyrank"),
    Grant(_each("adopted", "cancelled", "retrying:*", "held_back:*", "occupying:*"), "sismember sadd srem"),
    Grant(_each("wake:*", "staged"), "llen lpush"),
    Grant(_each("unique:*"), "get set mset strlen del pttl pexpireat"),
    Grant(_each("history:*", access="%W~"), "del persist"),
    Grant(_each("confirmed", access="%W~"), "set"),
    Grant(_each("digest:*"), "hget hmget hset pexpire"),
    Grant("%R~momentus:{reports}:catalogue:*", "hget exists"),
    Grant("~momentus:{mail}:suppression ~momentus:{mail}:doubts", "hget hset hdel pexpire"),
    Grant("%W~momentus:{mail}:suppression:log", "rpush ltrim"),
    Grant(
        "~momentus:{mail}:failures:* ~momentus:{mail}:refused:* ~momentus:{mail}:believed:*",
        "zadd zrem zremrangebyscore zrangebyscore zcard zcount pexpire",
    ),
    Grant("%R~momentus:{mail}:taken:*", "hget"),
)
"""Grants of a backend. It writes payloads and reads none except those of own jobs and the digests that it adds to.
It records the refusals that a provider's webhook reports, and adds addresses to the suppression list and removes
them."""

_COUNTED = (
    *(
        "crons",
        "counters",
        "workers",
        "worker:*",
        "holds",
        "dataset",
        "leases:*",
        "retrying:*",
        "dead:*",
        "parked:*",
    ),
    *("promises", "promises:*", "minute:*", "limits", "buckets", "blocked:*", "occupying:*", "held_back:*"),
    *("flow:*", "limited"),
)
_CONSOLE = (
    Grant(_QUEUE, "evalsha"),
    Grant(
        f"{_QUEUES.replace('~', '%R~')} {_each(*_COUNTED, access='%R~')}",
        "get hget hgetall hkeys hmget hlen lrange zcount zcard zrange zrevrange scard smembers srandmember",
    ),
    Grant("%R~arq:in-progress:*", "mget"),
    Grant(_each("ledger", "ended", access="%R~"), "hlen"),
    Grant("%R~momentus:{mail}:doubts %R~momentus:{mail}:account:*", "hgetall"),
    Grant("%R~momentus:{mail}:permits:*", "zrange"),
    Grant("%R~momentus:{reports}:catalogue:* %R~momentus:{reports}:snapshot:*", "hkeys hmget"),
    Grant("%R~momentus:{reports}:audit:*", "hmget"),
    Grant("%R~momentus:{reports}:wanted:*", "exists"),
    Grant(_SAMPLES, "lrange lindex lpush ltrim expire"),
)
_READER = (
    Grant("%R~momentus:{reports}:snapshot:* %R~momentus:{reports}:closed:*", "hmget"),
    Grant("%R~momentus:{reports}:catalogue:*", "hexists hgetall"),
    Grant("%W~momentus:{reports}:wanted:*", "set"),
    Grant("%R~momentus:{s:*}:session:* %R~momentus:{s:*}:epoch:*", "hmget get"),
    Grant("%W~momentus:{s:*}:session:*", "pexpire pexpireat"),
)
"""Grants of a reader, without scripts. It changes only a session's time to live, so it cannot create one or reset
an epoch."""

_LOG_IN = (
    "evalsha eval get set incr del unlink rename pttl pexpire pexpireat hget hset hmget hincrby hexists "
    "zadd zrem zcard zrange zremrangebyscore"
)

ROLES = (
    Role("producer", f"{_TALK} {_SCRIPTS} wait", _PRODUCER),
    Role("sessions", f"{_TALK} {_SCRIPTS}", (Grant(_SESSIONS, _LOG_IN),)),
    Role(
        "worker",
        f"{_TALK} {_SCRIPTS} wait client|id client|unblock multi exec discard publish",
        (Grant(_QUEUE, _ALL), Grant(_SETS_OF_REPORTS, "rename")),
        _CHANGED,
    ),
    Role("reader", f"{_TALK} client|tracking subscribe unsubscribe", _READER, _CHANGED),
    Role("console", f"{_TALK} {_SCRIPTS}", _CONSOLE),
    Role(
        "ops",
        f"{_TALK} {_SCRIPTS} info config|get scan multi exec discard wait acl|whoami client|list publish",
        (
            Grant(f"{_QUEUE} {_SESSIONS} {_AUDIT} {_SAMPLES}", f"{_ALL} zscan memory|usage"),
            Grant(_SESSIONS, _LOG_IN),
            Grant(_KEPT_ASIDE, "copy rename"),
        ),
        _CHANGED,
    ),
)


def user_line(role: Role, password_sha256: str) -> str:
    """Return one line of an ACL file.

    Example:
        >>> user_line(Role("sessions", "ping", (Grant("~momentus:{s:*", "get set"),)), "ab")
        'user momentus-sessions on #ab resetkeys resetchannels -@all +ping (~momentus:{s:* +get +set)'
    """
    parts = ["user", f"momentus-{role.name}", "on", f"#{password_sha256}", "resetkeys", "resetchannels"]
    parts += [*role.channels.split(), "-@all", _plus(role.commands), *map(str, role.grants)]
    return " ".join(parts)


def _plus(commands: str) -> str:
    return " ".join(f"+{name}" for name in dict.fromkeys(commands.split()))


def acl_file(folder: Path) -> Iterator[str]:
    """Yield the lines for all roles; create a password for each role that has none in the folder.

    Args:
        folder: holds a file per role, whose only content is the password.

    Raises:
        OSError: the folder cannot be written.
        CommandRefused: a password is too short.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    yield "user default off resetkeys resetchannels -@all"
    for role in ROLES:
        yield user_line(role, hashlib.sha256(_password(folder / role.name).encode()).hexdigest())


_SHORTEST = 16


def _password(file: Path) -> str:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32) + "\n", "utf-8")
    password = file.read_text("utf-8").strip()
    if len(password) < _SHORTEST:
        raise CommandRefused(
            f"--passwords: the password in {file} has fewer than {_SHORTEST} characters; write a longer one"
        )
    return password


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passwords",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder with a password file per role; missing ones are created",
    )


async def _act(_tools: Tools, args: argparse.Namespace) -> CommandResult:
    try:
        lines = list(acl_file(args.passwords))
    except OSError as error:
        raise CommandRefused(
            f"--passwords: {args.passwords} cannot be used: {error.strerror}; name a folder that you can write to"
        ) from error
    return CommandResult("\n".join(lines), {"users": lines})


ACL = Command(
    "acl",
    "print the Redis users as an ACL file",
    "acl --passwords /etc/momentus/redis > users.acl",
    _arguments,
    _act,
    needs_redis=False,
)
