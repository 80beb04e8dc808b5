"""The accounts file: the mail accounts, in the order in which they are tried. This module opens no file.

    [accounts.main]
    preset = "microsoft365"
    username = "tasks@example.com"
    password_file = "/run/secrets/main"

    [accounts.spare]
    preset = "ses"
    host = "email-smtp.eu-west-1.amazonaws.com"
    username = "AKIA…"
    password_file = "/run/secrets/spare"
    per_second = 14

    [streams.payroll]
    uncertain = "hold"

A missing key gets the preset's value (`jobs.mail.preset`). All mistakes are reported at once, each line with
the table and the key: an unknown key or preset, a value of another type, a login without a user name.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from .address import PRIVATE_DOMAINS, normal_address
from .ehlo import is_ehlo_name
from .errors import MailError
from .preset import PRESETS, Preset, Tls
from .stream import STREAMS, Stream, is_stream_name

ReadDuration = Callable[[str], timedelta]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_NUMBERS = {
    "port": (1, 65535),
    "per_second": (0, 100_000),
    "per_minute": (0, 1_000_000),
    "per_day": (0, 100_000_000),
    "connections": (0, 1000),
    "messages": (0, 100_000),
    "urgent_share": (0, 90),
}
_TEXTS = ("host", "tls", "username", "password_file", "auth", "tenant", "client_id", "ca_file", "ehlo_name")
_ONE_OF = {
    "tls": ("required", "implicit", "off"),
    "auth": ("password", "microsoft", "google"),
}


class AccountsError(ValueError):
    """The accounts file is wrong. ``problems``: a line per mistake with the table, the fault and the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account, with its preset's defaults filled in.

    Attributes:
        password_file: file that holds the password, client secret or service account key.
        auth: ``password``; or XOAUTH2 by Microsoft's client credentials or Google's service account.
        tenant, client_id: for ``microsoft``.
        ca_file: certificates (PEM) of the authorities trusted to verify the server; "" for the system's.
        ehlo_name: name sent in EHLO; "" for the one in the settings.
        sender_domains: the sender domains that this account may send for; empty for any.
        per_second, per_minute, per_day, connections, messages, idempotency_header: see :class:`Preset`.
        urgent_share: percent of each limit that only urgent mail may use.
    """

    name: str
    preset: str = "generic"
    host: str = ""
    port: int = 25
    tls: Tls = "required"
    username: str = field(default="", repr=False)
    password_file: str = ""
    auth: str = "password"
    tenant: str = ""
    client_id: str = ""
    ca_file: str = ""
    ehlo_name: str = ""
    sender_domains: tuple[str, ...] = ()
    login: bool = False
    per_second: int = 0
    per_minute: int = 0
    per_day: int = 0
    connections: int = 0
    messages: int = 0
    urgent_share: int = 20
    idempotency_header: str = ""

    @property
    def bounded(self) -> bool:
        """True if the account has at least one limit."""
        return bool(self.per_second or self.per_minute or self.per_day or self.connections)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsFile:
    """The content of an accounts file.

    Attributes:
        accounts: in the order in which they are tried.
        streams: the product's streams with the file's changes, and the file's own.
    """

    accounts: tuple[Account, ...]
    streams: Mapping[str, Stream] = field(default_factory=lambda: STREAMS)


def read_accounts(text: str, read_duration: ReadDuration) -> AccountsFile:
    """Read the accounts and streams of a file.

    Args:
        text: content of the file, TOML.
        read_duration: parses a duration; raises ValueError. Passed in, since this room imports nothing else of
            this project.

    Raises:
        AccountsError: with every mistake found.

    Example:
        >>> file = read_accounts('accounts.main = {preset = "gmail", username = "me"}', durations.read_duration)
        >>> file.accounts[0].host
        'smtp.gmail.com'
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AccountsError([f"is not TOML: {error}"]) from None
    problems = [
        f"{name}: unknown table; the tables are accounts and streams" for name in content if name not in _TABLES
    ]
    accounts, streams = _tables(content, "accounts", problems), _tables(content, "streams", problems)
    if not accounts:
        problems.append("[accounts.NAME]: is missing; give at least one account")
    for name, table in accounts.items():
        problems += [f"[accounts.{name}] {problem}" for problem in _account_problems(name, table)]
    for name, table in streams.items():
        problems += [f"[streams.{name}] {problem}" for problem in _stream_problems(name, table, read_duration)]
    if problems:
        raise AccountsError(problems)
    return AccountsFile(
        accounts=tuple(_account(name, table) for name, table in accounts.items()),
        streams={**STREAMS, **{name: _stream(name, table, read_duration) for name, table in streams.items()}},
    )


_TABLES = ("accounts", "streams")


