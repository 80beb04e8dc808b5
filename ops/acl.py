"""The users that a Redis should know: one per role, each with the keys and commands of its rooms and no others.

    producer   a backend that queues work
    sessions   a backend that logs people in
    worker     runs jobs, computes reports
    reader     looks at reports and sessions
    console    looks at the queue, changes nothing
    ops        people with the command line

What a role may do is what its rooms do; the commands inside the scripts count too, because Redis checks them with
the caller's rights (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/). No role may run
KEYS, FLUSHALL, CONFIG SET, DEBUG or MODULE, or touch keys that are not ours. The console's keys are writable for
the pattern's sake (a script counts as a writer of its keys), but it has no command that writes. Nobody's password
is in the file, only its SHA-256.
"""

import argparse
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.command import Answer, Command, Refused, Tools

_TALK = (
    "ping hello auth select role client|id client|setinfo client|setname evalsha script|load eval script|exists"
)
_STRINGS = "get set mget mset exists del unlink pexpire pexpireat pttl persist type getrange strlen incr"
_HASHES = "hget hset hsetnx hmget hdel hlen hkeys hgetall hincrby hexists hscan hrandfield"
_ZSETS = (
    "zadd zrem zscore zmscore zcard zcount zrange zrevrange zrangebyscore zrank zremrangebyscore zremrangebyrank "
    "zpopmin"
)
_SETS = "sadd srem scard sismember smembers"
_LISTS = "lpush rpush llen ltrim lrange lindex lset blpop"
_SCRIPTED = f"{_STRINGS} {_HASHES} {_ZSETS} {_SETS} {_LISTS} time rename publish pexpiretime"
_LOOKING = (
    "get mget exists pttl type getrange strlen hget hmget hlen hkeys hgetall hscan hrandfield hexists zscore "
    "zmscore zcard zcount zrange zrevrange zrangebyscore zrank scard sismember smembers llen lrange lindex time"
)

_QUEUE = (
    "~arq:queue:{*",
    "~arq:job:*",
    "~arq:in-progress:*",
    "~arq:retry:*",
    "~arq:result:*",
    "~momentus:{mail}:*",
    "~momentus:{reports}:*",
)
_SESSIONS = ("~momentus:{s:*",)


@dataclass(frozen=True, slots=True)
class Role:
    """What one kind of process needs.

    Attributes:
        keys, channels: ACL patterns.
        commands: names, subcommands behind a ``|``.
    """

    name: str
    keys: tuple[str, ...]
    commands: str
    channels: tuple[str, ...] = ()


ROLES = (
    Role("producer", _QUEUE, f"{_TALK} {_SCRIPTED} wait"),
    Role("sessions", _SESSIONS, f"{_TALK} {_SCRIPTED}"),
    Role(
        "worker",
        _QUEUE,
        f"{_TALK} {_SCRIPTED} wait client|unblock info|server multi exec discard",
        ("&momentus:{reports}:changed:*",),
    ),
    Role(
        "reader",
        ("%R~momentus:{reports}:*", "%W~momentus:{reports}:wanted:*", *_SESSIONS),
        f"{_TALK} {_LOOKING} set hset pexpire del zrem client|tracking subscribe unsubscribe",
        ("&momentus:{reports}:changed:*",),
    ),
    Role("console", _QUEUE, f"{_TALK} {_LOOKING} info"),
    Role(
        "ops",
        (*_QUEUE, *_SESSIONS),
        f"{_TALK} {_SCRIPTED} info config|get scan multi exec discard wait acl|whoami client|list",
        ("&momentus:{reports}:changed:*",),
    ),
)


def user_line(role: Role, password_sha256: str) -> str:
    """A line of an ACL file.

    Example:
        >>> user_line(Role("sessions", ("~momentus:{s:*",), "get ping"), "ab")
        'user momentus-sessions on #ab resetkeys resetchannels ~momentus:{s:* -@all +get +ping'
    """
    commands = " ".join(f"+{name}" for name in dict.fromkeys(role.commands.split()))
    patterns = " ".join((*role.keys, *role.channels))
    return f"user momentus-{role.name} on #{password_sha256} resetkeys resetchannels {patterns} -@all {commands}"


def acl_file(folder: Path) -> Iterator[str]:
    """The lines for all roles; a password that is not in the folder yet is made and kept there.

    Args:
        folder: holds a file per role, whose only content is the password.

    Raises:
        OSError: the folder cannot be written.
        Refused: a password is too short.
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
        raise Refused(f"the password in {file} has fewer than {_SHORTEST} characters: write a longer one")
    return password


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--passwords", type=Path, required=True, metavar="FOLDER", help="a file per role")


async def _act(_tools: Tools, asked: argparse.Namespace) -> Answer:
    try:
        lines = list(acl_file(asked.passwords))
    except OSError as error:
        raise Refused(f"--passwords {asked.passwords}: {error.strerror}") from error
    return Answer("\n".join(lines), {"users": lines})


ACL = Command(
    "acl",
    "the users that Redis should know, as an ACL file",
    "acl --passwords /etc/momentus/redis > users.acl",
    _arguments,
    _act,
    needs_redis=False,
)
