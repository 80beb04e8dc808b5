"""Texts of the findings: cause and remedy, in one table per language; a test compares the tables."""

from collections.abc import Mapping, Sequence

from ops.command_parser import quoted_texts
from ops.doctor.finding import SEVERITIES, DoctorFinding
from ops.doctor.texts_es import SPANISH
from ops.doctor.texts_queue import ENGLISH_QUEUE
from ops.language import Language
from ops.table import printable

FindingTexts = Mapping[str, tuple[str, str]]
"""The cause and the remedy by code; the remedy is empty if there is nothing to do."""

_CONFIG = "redis-cli CONFIG SET {0}, and the same line in its configuration file"

ENGLISH: FindingTexts = {
    **ENGLISH_QUEUE,
    "redis.away": (
        "Redis does not answer: {fault}",
        "start it on its old data directory, or fix MOMENTUS_REDIS_URL",
    ),
    "redis.wrong_key": (
        "another application writes to this database, and its lanes rest: {why}",
        "find what writes there, keep a copy (DUMP), and remove the keys; see docs/operations.md",
    ),
    "redis.replica": (
        "is a replica: it accepts no jobs, and workers can record nothing",
        "name the primary in MOMENTUS_REDIS_URL, or its sentinels: sentinel://",
    ),
    "redis.no_right": (
        "the user of MOMENTUS_REDIS_URL lacks a right, {right}: {part}",
        "grant it: `./run ops acl` writes a user for each role with the rights that it needs",
    ),
    "redis.version": ("{version}", ""),
    "redis.old": ("{version} is older than 7", "upgrade Redis to 7 or newer, or Valkey to 7.2 or newer"),
    "redis.noeviction": ("maxmemory-policy is noeviction", ""),
    "redis.eviction": (
        "maxmemory-policy is {policy}: jobs are deleted when memory is short",
        _CONFIG.format("maxmemory-policy noeviction"),
    ),
    "redis.evicted": (
        "{keys} keys were evicted since its start (maxmemory-policy {policy}): jobs may be lost",
        _CONFIG.format("maxmemory-policy noeviction") + "; then look for unaccounted jobs: ./run ops depth",
    ),
    "redis.aof": ("every write is in the append-only file", ""),
    "redis.no_aof": (
        "appendonly is off: jobs queued since the last snapshot are lost when it restarts",
        _CONFIG.format("appendonly yes"),
    ),
    "redis.aof_failed": ("the last write of the append-only file failed", "check its log; the disk may be full"),
    "redis.no_fsync": (
        "appendfsync is no: a power cut loses up to half a minute",
        _CONFIG.format("appendfsync everysec"),
    ),
    "redis.save_failed": (
        "the last snapshot failed",
        "check its log; the disk may be full, or memory too small to fork",
    ),
    "redis.memory": (
        "room for {mails} more mails ({used} of {limit} used)",
        "raise maxmemory, or drain the queue: ./run ops depth shows what waits",
    ),
    "redis.full": (
        "{used} of {limit} used: room for {mails} more mails, then producers are refused",
        "raise maxmemory, or drain the queue: ./run ops depth shows what waits",
    ),
    "redis.no_limit": (
        "no maxmemory is set: the kernel may kill it when memory is short (room for about {mails} more mails)",
        _CONFIG.format("maxmemory 1gb (or its share of this machine)"),
    ),
    "redis.clock": (
        "its clock is {seconds} s from this machine's",
        "let both follow the same time servers (chrony); ages and deadlines are wrong by that much",
    ),
    "redis.clock_right": ("its clock agrees with this machine's ({seconds} s)", ""),
    "redis.no_tls": (
        "mails travel to {host} unencrypted",
        "use rediss:// in MOMENTUS_REDIS_URL, or a private network",
    ),
    "redis.no_password": (
        "{host} accepts any client without a password",
        "set a password (ACL) and put it in MOMENTUS_REDIS_URL",
    ),
    "redis.data_lost": (
        "Redis lost the data of {group} (noticed at {at} UTC): about {jobs} unfinished jobs are lost",
        "find the cause (FLUSHALL, a lost disk, another server; docs/operations.md); ./run ops acknowledge-loss",
    ),
    "postgres.right": ("version {version} answers", ""),
    "postgres.away": ("does not answer: {fault}", "start it, or fix MOMENTUS_POSTGRES_DSN"),
    "postgres.old": ("version {version} is older than 13", "upgrade it"),
    "clock.postgres": (
        "its clock is {seconds} s from this machine's",
        "let both follow the same time servers (chrony); beyond MOMENTUS_REPORTS__CLOCK_BOUND no report is fresh",
    ),
    "clock.postgres_right": ("its clock agrees with this machine's ({seconds} s)", ""),
    "zones.agree": ("Python and the server agree on {zones}", ""),
    "zones.differ": ("{fault}", "{remedy}"),
    "postgres.standby": (
        "is a standby: reports show what it has replayed ({behind}), and no proof of changes works",
        "if reports get too old or too expensive, name the primary in MOMENTUS_POSTGRES_DSN (docs/reports.md)",
    ),
    "postgres.paused": (
        "is a standby with its replay paused: reports miss all changes of the primary",
        "SELECT pg_wal_replay_resume(), or name the primary in MOMENTUS_POSTGRES_DSN",
    ),
    "postgres.subscription": (
        "subscription {name} is not running: reports miss the publisher's changes since then",
        "ALTER SUBSCRIPTION {name} ENABLE; if it is enabled, check the server's log",
    ),
    "postgres.role": ("{role} reads reports and may only read and consume marks", ""),
    "postgres.superuser": (
        "{role} reads reports and is a superuser: their SQL may end other sessions and run programs",
        "create a role with SELECT on the tables; then ./run ops reports install --role NAME",
    ),
    "postgres.role_may": (
        "{role} reads reports and may {rights}: report SQL cannot write tables, but can use these rights",
        "create a role with SELECT on the tables; then ./run ops reports install --role NAME",
    ),
    "mail.doubt": (
        "{refused} of {recipients} recipients refused, {since} to {last} UTC: counted as a fault of the server",
        "check that server; workers retry the mails. If an address is gone: ./run ops mail suppress ADDRESS",
    ),
    "mail.suppressed_many": (
        "{count} addresses were suppressed within ten minutes, {at} UTC, by {by}",
        "if a fault caused it: ./run ops mail unsuppress --since {age} --log-by {by}",
    ),
    "mail.sink": ("mail stays on this machine (mode sink)", ""),
    "mail.mode": (
        "MOMENTUS_MAIL__MODE is {mode}: not every mail goes to its recipient",
        "set MOMENTUS_MAIL__MODE to live, and no MOMENTUS_MAIL__ALLOWED_DOMAINS, when all may go",
    ),
    "mail.live": ("mail goes to its recipients", ""),
    "mail.sealed": ("the key ring opens mails sealed with: {keys}", ""),
    "mail.ring": ("the key ring cannot be read: {fault}", "fix MOMENTUS_MAIL__SEAL_KEYS"),
    "mail.dkim": ("no mail can be signed: {fault}", "fix MOMENTUS_MAIL__DKIM_KEY"),
    "mail.sender": (
        "no account may send for {domain} (MOMENTUS_MAIL__SENDER): mails without their own sender will be dead",
        "add it to an account's sender_domains, or fix MOMENTUS_MAIL__SENDER",
    ),
    "mail.accounts": ("{fault}", "fix the file that MOMENTUS_MAIL__ACCOUNTS names"),
    "smtp.away": (
        "cannot be reached: {fault}",
        "check its name, that its port is open from here, and that it runs",
    ),
    "smtp.ehlo": ("EHLO gives this machine's name as {name}", ""),
    "smtp.ehlo_address": (
        "EHLO gives {name}, since this machine has no full name; allowed, but some servers refuse it",
        "set MOMENTUS_MAIL__EHLO_NAME (or ehlo_name of the account) to a name that resolves to this machine",
    ),
    "smtp.ehlo_refused": (
        "refuses the name {name} in EHLO: {reply}",
        "set MOMENTUS_MAIL__EHLO_NAME (or ehlo_name of the account) to a name that it accepts",
    ),
    "smtp.no_starttls": (
        "offers no STARTTLS, so workers send nothing",
        'use another port, or tls = "implicit"',
    ),
    "smtp.tls_failed": (
        "TLS failed: {fault}",
        "its certificate must be for this name and from a known authority (ca_file)",
    ),
    "smtp.certificate": ("its certificate expires on {ends}", "renew it"),
    "smtp.tls": ("encrypted, certificate valid", ""),
    "smtp.plain": ("not encrypted; on this machine", ""),
    "smtp.basic_auth": (
        "Microsoft disables passwords for SMTP at the end of December 2026",
        'set auth = "microsoft" in the accounts file (docs/mail.md)',
    ),
    "smtp.exim": (
        "is an Exim: from the 11th mail of a connection on, mails wait for its queue run (Debian: 30 min)",
        "set messages = 10 in [accounts.{account}], else MOMENTUS_MAIL__MESSAGES_PER_CONNECTION=10",
    ),
    "smtp.no_login": ("no login is configured", ""),
    "smtp.no_auth": (
        "offers no AUTH, and the account has a username",
        "use another port (587), or remove the username",
    ),
    "smtp.no_xoauth2": (
        "offers {offered}, and the account needs XOAUTH2",
        'use auth = "password", or another host of the provider',
    ),
    "smtp.no_password": ("offers {offered}, and accepts no password", "use XOAUTH2: auth in the accounts file"),
    "smtp.auth": ("accepts logins with {offered}", ""),
    "smtp.login": ("accepts the login", ""),
    "smtp.no_secret": ("there are no credentials: {fault}", "fix {setting}"),
    "smtp.login_refused": ("refuses the login: {reply}", "fix {setting}; then ./run ops mail resume ACCOUNT"),
    "smtp.basic_off": (
        "no longer accepts passwords: {reply}",
        'use XOAUTH2: auth = "microsoft", tenant and client_id in the accounts file (docs/mail.md)',
    ),
    "smtp.client_off": (
        "SMTP is disabled for this mailbox or its organisation: {reply}",
        "Set-CASMailbox MAILBOX -SmtpClientAuthenticationDisabled $false; if passwords are disabled, use XOAUTH2",
    ),
    "smtp.app_password": (
        "requires an app password, not the user's own: {reply}",
        'put an app password in password_file, or use XOAUTH2: auth = "google"',
    ),
    "smtp.login_later": ("cannot check the login now: {reply}", "run this again in some minutes"),
    "smtp.small": (
        "accepts mails of at most {size} bytes",
        "larger mails will be dead; send links instead of attachments",
    ),
    "smtp.size": ("accepts large mails ({size})", ""),
    "dns.unanswered": (
        "no name server answered: {question}",
        "run this again, or on a machine that can reach the DNS",
    ),
    "spf.right": ("SPF is correct ({lookups} of 10 lookups)", ""),
    "spf.none": ("has no SPF record", "publish TXT: v=spf1 include:YOUR.PROVIDER ~all"),
    "spf.many": ("has {count} SPF records; receivers ignore all if there are several", "merge them into one"),
    "spf.lookups": ("SPF needs {count} lookups; at most 10 are allowed", "remove unused includes"),
    "spf.provider": ("SPF does not allow the provider: include:{include} is missing", "add include:{include}"),
    "spf.everybody": ("SPF allows every sender (+all)", "end it with ~all or -all"),
    "spf.open": ("SPF does not rule out other senders", "end it with ~all or -all"),
    "dkim.right": ("DKIM key {selector} is published", ""),
    "dkim.missing": ("DKIM key {selector} is not published", "publish TXT {selector}._domainkey: {record}"),
    "dkim.other": (
        "the DKIM key published as {selector} differs from the signing key: every signature fails",
        "publish TXT {selector}._domainkey: {record}",
    ),
    "dkim.unseen": (
        "no DKIM key was found under the provider's usual selectors",
        "enable DKIM at the provider; if it is enabled, name the selector: --selector NAME",
    ),
    "dmarc.right": ("DMARC policy is {policy}", ""),
    "dmarc.watching": (
        "DMARC policy is none: forged mails are only reported",
        "set p=quarantine when the reports are clean",
    ),
    "dmarc.none": ("has no DMARC record", "publish TXT _dmarc: v=DMARC1; p=none; rua=mailto:YOU"),
    "dmarc.many": ("has several DMARC records; receivers ignore them all", "keep one"),
    "dmarc.unreadable": ("its DMARC record has no known policy", "publish v=DMARC1; p=none, quarantine or reject"),
    "domain.no_mx": (
        "accepts no mail: bounces and replies are lost",
        "publish an MX record, or use a sender in a domain that has one",
    ),
    "ptr.right": ("{address} is {name} in both directions", ""),
    "ptr.none": ("{address} has no name (PTR)", "ask the network's operator to set one"),
    "ptr.unconfirmed": ("{address} has the name {name}, which does not resolve to it", "make both agree"),
    "ptr.no_address": ("its name has no address", "fix the name, or the DNS"),
}
LANGUAGES: Mapping[Language, FindingTexts] = {"en": ENGLISH, "es": SPANISH}

