"""Settings of all processes, read once from the environment.

A setting is an environment variable: ``MOMENTUS_`` and the field's name, sections joined by two underscores
(``MOMENTUS_WORKER__LEASE``). A secret may come from a file: ``MOMENTUS_MAIL__PASSWORD_FILE=/run/secrets/x``.
Only ``__main__`` files import this module; they pass plain values down, so no room knows the source of a value.

``load`` reports all mistakes at once: an unknown name, a value outside its limits, two values that contradict each
other, a secret file that other users can read. Each line names the variable, the mistake and the allowed values.
The value of a secret is never part of a message.

The module does not read ``.env`` files, guess, or continue with a default after a mistake. A
variable that is set but empty counts as not set. docs/settings.md is generated from the fields below.

The file is long because all settings are on one page: kinds of value, the settings, reading, messages.
"""

import difflib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_address, ip_network
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
_HIGHEST_PORT = 65_535
_LISTEN_PLACES = "`9310` for this machine alone, `0.0.0.0:9310`, or `unix:/run/momentus.sock`"
_BARE = re.compile(r"\d{1,9}(\.\d{1,6})?", re.ASCII)


class SettingsError(Exception):
    """The environment is invalid. ``problems``: a line per mistake with its variable, the fault and the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# Kinds of value


def to_duration(value: object) -> object:
    """Read a duration, or a bare number of seconds; other text is returned for pydantic to read (ISO 8601)."""
    text = str(value).strip()
    try:
        return read_duration(f"{text}s" if _BARE.fullmatch(text) else text)
    except ValueError:
        return value


def to_time_zone(name: str) -> str:
    """Return the name if this machine knows the IANA time zone (from the system or the tzdata package).

    Raises:
        ValueError: an unknown zone.
    """
    if name not in available_timezones():
        raise ValueError("unknown time zone")
    return name


def to_host(host: str) -> str:
    """Return the text if it is a name or address without port or scheme.

    Raises:
        ValueError: it is not.
    """
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", host):
        raise ValueError("not a host name or address")
    return host


def to_loopback(host: str) -> str:
    """Return the host if only this machine reaches it.

    Raises:
        ValueError: other machines could reach it.
    """
    if not is_loopback(host):
        raise ValueError("is reachable from other machines")
    return host


def is_loopback(host: str) -> bool:
    """Return True if the name or address alone means this machine; no DNS query is made."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def to_listen_place(text: str) -> str:
    """Return the text if it is a port, a host with a port, or the path of a socket.

    Raises:
        ValueError: it is not.
    """
    found = re.fullmatch(
        r"unix:/\S+|(?:(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):)?(?P<port>\d{1,5})", text, re.ASCII
    )
    if found is None or int(found["port"] or 0) > _HIGHEST_PORT:
        raise ValueError("not a port, HOST:PORT or unix:/PATH")
    return text


def require_scheme(*schemes: str) -> AfterValidator:
    """Return a check for a secret address: it must start with one of these schemes and continue after it."""

    def check(address: SecretStr) -> SecretStr:
        name, _, rest = address.get_secret_value().partition("://")
        if name not in schemes or not rest:
            raise ValueError("has an unsupported scheme or no address")
        return address

    return AfterValidator(check)


_CONSOLE_TOKEN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}:(view|operate|admin):[!-~]{24,512}")


def to_console_tokens(tokens: SecretStr) -> SecretStr:
    """Return the service tokens if each has a name, a role and enough characters.

    Raises:
        ValueError: one is malformed.
    """
    if not all(map(_CONSOLE_TOKEN.fullmatch, tokens.get_secret_value().split())):
        raise ValueError("a token does not have the form name:role:token")
    return tokens


def to_networks(text: str) -> str:
    """Return the text if it lists addresses or networks.

    Raises:
        ValueError: one is neither.
    """
    for one in text.split():
        if not is_network(one):
            raise ValueError("is neither an address nor a network")
    return text


