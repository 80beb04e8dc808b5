"""Credentials of an account, read like the worker's: from the settings, or from the file that the account names.

A new token is requested from the provider's authority. That costs one request and proves that the client's secret
is correct; the token that the workers share is not used.
"""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.mail.account import Account
from worker.mail.smtp.token import TokenRefused, TokenSource, TokenUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Password or bearer token of an account, or the reason why there is none.

    Attributes:
        password, token: secrets; empty for an account without a login, and after a fault.
        setting: the setting that holds them.
        fault: the reason why there is none; it contains no secret.
    """

    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    setting: str = ""
    fault: str = ""

    @property
    def known(self) -> bool:
        """True if there is a password or a token."""
        return bool(self.password or self.token)


async def credentials_of(account: Account, mail: Mapping[str, Any]) -> Credentials:
    """Read the credentials of an account; a failure is returned as `fault`.

    Args:
        mail: the mail settings by name, secrets revealed.
    """
    if not account.username:
        return Credentials()
    if not mail.get("accounts"):
        setting = "MOMENTUS_MAIL__USERNAME and MOMENTUS_MAIL__PASSWORD"
        return Credentials(password=mail.get("password") or "", setting=setting)
    setting = _setting(account)
    try:
        secret = _secret(account)
        source = _source(account, secret)
        token = (await source.token()).value if source else ""
    except ImportError as error:
        fault = f"{error}; install the group {account.auth} of pyproject.toml"
        return Credentials(setting=setting, fault=fault)
    except (OSError, ValueError, TokenRefused, TokenUnavailable) as error:
        return Credentials(setting=setting, fault=str(error))
    return Credentials(password="" if source else secret, token=token, setting=setting)


def _setting(account: Account) -> str:
    names = {"microsoft": "tenant, client_id and password_file", "google": "username and password_file"}
    return f"{names.get(account.auth, 'username and password_file')} of [accounts.{account.name}]"


def _secret(account: Account) -> str:
    """Read the file of the secret.

    Raises:
        OSError, ValueError: it cannot be read, every user can read it, or it is empty.
    """
    if not account.password_file:
        raise ValueError("password_file: is not set, and the account has a username; name a file")
    path = Path(account.password_file).expanduser()
    if path.stat().st_mode & stat.S_IROTH:
        raise ValueError(
            f"password_file: every user of this machine can read {path}, so workers refuse it; run chmod o-r"
        )
    secret = path.read_text(encoding="utf-8", errors="replace").rstrip("\r\n")
    if not secret:
        raise ValueError(f"password_file: {path} is empty; write the password into it")
    return secret


def _source(account: Account, secret: str) -> TokenSource | None:
    """Return the source of bearer tokens, or None for an account with a password. The libraries are optional."""
    match account.auth:
        case "microsoft":
            from worker.mail.accounts.token_microsoft import MicrosoftTokens  # noqa: PLC0415  an optional library

            return MicrosoftTokens(tenant=account.tenant, client_id=account.client_id, secret=secret)
        case "google":
            from worker.mail.accounts.token_google import GoogleTokens  # noqa: PLC0415  an optional library

            return GoogleTokens(key=secret, mailbox=account.username)
        case _:
            return None
