"""Every setting of every process, read once from the environment.

A setting is an environment variable: ``MOMENTUS_`` and the field's name, sections joined by two underscores
(``MOMENTUS_WORKER__LEASE``). A secret may come from a file: ``MOMENTUS_MAIL__PASSWORD_FILE=/run/secrets/x``.
Only ``__main__`` files import this module; they pass plain values down, so no room knows where one came from.

What can go wrong: a name that does not exist, a value outside its limits, two values that contradict each
other, a secret file that others can read. ``load`` finds all of it at once; each line says which variable is
at fault, what is wrong and what is allowed. The value of a secret is never part of a message.

What this module refuses to do: read ``.env`` files, guess, or carry on with a default after a mistake. A
variable that is set but empty counts as not set. docs/settings.md is written from the fields below.

The file is long because all settings stand on one page: kinds of value, the settings, reading, wording.
"""

import difflib
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError as UnreadableError

from durations import read_duration, write_duration

PREFIX = "MOMENTUS_"
SECTION = "__"
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=count) for count in (1, 60, 3600, 86400))
SECRET_LIMIT_BYTES = 64 * 1024
_BARE = re.compile(r"\d{1,9}(\.\d{1,6})?", re.ASCII)


class SettingsError(Exception):
    """The environment is wrong. ``problems``: a line per mistake with its variable, the fault, the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# Kinds of value


def to_duration(value: object) -> object:
    """Read a length of time, or a bare number of seconds; what is neither is left to pydantic (ISO 8601)."""
    text = str(value).strip()
    try:
        return read_duration(f"{text}s" if _BARE.fullmatch(text) else text)
    except ValueError:
        return value


def to_time_zone(name: str) -> str:
    """An IANA name that this machine knows (from the system or the tzdata package)."""
    if name not in available_timezones():
        raise ValueError("no such time zone")
    return name


def to_host(host: str) -> str:
    """A name or address without port or scheme."""
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", host):
        raise ValueError("not a host name or address")
    return host


def to_loopback(host: str) -> str:
    """A host that only this machine reaches."""
    if not is_loopback(host):
        raise ValueError("other machines could reach it")
    return host


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, judged by name or address alone: no look-up."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def scheme(*schemes: str) -> AfterValidator:
    """A check that a secret address begins with one of these schemes and goes on after it."""

    def check(address: SecretStr) -> SecretStr:
        name, _, rest = address.get_secret_value().partition("://")
        if name not in schemes or not rest:
            raise ValueError("not such an address")
        return address

    return AfterValidator(check)


Duration = Annotated[timedelta, BeforeValidator(to_duration)]
Folder = Annotated[Path, AfterValidator(Path.expanduser)]
Host = Annotated[str, AfterValidator(to_host)]
LoopbackHost = Annotated[str, AfterValidator(to_loopback)]
PostgresDsn = Annotated[SecretStr, scheme("postgresql")]
RedisUrl = Annotated[SecretStr, scheme("redis", "rediss", "unix", "sentinel", "sentinels", "cluster", "clusters")]
TimeZone = Annotated[str, AfterValidator(to_time_zone)]


def setting(default: object, meaning: str, allowed: str = "", **limits: Any) -> Any:  # noqa: ANN401  as Field
    """A field with all a user must know; ``allowed`` says what type and limits (ge, le) do not."""
    return Field(default=default, description=meaning, json_schema_extra={"allowed": allowed}, **limits)


def free_port(default: int, meaning: str) -> Any:  # noqa: ANN401  as Field
    """A port we listen on ourselves, so that any free one will do."""
    return setting(default, meaning, "0 to 65535; 0 = any free one", ge=0, le=65535)


# The settings


class Section(BaseModel):
    """Settings that belong together; immutable once read."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class WorkerSettings(Section):
    """How many jobs run at once, and how a job survives the loss of its worker."""

    urgent_slots: int = setting(10, "Urgent mails one worker sends at once.", ge=0, le=1000)
    normal_slots: int = setting(20, "Ordinary mails one worker sends at once.", ge=0, le=1000)
    bulk_slots: int = setting(10, "Bulk mails one worker sends at once.", ge=0, le=1000)
    reports_slots: int = setting(2, "Report refreshes one worker runs at once.", ge=0, le=100)
    max_running: int | None = setting(
        None,
        "Jobs of all lanes one worker runs at once; below the sum of the slots, lanes share them by need. "
        "Left out: no such ceiling.",
        ge=1,
        le=5000,
    )
    lease: Duration = setting(
        10 * SECOND,
        "How long a silent worker keeps its jobs before another takes them.",
        ge=SECOND,
        le=5 * MINUTE,
    )
    lease_renew: Duration = setting(
        3 * SECOND, "How often leases are renewed; less than half the lease.", ge=SECOND / 10, le=150 * SECOND
    )
    grace: Duration = setting(
        30 * SECOND,
        "How long a stopping worker lets its jobs finish; then it hands them back.",
        ge=0 * SECOND,
        le=HOUR,
    )
    keep_result: Duration = setting(
        HOUR, "How long the result of a finished job can be asked for.", ge=0 * SECOND, le=30 * DAY
    )
    crash_limit: int = setting(3, "Workers a job may kill before it counts as dead.", ge=1, le=100)
    confirm_replicas: int = setting(
        0,
        "Redis replicas that must have a mail's mark before its final dot is written; with fewer no mail leaves. "
        "0 = the primary's word is enough, and a failover may send a mail twice.",
        ge=0,
        le=10,
    )