def is_network(text: str) -> bool:
    """Return True if the text is an address or a network, like 10.0.0.0/8."""
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


ConsoleTokens = Annotated[SecretStr, AfterValidator(to_console_tokens)]
Networks = Annotated[str, AfterValidator(to_networks)]
Duration = Annotated[timedelta, BeforeValidator(to_duration)]
Folder = Annotated[Path, AfterValidator(Path.expanduser)]
Host = Annotated[str, AfterValidator(to_host)]
ListenPlace = Annotated[str, AfterValidator(to_listen_place)]
LoopbackHost = Annotated[str, AfterValidator(to_loopback)]
PostgresDsn = Annotated[SecretStr, require_scheme("postgresql")]
RedisUrl = Annotated[
    SecretStr, require_scheme("redis", "rediss", "unix", "sentinel", "sentinels", "cluster", "clusters")
]
TimeZone = Annotated[str, AfterValidator(to_time_zone)]


def setting(default: object, meaning: str, allowed: str = "", **limits: Any) -> Any:  # noqa: ANN401  as Field
    """Return a field with its full description; ``allowed`` says what type and limits (ge, le) do not."""
    return Field(default=default, description=meaning, json_schema_extra={"allowed": allowed}, **limits)


def free_port(default: int, meaning: str) -> Any:  # noqa: ANN401  as Field
    """Return a field for a port that this machine listens on, so that any free one is possible."""
    return setting(default, meaning, "0 to 65535; 0 = any free one", ge=0, le=65535)


# The settings


