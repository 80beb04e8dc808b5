"""Tokens of Google Workspace by a service account that acts for a mailbox (RFC 7523; domain-wide delegation).

The service account's client needs the scope https://mail.google.com/ in the Workspace's admin console. Google's
own library sends the requests; it blocks, so it runs in a thread.
"""

import asyncio
import json
from datetime import UTC
from typing import Final

import google.auth.exceptions
import google.auth.transport.requests
from google.oauth2 import service_account

from worker.mail.smtp.token import Token, TokenRefused, TokenUnavailable

_SCOPES: Final = ["https://mail.google.com/"]


class GoogleTokens:
    """Token source of one service account for one mailbox; implements `worker.mail.smtp.token.TokenSource`.

    Args:
        key: JSON text of the service account's key file.
        mailbox: mailbox for which it acts: the username at the mail server.

    Raises:
        ValueError: the key is not such a file; the error never repeats it.
    """

    def __init__(self, *, key: str, mailbox: str) -> None:
        try:
            self._credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]  # google-auth's is bare
                json.loads(key), scopes=_SCOPES, subject=mailbox
            )
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                "key: is not the JSON key file of a Google service account; download it from Google Cloud"
            ) from None

    async def token(self) -> Token:
        """Request a new token.

        Raises:
            TokenUnavailable, TokenRefused: see `worker.mail.smtp.token`.
        """
        try:
            await asyncio.to_thread(self._refresh)
        except google.auth.exceptions.RefreshError as error:
            if error.retryable:
                raise TokenUnavailable(_first_line(error)) from error
            raise TokenRefused(_first_line(error)) from error
        except google.auth.exceptions.GoogleAuthError as error:
            raise TokenUnavailable(f"the request to Google's authority failed: {type(error).__name__}") from error
        credentials = self._credentials
        return Token(credentials.token, credentials.expiry.replace(tzinfo=UTC).timestamp())

    def _refresh(self) -> None:
        self._credentials.refresh(google.auth.transport.requests.Request())


def _first_line(error: Exception) -> str:
    return str(error.args[0] if error.args else error).partition("\n")[0]
