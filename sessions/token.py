"""Token of a session, and the Redis keys derived from it.

    ms1.<tag>.<secret>      ms1.9370e9b2.pZk3v9Y0cE0m2mJw0c2c0xqv7nq2iYt8zq1mHkq8b1A

`docs/sessions.md` describes its parts. Only the SHA-256 of the whole token is ever stored or compared inside
Redis: a reader of a dump cannot use it, and the duration of a lookup reveals nothing about it (CVE-2019-16782).
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256

_TOKEN = re.compile(r"ms1\.([0-9a-f]{8})\.[A-Za-z0-9_-]{43}")
_ANONYMOUS = re.compile(r"ma1\.([0-9a-f]{8})\.[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class SessionPlace:
    """Place of a session in Redis: its user's tag and the hash of its token."""

    tag: str
    digest: str

    @property
    def prefix(self) -> str:
        """Prefix of all keys of this tag; they share one slot of a Redis Cluster."""
        return f"momentus:{{s:{self.tag}}}:"

    @property
    def session_key(self) -> str:
        """Key of the session's HASH."""
        return f"{self.prefix}session:{self.digest}"


def new_token(user: str) -> str:
    """Return a new token for a user, of 256 random bits."""
    return f"ms1.{tag_of(user)}.{secrets.token_urlsafe(32)}"


def place_of(token: str) -> SessionPlace | None:
    """Return the place of a token's session, or None if the text is not a token.

    >>> place_of("hello") is None
    True
    """
    found = _TOKEN.fullmatch(token)
    return SessionPlace(found[1], sha256(token.encode()).hexdigest()) if found else None


def mint_anonymous(visitor: str) -> str:
    """Return a new token for a visitor who has not logged in; `place_of` does not know its form."""
    return f"ma1.{new_token(visitor).removeprefix('ms1.')}"


def anonymous_place_of(token: str) -> SessionPlace | None:
    """Return the place of an anonymous session's token, or None if the text is not such a token."""
    found = _ANONYMOUS.fullmatch(token)
    return SessionPlace(found[1], sha256(token.encode()).hexdigest()) if found else None


def tag_of(user: str) -> str:
    """Return the hash tag of a user's keys.

    >>> tag_of("u-17")
    '9370e9b2'
    """
    return sha256(user.encode()).hexdigest()[:8]


def epoch_key(user: str) -> str:
    """Return the key of a user's epoch: an integer that counts how often all their sessions were ended."""
    return f"momentus:{{s:{tag_of(user)}}}:epoch:{user}"


def user_key(user: str) -> str:
    """Return the key of a user's ZSET of sessions: token hash by absolute expiry."""
    return f"momentus:{{s:{tag_of(user)}}}:user:{user}"