def _tables(content: Mapping[str, Any], word: str, problems: list[str]) -> dict[str, dict[str, Any]]:
    named = content.get(word, {})
    if not isinstance(named, dict) or not all(isinstance(table, dict) for table in named.values()):
        problems.append(f"{word}: must hold tables, like [{word}.main]")
        return {}
    return named


def _account(name: str, table: Mapping[str, Any]) -> Account:
    preset = PRESETS[table.get("preset", "generic")]
    given = {one.name for one in fields(Account)} & {one.name for one in fields(Preset)} - {"name"}
    defaults = {one: getattr(preset, one) for one in given}
    domains = tuple(_normal_domain(one) or "" for one in table.get("sender_domains", ()))
    own = {"name": name, "preset": preset.name, "sender_domains": domains}
    return Account(**{**defaults, **table, **own})


def _account_problems(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield "is not an account name: start with a letter; use up to 32 lower-case letters, digits and hyphens"
    known = ["preset", "sender_domains", *_TEXTS, *_NUMBERS]
    for key in table:
        if key not in known:
            yield f"{key}: unknown key{_nearest(key, known)}"
    preset = PRESETS.get(str(table.get("preset", "generic")))
    if preset is None:
        yield f"preset: {table['preset']!r} is unknown; allowed: {', '.join(PRESETS)}"
        return
    wrong = list(_value_problems(table))
    yield from wrong
    if not wrong:
        yield from _missing(table, preset)


def _value_problems(table: Mapping[str, Any]) -> Iterator[str]:
    for key in _TEXTS:
        value = table.get(key, "")
        if not isinstance(value, str) or not value.isprintable():
            yield f"{key}: must be a string"
        elif key in table and value not in _ONE_OF.get(key, (value,)):
            yield f"{key}: must be one of {', '.join(_ONE_OF[key])}"
        elif key == "ehlo_name" and value and not is_ehlo_name(value):
            yield 'ehlo_name: must be a full host name or an address in brackets, like "app.example.com"'
    for key, (lowest, highest) in _NUMBERS.items():
        value = table.get(key, highest)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            yield f"{key}: must be a whole number from {lowest} to {highest}"
    domains = table.get("sender_domains", [])
    if not isinstance(domains, list) or not all(map(_normal_domain, domains)):
        yield 'sender_domains: must be a list of domains, like ["example.com"]'


def _normal_domain(value: object) -> str | None:
    """Return the domain in lower case, as an A-label; None for an invalid domain."""
    try:
        return normal_address(f"x@{value}", field="sender_domains", private_domains=PRIVATE_DOMAINS).removeprefix(
            "x@"
        )
    except MailError:
        return None


def _missing(table: Mapping[str, Any], preset: Preset) -> Iterator[str]:
    if not (table.get("host") or preset.host):
        yield f"host: is missing; {preset.name} has no common host, so give yours"
    username, secret = table.get("username") or preset.username, table.get("password_file")
    if preset.login and not username:
        yield f"username: is missing; {preset.name} accepts mail only after a login"
    if secret and not username:
        yield "password_file: is given without a username; give both or neither"
    if table.get("auth") == "microsoft" and not (table.get("tenant") and table.get("client_id")):
        yield 'auth: "microsoft" needs tenant and client_id; give both'
    if table.get("tls") == "off" and (table.get("host") or preset.host) not in {"localhost", "127.0.0.1", "::1"}:
        yield 'tls: "off" is for loopback hosts only; set it to required or implicit'


def _stream(name: str, table: Mapping[str, Any], read_duration: ReadDuration) -> Stream:
    before = STREAMS.get(name, Stream(name=name))
    expires = table.get("expires")
    return Stream(
        name=name,
        uncertain=table.get("uncertain", before.uncertain),
        expires=before.expires if expires is None else read_duration(expires),
        unsubscribe=table.get("unsubscribe", before.unsubscribe),
        suppression=table.get("suppression", before.suppression),
        auto_submitted=table.get("auto_submitted", before.auto_submitted),
    )


def _stream_problems(name: str, table: Mapping[str, Any], read_duration: ReadDuration) -> Iterator[str]:
    if not is_stream_name(name):
        yield "is not a stream name: start with a letter; use up to 32 lower-case letters, digits and hyphens"
    known = {
        "uncertain": ("resend", "hold"),
        "suppression": ("all", "undeliverable"),
        "auto_submitted": ("auto-generated", "auto-replied", "no"),
        "unsubscribe": (True, False),
    }
    for key, value in table.items():
        if key == "expires":
            try:
                read_duration(str(value))
            except ValueError as error:
                yield f"expires: {error}"
        elif key not in known:
            yield f"{key}: unknown key{_nearest(key, [*known, 'expires'])}"
        elif value not in known[key] or isinstance(value, bool) != (key == "unsubscribe"):
            yield f"{key}: must be one of {', '.join(str(one).lower() for one in known[key])}"


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; allowed: {', '.join(known)}"
