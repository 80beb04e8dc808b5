"""Tokens of Microsoft 365 by client credentials: of an application, without a user (RFC 6749, 4.4).

The application needs the permission SMTP.SendAsApp and a grant on the mailbox. Microsoft's own library sends the
requests; it blocks, so it runs in a thread.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import msal
import requests

from worker.mail.smtp.token import Token, TokenRefused, TokenUnavailable

_AUTHORITY: Final = "https://login.microsoftonline.com"
_SCOPES: Final = ["https://outlook.office365.com/.default"]
_SECONDS: Final = 20
_PASSING: Final = frozenset({"temporarily_unavailable", "server_error", "slow_down"})


class _TimedSession(requests.Session):
    """HTTP session with a timeout, and with the given certificates regardless of the environment."""

    def __init__(self, ca_file: str) -> None:
        super().__init__()
        self._always: dict[str, Any] = {"timeout": _SECONDS} | ({"verify": ca_file} if ca_file else {})

    def request(self, *arguments: Any, **options: Any) -> requests.Response:  # noqa: ANN401  like the overridden method
        return super().request(*arguments, **(options | self._always))


class MicrosoftTokens:
    """Token source of one application of one tenant; implements `worker.mail.smtp.token.TokenSource`.

    Args:
        tenant: the directory's id or domain.
        client_id: the application's id.
        secret: the application's client secret.
        authority: URL of the authority that issues tokens.
        ca_file: trusted certificates (PEM) for the authority; if empty, the library's own.
    """

    def __init__(
        self, *, tenant: str, client_id: str, secret: str, authority: str = _AUTHORITY, ca_file: str = ""
    ) -> None:
        self._options: dict[str, Any] = {
            "client_id": client_id,
            "client_credential": secret,
            "authority": f"{authority}/{tenant}",
            "instance_discovery": False,  # the authority is configured, so it needs no discovery
            "http_client": _TimedSession(ca_file),
        }

    async def token(self) -> Token:
        """Request a new token.

        Raises:
            TokenUnavailable, TokenRefused: see `worker.mail.smtp.token`.
        """
        requested_at = time.time()
        try:
            response = await asyncio.to_thread(self._request_token)
        except (requests.RequestException, ValueError) as error:  # ValueError: the response is not JSON
            raise TokenUnavailable(
                f"the request to Microsoft's authority failed: {type(error).__name__}"
            ) from error
        if "access_token" in response:
            return Token(response["access_token"], requested_at + int(response["expires_in"]))
        reason = f"{response.get('error')}: {response.get('error_description', '')}".partition("\n")[0]
        if response.get("error") in _PASSING:
            raise TokenUnavailable(reason)
        raise TokenRefused(reason)

    def _request_token(self) -> Mapping[str, Any]:
        """Request a token with a new application, because an old one would return its cached token."""
        response: Mapping[str, Any] = msal.ConfidentialClientApplication(**self._options).acquire_token_for_client(
            _SCOPES
        )
        return response
