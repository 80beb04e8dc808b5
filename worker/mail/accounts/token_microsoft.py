"""Tokens of Microsoft 365 by client credentials: an application's own, without any user (RFC 6749, 4.4).

The application needs the permission SMTP.SendAsApp and a grant on the mailbox. Microsoft's own library does the
asking; it blocks, so it is asked in a thread.
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


class _Session(requests.Session):
    """With a time limit, and an own authority's certificates where given, whatever the environment names."""

    def __init__(self, ca_file: str) -> None:
        super().__init__()
        self._always: dict[str, Any] = {"timeout": _SECONDS} | ({"verify": ca_file} if ca_file else {})

    def request(self, *arguments: Any, **options: Any) -> requests.Response:  # noqa: ANN401  as its parent's
        return super().request(*arguments, **(options | self._always))


class MicrosoftTokens:
    """One application of one tenant; satisfies `worker.mail.smtp.token.TokenSource`.

    Args:
        tenant: the directory's id or domain.
        client_id: the application's id.
        secret: its client secret.
        authority: where tokens come from.
        ca_file: certificates (PEM) of those who may vouch for it; left out, the library's own.
    """

    def __init__(
        self, *, tenant: str, client_id: str, secret: str, authority: str = _AUTHORITY, ca_file: str = ""
    ) -> None:
        self._options: dict[str, Any] = {
            "client_id": client_id,
            "client_credential": secret,
            "authority": f"{authority}/{tenant}",
            "instance_discovery": False,  # the authority is configured, nobody needs to vouch for it
            "http_client": _Session(ca_file),
        }

    async def token(self) -> Token:
        """A new token.

        Raises:
            TokenUnavailable, TokenRefused: see `worker.mail.smtp.token`.
        """
        asked_at = time.time()
        try:
            answer = await asyncio.to_thread(self._ask)
        except (requests.RequestException, ValueError) as error:  # ValueError: the authority answers no JSON
            raise TokenUnavailable(f"Microsoft's authority: {type(error).__name__}") from error
        if "access_token" in answer:
            return Token(answer["access_token"], asked_at + int(answer["expires_in"]))
        reason = f"{answer.get('error')}: {answer.get('error_description', '')}".partition("\n")[0]
        if answer.get("error") in _PASSING:
            raise TokenUnavailable(reason)
        raise TokenRefused(reason)

    def _ask(self) -> Mapping[str, Any]:
        """A new application each time: an old one would answer from its memory."""
        answer: Mapping[str, Any] = msal.ConfidentialClientApplication(**self._options).acquire_token_for_client(
            _SCOPES
        )
        return answer
