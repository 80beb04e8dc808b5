"""The token a browser holds, and where the session behind it is kept.

    ms1.<tag>.<secret>      ms1.9370e9b2.pZk3v9Y0cE0m2mJw0c2c0xqv7nq2iYt8zq1mHkq8b1A

`ms1` names this format. `tag` is the first 8 hex digits of the SHA-256 of the user id: it is the Redis hash
tag of all keys of that user, so that one script may touch them in a Redis Cluster, and it tells nothing
about the user that the user's own browser may not know. `secret` is 32 random bytes in base64url.

Only the SHA-256 of the whole token is ever stored or compared inside Redis. Whoever reads a dump of the
database cannot use it, and the time a look-up takes tells nothing about a token (the fault of
CVE-2019-16782). A salt would add nothing to 256 random bits.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256

_TOKEN = re.compile(r"ms1\.([0-9a-f]{8})\.[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class SessionPlace:
    """Where one session is kept: its user's tag and the hash of its token."""

    tag: str
    digest: str

    @property
    def prefix(self) -> str:
        """The beginning of all keys of this tag; one slot in a Redis Cluster."""
        return f"momentus:{{s:{self.tag}}}:"

    @property
    def session_key(self) -> str:
        """The HASH that is the session."""
        return f"{self.prefix}session:{self.digest}"


def mint(user: str) -> str:
    """A new token for a user; unguessable and never given twice."""
    return f"ms1.{tag_of(user)}.{secrets.token_urlsafe(32)}"


def place_of(token: str) -> SessionPlace | None:
    """Where the session of this token is kept; None when the text is not a token at all.

    >>> place_of("hello") is None
    True
    """
    found = _TOKEN.fullmatch(token)
    return SessionPlace(found[1], sha256(token.encode()).hexdigest()) if found else None


def tag_of(user: str) -> str:
    """The hash tag of a user's keys.

    >>> tag_of("u-17")
    '9370e9b2'
    """
    return sha256(user.encode()).hexdigest()[:8]


def epoch_key(user: str) -> str:
    """The integer that counts how often all sessions of this user were ended."""
    return f"momentus:{{s:{tag_of(user)}}}:epoch:{user}"


def user_key(user: str) -> str:
    """The ZSET of this user's sessions: token hash by absolute expiry."""
    return f"momentus:{{s:{tag_of(user)}}}:user:{user}"