class Section(BaseModel):
    """A group of settings; immutable once read."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


_MODULE = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_LANE = r"[a-z][a-z0-9_]{0,31}:\d{1,3}"
_PROMISE = r"(?:report/)?[a-z][a-z0-9_.-]{0,63}:\d{1,9}(?:\.\d{1,6})?(?:ms|s|m|h|d):\d{1,2}(?:\.\d{1,4})?"


class WorkerSettings(Section):
    """Settings of the worker: jobs at the same time, and recovery of a job whose worker is lost."""

    urgent_slots: int = setting(10, "Urgent mails that one worker sends at the same time.", ge=0, le=1000)
    normal_slots: int = setting(20, "Ordinary mails that one worker sends at the same time.", ge=0, le=1000)
    bulk_slots: int = setting(10, "Bulk mails that one worker sends at the same time.", ge=0, le=1000)
    reports_slots: int = setting(2, "Report refreshes that one worker runs at the same time.", ge=0, le=100)
    jobs: str | None = setting(
        None,
        "Modules with the handlers of your own job kinds, see `docs/jobs.md`.",
        "module names, separated by commas",
        pattern=rf"^{_MODULE}(?: *, *{_MODULE})*$",
    )
    jobs_folder: Folder | None = setting(
        None, "Folder that holds those modules, put first on the path.", "a folder"
    )
    jobs_slots: int = setting(10, "Jobs of your own kinds that name no lane, run at the same time.", ge=0, le=1000)
    lanes: str | None = setting(
        None,
        "Lanes of your own job kinds that this worker serves, with their slots.",
        "`name:slots`, separated by commas, like `invoices:10, media:2`",
        pattern=rf"^{_LANE}(?: *, *{_LANE})*$",
    )
    processes: int = setting(
        0, "Child processes for jobs that run in one; 0 = as many as processors.", ge=0, le=256
    )
    process_jobs: int = setting(
        0, "Jobs after which a child process is replaced by a new one; 0 = never.", ge=0, le=1_000_000
    )
    max_running: int | None = setting(
        None,
        "Jobs of all lanes that one worker runs at the same time; below the sum of the slots, lanes share them by "
        "need. Left out: no limit.",
        ge=1,
        le=5000,
    )
    lease: Duration = setting(
        10 * SECOND,
        "Time after which the jobs of a silent worker are taken over by another.",
        ge=SECOND,
        le=5 * MINUTE,
    )
    lease_renew: Duration = setting(
        3 * SECOND,
        "Interval at which a worker renews its leases; less than half the lease.",
        ge=SECOND / 10,
        le=150 * SECOND,
    )
    grace: Duration = setting(
        30 * SECOND,
        "Time that a stopping worker gives its jobs to finish; then it returns them to the queue.",
        ge=0 * SECOND,
        le=HOUR,
    )
    keep_result: Duration = setting(
        HOUR, "Time for which the result of a finished job can be read.", ge=0 * SECOND, le=30 * DAY
    )
    crash_limit: int = setting(
        3, "Number of workers that may crash while they run a job; then it is dead.", ge=1, le=100
    )
    promises: str | None = setting(
        None,
        "Promises of service that workers note, see `docs/promises.md`: the largest age of a lane's oldest ready "
        "job, or of a report, and the percentage of the minutes in which it is kept.",
        "`mail.urgent:1m:99.9, report/management:2m:99`, separated by commas",
        pattern=rf"^{_PROMISE}(?: *, *{_PROMISE})*$",
    )
    tracing: Literal["auto", "on", "off"] = setting(
        "auto",
        "Whether a worker makes spans of OpenTelemetry, see `docs/tracing.md`: `auto` = if "
        "`opentelemetry-instrument` or a job module has set it up; `on` = it is set up by the variables `OTEL_*`.",
    )
    confirm_replicas: int = setting(
        0,
        "Redis replicas that must have a mail's mark before its final dot is written; with fewer no mail is sent. "
        "0 = the primary alone is enough, and a failover may send a mail twice.",
        ge=0,
        le=10,
    )


class MailSettings(Section):
    """Settings of mail. No mail leaves this machine until ``mode`` is ``live``."""

    mode: Literal["sink", "live", "redirect", "hold"] = setting(
        "sink",
        "`sink` keeps mail on this machine, `live` sends it, `redirect` sends all of it to one address, "
        "`hold` sends none and keeps it queued.",
    )
    redirect_to: str | None = setting(
        None,
        "The address that gets redirected mail: all mail with `redirect`; with `ALLOWED_DOMAINS`, that of other "
        "domains.",
        "`name@host`",
        pattern=r"^[^\s<>@]+@[^\s<>@]+$",
    )
    allowed_domains: str | None = setting(
        None,
        "The only recipient domains, subdomains included; mail to others is redirected, or dead with a reason.",
        "domains, separated by commas",
        pattern=r"^[A-Za-z0-9.-]+(?: *, *[A-Za-z0-9.-]+)*$",
    )
    host: Host | None = setting(
        None,
        "The mail server; none = the embedded sink of `./run up`. A worker without a mail server sends no mails.",
        "a host name or address",
    )
    port: int = setting(25, "The mail server's port.", ge=1, le=65535)
    username: str | None = setting(None, "The user name to log in with; needs the password.", "text")
    password: SecretStr | None = setting(None, "The password of that user name.", "text")
    tls: Literal["required", "implicit", "off"] = setting(
        "required", "`required` = STARTTLS or no mail, `implicit` = TLS at once, `off` = loopback hosts only."
    )
    ca_file: Folder | None = setting(
        None,
        "Certificates of the authorities trusted to verify the mail server; left out, the system's.",
        "a PEM file",
    )
    ehlo_name: str | None = setting(
        None,
        "Name that the worker gives in EHLO; left out, this machine's full name or its address.",
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
    connections: int = setting(20, "Connections that one worker keeps to the mail server.", ge=1, le=200)
    messages_per_connection: int = setting(
        100, "Mails sent over one connection before it is replaced.", ge=1, le=10_000
    )
    horizon: Duration = setting(
        24 * HOUR, "Time for which a mail is retried before it is dead.", ge=MINUTE, le=7 * DAY
    )
    seal_keys: SecretStr | None = setting(
        None,
        "The key ring that opens sealed mails; the first key seals. Put a new key first.",
        "one or more `id:key`, the key 32 bytes in base64 (`openssl rand -base64 32`)",
    )
    erase_after: Duration = setting(
        30 * DAY,
        "Age at which the content of a dead mail is erased; its ids and its reason stay.",
        ge=HOUR,
        le=366 * DAY,
    )
    bounce_days: int = setting(
        7,
        "Days for which bounces are matched to mails, at 100 bytes of Redis a mail. 0 = no matching.",
        ge=0,
        le=30,
    )
    dkim_domain: str | None = setting(
        None, "The sender domain of mails to sign with DKIM; none = no signatures.", "a domain"
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
        None, "Folder of the files that mails attach by reference; files outside it are never read.", "a folder"
    )
    templates: Folder | None = setting(
        None,
        "Your own mail templates, for `ops mail preview` and a worker's check at its start; "
        "backends name the folder themselves.",
        "a folder",
    )
    keep_journal: Duration = setting(
        3 * DAY,
        "Time for which `ops mail trace` can show the history of a mail that is done.",
        ge=0 * SECOND,
        le=30 * DAY,
    )


class ReportsSettings(Section):
    """Settings of the precomputed reports."""

    path: Folder | None = setting(
        None, "A folder with your report files, used beside the shipped ones.", "a folder"
    )
    shipped: str = setting(
        "on",
        "Which of the shipped reports are used. They read the tables of the demo's organisation; "
        "on a database without those, `off`.",
        "`on` = all, `off` = none, or names separated by commas: `management,blockers`",
        pattern=r"^[a-z][a-z0-9_]*(?: *, *[a-z][a-z0-9_]*)*$",
    )
    statement_timeout: Duration = setting(30 * SECOND, "Timeout of a report's query.", ge=SECOND, le=HOUR)
    most_nodes: int = setting(
        200_000,
        "Largest number of nodes of a report. A report with more fails alone; its last good set stays.",
        ge=1,
        le=10_000_000,
    )
    most_mib: int = setting(
        512,
        "Largest size of all documents of a report together, in MiB, before compression. A report with more "
        "fails alone; its last good set stays. A worker needs several times as much memory.",
        ge=1,
        le=65_536,
    )
    whole_every: Duration = setting(
        HOUR,
        "Interval at which a report that is computed node by node is computed whole as well, and compared.",
        ge=SECOND,
        le=24 * HOUR,
    )
    clock_bound: Duration = setting(
        30 * SECOND,
        "Greatest difference between the clocks of database, Redis and reader; beyond it no report is fresh.",
        ge=SECOND,
        le=HOUR,
    )


class ReaderSettings(Section):
    """Settings of the HTTP server that serves stored reports."""

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
        "Values of `Host` that the reader accepts, besides this machine's names; others get 421. "
        "Left out: an open reader accepts this machine's names alone, one with sessions any name.",
        "host names or addresses without ports, separated by spaces",
        pattern=r"^(?:(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?: +|$))*$",
    )
    copy_mib: int = setting(
        0,
        "Memory for the reader's cache of documents and sessions, in MiB; it also bridges an outage of Redis.",
        "0 to 16384; 0 = no cache",
        ge=0,
        le=16_384,
    )
    cors_origins: str = setting(
        "",
        "Other sites whose pages may read reports.",
        "origins like `https://app.example`, separated by spaces",
        pattern=r"^(?:https?://[A-Za-z0-9.:\[\]-]+(?: +|$))*$",
    )


class LedgerSettings(Section):
    """Settings of the ledger, which keeps jobs in Postgres until they have ended, where it is installed."""

    relay: Literal["on", "off"] = setting(
        "on",
        "Whether this worker hands staged jobs to Redis. off: it hands over none of them, and puts back none that "
        "Redis lost; it records ends and stores marks all the same.",
    )


_USERS = "names, separated by spaces; `*` for everyone else"
_USER_LIST = r"^(?:[^\s\x00-\x1f]{1,128}(?: +|$))*$"


class ConsoleSettings(Section):
    """Settings of the operators' page."""

    host: LoopbackHost = setting("127.0.0.1", "The address the console listens on.", "a loopback host")
    port: int = free_port(8720, "The console's port.")
    local: Literal["off", "view", "operate", "admin"] = setting(
        "operate",
        "The role of operators who come from this machine without a log-in; `view` looks, `operate` changes, "
        "`admin` also sees payloads, `off` makes everyone log in.",
    )
    tokens: ConsoleTokens | None = setting(
        None,
        "Service tokens, with the name and the role of each.",
        "`name:role:token`, separated by white space; names of lower-case letters, digits and hyphens, roles "
        "`view`, `operate` and `admin`, tokens of at least 24 characters (`openssl rand -hex 24`)",
    )
    proxies: Networks = setting(
        "", "Addresses of proxies that name the user.", "addresses or networks, separated by spaces"
    )
    proxy_header: str = setting(
        "",
        "The header in which these proxies name the user; they must remove it from what others send.",
        "the name of a header, like `X-Forwarded-User`",
        pattern=r"^[A-Za-z0-9-]{0,64}$",
    )
    viewers: str = setting("", "Users of a proxy or of shared sessions who may look.", _USERS, pattern=_USER_LIST)
    operators: str = setting("", "Such users with the role `operate`.", _USERS, pattern=_USER_LIST)
    admins: str = setting("", "Such users with the role `admin`.", _USERS, pattern=_USER_LIST)
    allowed_hosts: str = setting(
        "",
        "Values of `Host` that the console accepts, besides this machine's names; others get 421.",
        "host names or addresses without ports, separated by spaces",
        pattern=r"^(?:(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?: +|$))*$",
    )
    fields: str = setting(
        "",
        "Fields of payloads that every role may see; the others are for `admin` alone.",
        "names of fields, separated by spaces",
        pattern=r"^(?:[A-Za-z_][A-Za-z0-9_]{0,63}(?: +|$))*$",
    )