class MailSettings(Section):
    """The mail server. Nothing leaves this machine until ``mode`` is ``live``."""

    mode: Literal["sink", "live", "redirect", "hold"] = setting(
        "sink",
        "`sink` keeps mail on this machine, `live` sends it out, `redirect` sends all of it to one address, "
        "`hold` lets nothing leave.",
    )
    redirect_to: str | None = setting(
        None,
        "Who gets what may not go where it is addressed: all mail with `redirect`, other domains' with a list.",
        "`name@host`",
        pattern=r"^[^\s<>@]+@[^\s<>@]+$",
    )
    allowed_domains: str | None = setting(
        None,
        "The only domains that are written to, subdomains included; others are redirected, or dead with a reason.",
        "domains, apart by commas",
        pattern=r"^[A-Za-z0-9.-]+(?: *, *[A-Za-z0-9.-]+)*$",
    )
    host: Host | None = setting(
        None,
        "The mail server; none = the embedded sink of `./run up`. A worker without one sends no mails.",
        "a host name or address",
    )
    port: int = setting(25, "The mail server's port.", ge=1, le=65535)
    username: str | None = setting(None, "The account to log in with; needs the password.", "text")
    password: SecretStr | None = setting(None, "The password of that account.", "text")
    tls: Literal["required", "implicit", "off"] = setting(
        "required", "`required` = STARTTLS or no mail, `implicit` = TLS at once, `off` = loopback hosts only."
    )
    ca_file: Folder | None = setting(
        None,
        "Certificates of the authorities that may vouch for the mail server; left out, the system's.",
        "a PEM file",
    )
    ehlo_name: str | None = setting(
        None,
        "How the worker greets the mail server; left out, by this machine's full name or its address.",
        "a full host name, or an address like `[192.0.2.1]`",
        pattern=r"^(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9-]*[A-Za-z][A-Za-z0-9-]*"
        r"|\[(?:IPv6:[0-9A-Fa-f:.]+|[0-9.]+)\])$",
    )
    sender: str = setting(
        "Momentus <no-reply@momentus.example>",
        "The From header of mails that name no sender.",
        "`name@host` or `Name <name@host>`",
        pattern=r"^(?:[^<>@\r\n]+ <[^\s<>@]+@[^\s<>@]+>|[^\s<>@]+@[^\s<>@]+)$",
    )
    connections: int = setting(20, "Connections one worker keeps to the mail server.", ge=1, le=200)
    messages_per_connection: int = setting(
        100, "Mails sent over one connection before a new one.", ge=1, le=10_000
    )
    horizon: Duration = setting(24 * HOUR, "How long a mail is tried before it is dead.", ge=MINUTE, le=7 * DAY)
    seal_keys: SecretStr | None = setting(
        None,
        "The key ring that opens sealed mails; the first key seals. A new key goes in front.",
        "`id:key` one or more, the key 32 octets in base64 (`openssl rand -base64 32`)",
    )
    erase_after: Duration = setting(
        30 * DAY, "When the content of a dead mail is erased; its ids and its end stay.", ge=HOUR, le=366 * DAY
    )
    bounce_days: int = setting(
        7, "For how many days bounces are matched; a note of 100 octets a mail. 0 = none is noted.", ge=0, le=30
    )
    dkim_domain: str | None = setting(
        None, "The domain whose mails are signed with DKIM; none = none.", "a domain"
    )
    dkim_selector: str | None = setting(None, "The name of the DKIM key in that domain.", "a name")
    dkim_key: SecretStr | None = setting(
        None, "The private DKIM key.", "PEM without a passphrase, RSA of 1024 bits or more, or Ed25519"
    )
    accounts: Folder | None = setting(
        None,
        "A file with several accounts and their limits, used instead of the one account of the settings above.",
        "a TOML file, see `docs/mail.md`",
    )
    attachments: Folder | None = setting(
        None, "Where the files lie that mails attach by reference; none outside it is read.", "a folder"
    )
    templates: Folder | None = setting(
        None,
        "Your own mail templates, for `ops mail preview` and a worker's look at its start; "
        "backends name the folder themselves.",
        "a folder",
    )
    keep_journal: Duration = setting(
        3 * DAY,
        "How long `ops mail trace` can tell what happened to a mail that is done.",
        ge=0 * SECOND,
        le=30 * DAY,
    )


