"""Bearer tokens: what a log-in by OAuth 2 (XOAUTH2) shows instead of a password."""

from dataclasses import dataclass, field
from typing import Protocol


class TokenUnavailable(Exception):
    """No token for now: the authority could not be reached, or did not answer in time."""


class TokenRefused(Exception):
    """The authority will not give one: the account's client secret, certificate or permission is at fault.

    The message is the authority's error, without any secret.
    """


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token.

    Attributes:
        value: a secret.
        expires_at: Unix time in seconds.
        renew_at: the same: from when on a new one is asked for; while it is on its way, this one is good.
        after_refusal: whether it was asked for because a server had refused the one before.
    """

    value: str = field(repr=False)
    expires_at: float
    renew_at: float = 0.0
    after_refusal: bool = False


class TokenSource(Protocol):
    """Asks the authority for a new token, each time it is called."""

    async def token(self) -> Token:
        """A new token; its ``renew_at`` is not looked at.

        Raises:
            TokenUnavailable, TokenRefused: see there.
        """


class Tokens(Protocol):
    """Hands out one token to many, and asks for a new one when that is due."""

    async def token(self) -> Token:
        """The token to log in with.

        Raises:
            TokenUnavailable, TokenRefused: see there.
        """

    async def renewed(self, refused: Token) -> Token | None:
        """Another token, after the server refused this one before its time; None if there is no use in trying.

        Raises:
            TokenUnavailable, TokenRefused: see there.
        """