class MetricsSettings(Section):
    """Settings of the pages with metrics (`docs/metrics.md`) and probes (`docs/deploying.md`)."""

    worker: ListenPlace | None = setting(
        None, "Where a worker serves its metrics and probes; none = nowhere.", _LISTEN_PLACES
    )
    reports: ListenPlace | None = setting(
        None,
        "Where the second process of a worker that also sends mails, the one for reports, serves these.",
        _LISTEN_PLACES,
    )
    reader: ListenPlace | None = setting(
        None,
        "Where a reader serves its metrics besides its own `/metrics`, for readers that share a port.",
        _LISTEN_PLACES,
    )


class SinkSettings(Section):
    """Settings of the embedded mail server, on 127.0.0.1: it keeps every mail and delivers none."""

    smtp_port: int = free_port(8725, "The port on which the embedded sink accepts mail.")
    http_port: int = free_port(8730, "The port on which the embedded sink shows mail.")


class Settings(BaseSettings):
    """All settings. A process gets them from ``load_or_exit``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=SECTION,
        env_ignore_empty=True,
        extra="ignore",  # ``unknown_names`` reports unknown names and suggests the right one
        frozen=True,
        hide_input_in_errors=True,
    )

    redis_url: RedisUrl | None = setting(
        None,
        "Redis or Valkey; none = the embedded one.",
        "`redis://`, `unix://`, `sentinel://host:port,host:port/service/0` or `cluster://host:port,host:port`; "
        "with TLS `rediss://`, `sentinels://`, `clusters://`",
    )
    postgres_dsn: PostgresDsn | None = setting(None, "Postgres; none = the embedded one.", "`postgresql://`")
    data_dir: Folder = setting(
        Path(".momentus"), "Folder in which the embedded servers keep their data.", "a folder"
    )
    tenant: str = setting(
        "default",
        "Name of the organisation: separates the data of two organisations on one Redis.",
        "up to 63 lower-case letters, digits and hyphens, starting with a letter",
        pattern=r"^[a-z][a-z0-9-]{0,62}$",
    )
    timezone: TimeZone = setting(
        "UTC", "The organisation's time zone: decides when its day starts.", "an IANA name"
    )
    log_format: Literal["auto", "console", "json"] = setting(
        "auto", "Format of log lines; `auto` = readable on a terminal, JSON otherwise."
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "The lowest level that is logged.")
    worker: WorkerSettings = WorkerSettings()
    mail: MailSettings = MailSettings()
    reports: ReportsSettings = ReportsSettings()
    ledger: LedgerSettings = LedgerSettings()
    reader: ReaderSettings = ReaderSettings()
    console: ConsoleSettings = ConsoleSettings()
    metrics: MetricsSettings = MetricsSettings()
    sink: SinkSettings = SinkSettings()

    @model_validator(mode="after")
    def agree(self) -> "Settings":
        """Raise for settings that contradict each other."""
        if contradictions := [*find_contradictions(self), *find_console_contradictions(self.console)]:
            raise ValueError("\n".join(contradictions))
        return self


def find_contradictions(settings: Settings) -> Iterator[str]:
    """Yield a line with its remedy for each contradiction of values that are allowed alone."""
    mail, away = settings.mail, settings.mail.host is not None and not is_loopback(settings.mail.host)
    if settings.worker.lease_renew >= settings.worker.lease / 2:
        yield "MOMENTUS_WORKER__LEASE_RENEW: must be less than half of MOMENTUS_WORKER__LEASE"
    if mail.mode == "sink" and away:
        yield "MOMENTUS_MAIL__HOST: is another machine, but mail stays on this one; set MOMENTUS_MAIL__MODE=live"
    if mail.mode in {"live", "redirect"} and mail.host is None and mail.accounts is None:
        yield f"MOMENTUS_MAIL__MODE={mail.mode}: needs a mail server; set MOMENTUS_MAIL__HOST or __ACCOUNTS"
    if mail.mode == "redirect" and mail.redirect_to is None:
        yield "MOMENTUS_MAIL__MODE=redirect: needs an address; set MOMENTUS_MAIL__REDIRECT_TO"
    if len({part is None for part in (mail.dkim_domain, mail.dkim_selector, mail.dkim_key)}) > 1:
        yield "MOMENTUS_MAIL__DKIM_DOMAIN, __DKIM_SELECTOR and __DKIM_KEY: need each other; set all or none"
    if mail.tls == "off" and away:
        yield "MOMENTUS_MAIL__TLS=off: is for loopback hosts only; set it to required or implicit"
    if (mail.username is None) != (mail.password is None):
        yield "MOMENTUS_MAIL__USERNAME and MOMENTUS_MAIL__PASSWORD: need each other; set both or none"
    if settings.reader.share_port == "on" and not settings.reader.port:
        yield "MOMENTUS_READER__SHARE_PORT: needs a fixed port; set MOMENTUS_READER__PORT"
    if settings.reader.access == "open" and not is_loopback(settings.reader.host):
        yield "MOMENTUS_READER__ACCESS=open: is for loopback hosts only; set it to session"


def find_console_contradictions(console: ConsoleSettings) -> Iterator[str]:
    """Yield the same for the console's settings."""
    if bool(console.proxies) != bool(console.proxy_header):
        yield "MOMENTUS_CONSOLE__PROXIES and MOMENTUS_CONSOLE__PROXY_HEADER: need each other; set both or none"