_QUOTED = {"why", "remedy"}
"""Values that are sentences."""
MARKS: Mapping[Language, Mapping[str, str]] = {
    "en": {"wrong": "WRONG", "warning": "look", "fine": "ok"},
    "es": {"wrong": "FALLO", "warning": "revise", "fine": "bien"},
}
COUNTS: Mapping[Language, str] = {
    "en": "{wrong} wrong, {warning} warning, {fine} fine",
    "es": "{wrong} con fallo, {warning} por revisar, {fine} bien",
}


def cause_text(finding: DoctorFinding, language: Language = "en") -> str:
    """Return the cause of a finding."""
    return _row(finding, language)[0].format(**_values(finding, language))


def remedy_text(finding: DoctorFinding, language: Language = "en") -> str:
    """Return the remedy of a finding; empty if it is fine."""
    return "" if finding.severity == "fine" else _row(finding, language)[1].format(**_values(finding, language))


def findings_text(findings: Sequence[DoctorFinding], language: Language = "en") -> str:
    """Return all findings as text for operators, the worst first."""
    lines = []
    for severity in SEVERITIES:
        for one in (found for found in findings if found.severity == severity):
            mark = MARKS[language][severity]
            lines.append(f"{mark:<6} {printable(one.where)}: {printable(cause_text(one, language))}")
            if todo := remedy_text(one, language):
                lines.append(f"{'':<6} -> {printable(todo)}")
    counts = {name: sum(one.severity == name for one in findings) for name in SEVERITIES}
    return "\n".join([*lines, "", COUNTS[language].format(**counts)])


def _values(finding: DoctorFinding, language: Language) -> Mapping[str, object]:
    """Return the values, with sentences of other parts in this language too."""
    quoted = {name: quoted_texts(str(finding.values[name]), language) for name in _QUOTED & finding.values.keys()}
    return {**finding.values, **quoted}


def _row(finding: DoctorFinding, language: Language) -> tuple[str, str]:
    return LANGUAGES[language][finding.code]
