"""What an account logs in with, read where the worker reads it: the settings, or the file that the account names.

Tokens are asked of the provider's authority anew. That costs one question, and shows that the client's own secret
is right; those that the workers share stay where they are.
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
    """A password or a bearer token, or why there is none.

    Attributes:
        password, token: secrets; empty for an account without a login, and where there is a fault.
        setting: where to mend them.
        fault: why there is none; without any secret.
    """

    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    setting: str = ""
    fault: str = ""

    @property
    def known(self) -> bool:
        """Whether there is something to log in with."""
        return bool(self.password or self.token)


async def credentials_of(account: Account, mail: Mapping[str, Any]) -> Credentials:
    """The credentials of an account; a fault is a fact too.

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
    """The text of the secret's file.

    Raises:
        OSError, ValueError: it cannot be read, everybody can read it, or there is nothing in it.
    """
    if not account.password_file:
        raise ValueError("password_file is not set, and the account has a user name")
    path = Path(account.password_file).expanduser()
    if path.stat().st_mode & stat.S_IROTH:
        raise ValueError(f"every user of this machine can read {path}, so workers refuse it: chmod o-r it")
    secret = path.read_text(encoding="utf-8", errors="replace").rstrip("\r\n")
    if not secret:
        raise ValueError(f"{path} is empty")
    return secret


def _source(account: Account, secret: str) -> TokenSource | None:
    """Where bearer tokens come from; None for an account with a password. The providers' libraries are extras."""
    match account.auth:
        case "microsoft":
            from worker.mail.accounts.token_microsoft import MicrosoftTokens  # noqa: PLC0415  an extra

            return MicrosoftTokens(tenant=account.tenant, client_id=account.client_id, secret=secret)
        case "google":
            from worker.mail.accounts.token_google import GoogleTokens  # noqa: PLC0415  an extra

            return GoogleTokens(key=secret, mailbox=account.username)
        case _:
            return None
