"""Bearer tokens of OAuth 2, with which XOAUTH2 logs in instead of a password."""

from dataclasses import dataclass, field
from typing import Protocol


class TokenUnavailable(Exception):
    """No token is available: the authority could not be reached or did not respond in time."""


class TokenRefused(Exception):
    """The authority refused a token: the account's client secret, certificate or permission is at fault.

    The message is the authority's error, without secrets.
    """


@dataclass(frozen=True, slots=True)
class Token:
    """Bearer token.

    Attributes:
        value: the token itself, a secret.
        expires_at: Unix time in seconds.
        renew_at: Unix time in seconds from which a new token is requested; until it comes, this one is used.
        after_refusal: True if it was requested because a server had refused the token before it.
    """

    value: str = field(repr=False)
    expires_at: float
    renew_at: float = 0.0
    after_refusal: bool = False


class TokenSource(Protocol):
    """Source of tokens that requests a new one from the authority at each call."""

    async def token(self) -> Token:
        """Request a new token; its ``renew_at`` is ignored.

        Raises:
            TokenUnavailable, TokenRefused: there is no new token.
        """


class Tokens(Protocol):
    """Shared token of an account, renewed before it expires."""

    async def token(self) -> Token:
        """Return the token to log in with.

        Raises:
            TokenUnavailable, TokenRefused: there is no new token.
        """

    async def renewed(self, refused: Token) -> Token | None:
        """Return another token after the server refused this one early; None if another would be refused too.

        Raises:
            TokenUnavailable, TokenRefused: there is no new token.
        """