class ReportsSettings(Section):
    """The reports that are computed ahead of time."""

    path: Folder | None = setting(None, "A folder with report files beside the shipped ones.", "a folder")
    shipped: str = setting(
        "on",
        "Which of the shipped reports are used. They read the tables of the demo's organisation; "
        "on a database without those, `off`.",
        "`on` = all, `off` = none, or names apart by commas: `management,blockers`",
        pattern=r"^[a-z][a-z0-9_]*(?: *, *[a-z][a-z0-9_]*)*$",
    )
    statement_timeout: Duration = setting(30 * SECOND, "The longest a report's query may run.", ge=SECOND, le=HOUR)
    most_nodes: int = setting(
        200_000,
        "The most nodes of a report. One with more fails by itself; its last good set stays.",
        ge=1,
        le=10_000_000,
    )
    most_mib: int = setting(
        512,
        "The most that all documents of a report may take, in MiB, before they are compressed. One with more "
        "fails by itself; its last good set stays. A worker needs several times as much memory.",
        ge=1,
        le=65_536,
    )
    clock_bound: Duration = setting(
        30 * SECOND,
        "How far the clocks of database, Redis and reader may be apart; beyond it no report is called fresh.",
        ge=SECOND,
        le=HOUR,
    )


class ReaderSettings(Section):
    """The HTTP server that answers with stored reports."""

    host: Host = setting("127.0.0.1", "The address the reader listens on.", "a host name or address")
    port: int = free_port(8710, "The reader's port.")
    share_port: Literal["off", "on"] = setting(
        "off", "`on` = several readers listen on the same port, each with this setting; on Linux only."
    )
    access: Literal["session", "open"] = setting(
        "session", "`session` = managers see their own nodes, `open` = no log-in, loopback hosts only."
    )
    allowed_hosts: str = setting(
        "",
        "Names under which the reader may be asked, besides those of this machine; another `Host` gets 421. "
        "Left out: an open reader answers to this machine's names alone, one with sessions to any.",
        "host names or addresses without ports, with spaces between",
        pattern=r"^(?:(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?: +|$))*$",
    )
    copy_mib: int = setting(
        0,
        "Memory for the reader's own copy of documents and sessions, in MiB; it also bridges an outage of Redis.",
        "0 to 16384; 0 = no copy",
        ge=0,
        le=16_384,
    )
    cors_origins: str = setting(
        "",
        "Other sites whose pages may read reports.",
        "origins like `https://app.example`, with spaces between",
        pattern=r"^(?:https?://[A-Za-z0-9.:\[\]-]+(?: +|$))*$",
    )


class ConsoleSettings(Section):
    """The operators' page."""

    host: LoopbackHost = setting("127.0.0.1", "The address the console listens on.", "a loopback host")
    port: int = free_port(8720, "The console's port.")