# Reading the environment


def load() -> Settings:
    """Return the settings of this environment.

    Raises:
        SettingsError: with every mistake found.
    """
    secrets, unreadable = read_secret_files(os.environ)
    problems = [*unknown_names(os.environ), *unreadable]
    try:
        settings = Settings(**secrets)
    except ValidationError as error:
        problems += [line for fault in error.errors() for line in explain_fault(fault["loc"], fault["msg"])]
    except UnreadableError:
        problems = problems or ["a section is given as one value; set its fields one by one"]
    if problems:
        raise SettingsError(problems)
    return settings


def load_or_exit(translate: Callable[[str], str] = str) -> Settings:
    """Return the settings; print mistakes to stderr and end the process with code 2.

    Args:
        translate: puts a line into the language of the terminal.
    """
    try:
        return load()
    except SettingsError as error:
        lines = ["The settings are wrong (docs/settings.md lists them all):", *str(error).splitlines()]
        sys.stderr.write("".join(f"{translate(line)}\n" for line in lines))
        raise SystemExit(2) from None


def each_field(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> Iterator[tuple[str, FieldInfo]]:
    """Yield every single setting with the name of its variable."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from each_field(field.annotation, f"{prefix}{name.upper()}{SECTION}")
        else:
            yield prefix + name.upper(), field


def is_secret(field: FieldInfo) -> bool:
    """Return True if the value must never be shown and may come from a file."""
    return "SecretStr" in str(field.annotation)


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """Return a line for each unknown variable with this project's prefix, with the nearest known name."""
    known = [name for name, _ in each_field()]
    known += [f"{name}_FILE" for name, field in each_field() if is_secret(field)]
    ours = sorted(name for name in environ if name.upper().startswith(PREFIX))
    return [f"{name}: does not exist{suggestion(name, known)}" for name in ours if name.upper() not in known]


def suggestion(name: str, known: list[str]) -> str:
    """Return the end of the sentence: a suggestion if a known name is near enough."""
    close = difflib.get_close_matches(
        name.upper().removeprefix(PREFIX), [k.removeprefix(PREFIX) for k in known], n=1
    )
    return f"; did you mean {PREFIX}{close[0]}?" if close else ""


def read_secret_files(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return the secrets given as files, nested like the model, and the problems of the files."""
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
    """Return the text of a secret file without the newline at its end.

    Args:
        path: the file.
        twice: the variable itself is set as well.

    Raises:
        OSError, ValueError: with the problem, without the variable's name.
    """
    if twice:
        raise ValueError("the variable without _FILE is set too; keep one of them")
    if not path.is_file():
        raise ValueError(f"is not a file ({path}); name a readable file")
    if path.stat().st_mode & stat.S_IROTH:
        raise ValueError(f"every user of this machine can read {path}; remove that permission with chmod o-r")
    with path.open("rb") as file:
        text = file.read(SECRET_LIMIT_BYTES).decode(errors="replace").rstrip("\r\n")
    if not text:
        raise ValueError(f"is empty ({path}); write the secret into it")
    return text


# Messages


def explain_fault(location: tuple[int | str, ...], message: str) -> list[str]:
    """Return lines for one fault that pydantic found: the variable, what is wrong, what is allowed."""
    reason = message.removeprefix("Value error, ")
    if not location:
        return reason.splitlines()  # a contradiction names its variables
    name = PREFIX + SECTION.join(map(str, location)).upper()
    if (field := dict(each_field()).get(name)) is None:
        return []  # a section given as one value: ``unknown_names`` reports it
    given = "" if is_secret(field) or name not in os.environ else f"={os.environ[name]!r}"
    return [f"{name}{given}: {reason[0].lower()}{reason[1:]}; allowed: {allowed_values(field)}"]


def allowed_values(field: FieldInfo) -> str:
    """Return the allowed values of a field: its own description, or its type and limits."""
    if isinstance(field.json_schema_extra, dict) and (words := field.json_schema_extra["allowed"]):
        return str(words)
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    least, most = (getattr(limit, key) for key in ("ge", "le") for limit in field.metadata if hasattr(limit, key))
    return f"{show_value(least)} to {show_value(most)}"


def show_value(value: object) -> str:
    """Return a default or limit as a user would write it."""
    if isinstance(value, timedelta):
        return write_duration(value)
    return "none" if value is None else str(value)