class SinkSettings(Section):
    """The embedded mail server, on 127.0.0.1: it keeps every mail and delivers none."""

    smtp_port: int = free_port(8725, "Where the embedded sink takes mail.")
    http_port: int = free_port(8730, "Where the embedded sink shows mail.")


class Settings(BaseSettings):
    """All of them. A process gets them from ``load_or_exit``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=SECTION,
        env_ignore_empty=True,
        extra="ignore",  # unknown names are found by ``unknown_names``, which can suggest the right one
        frozen=True,
        hide_input_in_errors=True,
    )

    redis_url: RedisUrl | None = setting(
        None,
        "Redis or Valkey; none = the embedded one.",
        "`redis://`, `unix://`, `sentinel://host:port,host:port/service/0` or `cluster://host:port,host:port`; "
        "by TLS `rediss://`, `sentinels://`, `clusters://`",
    )
    postgres_dsn: PostgresDsn | None = setting(None, "Postgres; none = the embedded one.", "`postgresql://`")
    data_dir: Folder = setting(Path(".momentus"), "Where the embedded servers keep their data.", "a folder")
    tenant: str = setting(
        "default",
        "Whose data this is: keeps two organisations apart on one Redis.",
        "up to 63 lower-case letters, digits and hyphens, a letter first",
        pattern=r"^[a-z][a-z0-9-]{0,62}$",
    )
    timezone: TimeZone = setting("UTC", "The organisation's zone: when its day begins.", "an IANA name")
    log_format: Literal["auto", "console", "json"] = setting(
        "auto", "How log lines look; `auto` = readable on a terminal, JSON otherwise."
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "The least serious line logged.")
    worker: WorkerSettings = WorkerSettings()
    mail: MailSettings = MailSettings()
    reports: ReportsSettings = ReportsSettings()
    reader: ReaderSettings = ReaderSettings()
    console: ConsoleSettings = ConsoleSettings()
    sink: SinkSettings = SinkSettings()

    @model_validator(mode="after")
    def agree(self) -> "Settings":
        """No two settings contradict each other."""
        if contradictions := list(find_contradictions(self)):
            raise ValueError("\n".join(contradictions))
        return self


def find_contradictions(settings: Settings) -> Iterator[str]:
    """What is wrong although each value alone is allowed, with the remedy."""
    mail, away = settings.mail, settings.mail.host is not None and not is_loopback(settings.mail.host)
    if settings.worker.lease_renew >= settings.worker.lease / 2:
        yield "MOMENTUS_WORKER__LEASE_RENEW must be less than half of MOMENTUS_WORKER__LEASE"
    if mail.mode == "sink" and away:
        yield "MOMENTUS_MAIL__HOST is another machine, but mail is kept here: set MOMENTUS_MAIL__MODE=live"
    if mail.mode in {"live", "redirect"} and mail.host is None and mail.accounts is None:
        yield f"MOMENTUS_MAIL__MODE={mail.mode} has no server to send to: set MOMENTUS_MAIL__HOST or __ACCOUNTS"
    if mail.mode == "redirect" and mail.redirect_to is None:
        yield "MOMENTUS_MAIL__MODE=redirect has nobody to send to: set MOMENTUS_MAIL__REDIRECT_TO"
    if len({part is None for part in (mail.dkim_domain, mail.dkim_selector, mail.dkim_key)}) > 1:
        yield "MOMENTUS_MAIL__DKIM_DOMAIN, __DKIM_SELECTOR and __DKIM_KEY need each other: set all or none"
    if mail.tls == "off" and away:
        yield "MOMENTUS_MAIL__TLS=off is for loopback hosts only: set it to required or implicit"
    if (mail.username is None) != (mail.password is None):
        yield "MOMENTUS_MAIL__USERNAME and MOMENTUS_MAIL__PASSWORD need each other: set both or none"
    if settings.reader.share_port == "on" and not settings.reader.port:
        yield "MOMENTUS_READER__SHARE_PORT needs a port that others can be told of: set MOMENTUS_READER__PORT"
    if settings.reader.access == "open" and not is_loopback(settings.reader.host):
        yield "MOMENTUS_READER__ACCESS=open is for loopback hosts only: set it to session"


# Reading them


def load() -> Settings:
    """The settings of this environment; raises SettingsError with every mistake found."""
    secrets, unreadable = read_secret_files(os.environ)
    problems = [*unknown_names(os.environ), *unreadable]
    try:
        settings = Settings(**secrets)
    except ValidationError as error:
        problems += [line for fault in error.errors() for line in explain(fault["loc"], fault["msg"])]
    except UnreadableError:
        problems = problems or ["a section was given as one value: set its fields one by one"]
    if problems:
        raise SettingsError(problems)
    return settings


def load_or_exit() -> Settings:
    """As ``load``, but mistakes are printed to stderr and end the process with code 2."""
    try:
        return load()
    except SettingsError as error:
        sys.stderr.write(f"The settings are wrong (docs/settings.md lists them all):\n{error}\n")
        raise SystemExit(2) from None


def each_field(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> Iterator[tuple[str, FieldInfo]]:
    """Every single setting with the name of its variable."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from each_field(field.annotation, f"{prefix}{name.upper()}{SECTION}")
        else:
            yield prefix + name.upper(), field


def is_secret(field: FieldInfo) -> bool:
    """Whether the value must never be shown and may come from a file."""
    return "SecretStr" in str(field.annotation)


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """A line for each of our variables that does not exist, with the nearest one that does."""
    known = [name for name, _ in each_field()]
    known += [f"{name}_FILE" for name, field in each_field() if is_secret(field)]
    ours = sorted(name for name in environ if name.upper().startswith(PREFIX))
    return [f"{name} does not exist{nearest(name, known)}" for name in ours if name.upper() not in known]


def nearest(name: str, known: list[str]) -> str:
    """The end of the sentence: a suggestion where one is near enough."""
    close = difflib.get_close_matches(
        name.upper().removeprefix(PREFIX), [k.removeprefix(PREFIX) for k in known], n=1
    )
    return f"; did you mean {PREFIX}{close[0]}?" if close else ""


def read_secret_files(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The secrets given as files, nested as the model is, and what is wrong with the files."""
    secrets: dict[str, Any] = {}
    problems = []
    for name in (name for name, field in each_field() if is_secret(field) and environ.get(f"{name}_FILE")):
        *section, field_name = name.removeprefix(PREFIX).lower().split(SECTION)
        try:
            value = read_secret(Path(environ[f"{name}_FILE"]), twice=bool(environ.get(name)))
        except (OSError, ValueError) as error:
            problems.append(f"{name}_FILE: {error}")
        else:
            (secrets.setdefault(section[0], {}) if section else secrets)[field_name] = value
    return secrets, problems


def read_secret(path: Path, *, twice: bool) -> str:
    """The text of a secret file without the newline at its end; ``twice``: its variable is set as well."""
    if twice:
        raise ValueError("the variable without _FILE is set too: keep one of them")
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    if path.stat().st_mode & stat.S_IROTH:
        raise ValueError(f"every user of this machine can read {path}: chmod o-r it")
    with path.open("rb") as file:
        text = file.read(SECRET_LIMIT_BYTES).decode(errors="replace").rstrip("\r\n")
    if not text:
        raise ValueError(f"{path} is empty")
    return text


# Wording


def explain(location: tuple[int | str, ...], message: str) -> list[str]:
    """Lines for one fault that pydantic found: the variable, what is wrong, what is allowed."""
    reason = message.removeprefix("Value error, ")
    if not location:
        return reason.splitlines()  # contradictions name their variables themselves
    name = PREFIX + SECTION.join(map(str, location)).upper()
    if (field := dict(each_field()).get(name)) is None:
        return []  # a section given as one value: ``unknown_names`` has said so
    given = "" if is_secret(field) or name not in os.environ else f"={os.environ[name]!r}"
    return [f"{name}{given}: {reason[0].lower()}{reason[1:]}; allowed: {allowed(field)}"]


def allowed(field: FieldInfo) -> str:
    """What a field accepts: in its own words, or read from its type and limits."""
    if isinstance(field.json_schema_extra, dict) and (words := field.json_schema_extra["allowed"]):
        return str(words)
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    least, most = (getattr(limit, key) for key in ("ge", "le") for limit in field.metadata if hasattr(limit, key))
    return f"{show(least)} to {show(most)}"


def show(value: object) -> str:
    """A default or limit as a user would write it."""
    if isinstance(value, timedelta):
        return write_duration(value)
    return "none" if value is None else str(value)
