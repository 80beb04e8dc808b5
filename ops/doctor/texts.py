"""The words of the findings: what is so, and what to do, in one table for each language; English is whole.

A code that a language lacks is told in English, so that a table may be begun with its most important rows.
"""

from collections.abc import Mapping, Sequence

from ops.doctor.finding import SEVERITIES, DoctorFinding
from ops.table import printable

FindingTexts = Mapping[str, tuple[str, str]]
"""Code to the cause and the remedy, the latter empty where nothing is to be done."""

_CONFIG = "redis-cli CONFIG SET {0}, and the same line in its configuration file"

ENGLISH: FindingTexts = {
    "redis.away": (
        "Redis does not answer: {fault}",
        "start it on its old data directory, or mend MOMENTUS_REDIS_URL",
    ),
    "redis.no_right": (
        "the user of MOMENTUS_REDIS_URL lacks a right, {right}: {part}",
        "grant it: `./run ops acl` writes a user for each role with all that it needs",
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
        "appendonly is off: what was queued since the last snapshot is lost when it restarts",
        _CONFIG.format("appendonly yes"),
    ),
    "redis.aof_failed": ("the last write of the append-only file failed", "look at its log; the disk may be full"),
    "redis.no_fsync": (
        "appendfsync is no: a power cut loses up to half a minute",
        _CONFIG.format("appendfsync everysec"),
    ),
    "redis.save_failed": ("the last snapshot failed", "look at its log; the disk may be full, or memory to fork"),
    "redis.memory": ("room for {mails} more mails ({used} of {limit} used)", ""),
    "redis.full": (
        "{used} of {limit} used: room for {mails} more mails, then producers are refused",
        "raise maxmemory, or drain: ./run ops depth says what waits",
    ),
    "redis.no_limit": (
        "no maxmemory is set: the kernel may kill it when memory is short (room for about {mails} more mails)",
        _CONFIG.format("maxmemory 1gb (or what is to be its own)"),
    ),
    "redis.clock": (
        "its clock is {seconds} s from this machine's",
        "let both follow the same time servers (chrony); ages and deadlines given by clocks are off by that",
    ),
    "redis.clock_right": ("its clock is this machine's ({seconds} s)", ""),
    "redis.no_tls": (
        "mails travel to {host} unencrypted",
        "use rediss:// in MOMENTUS_REDIS_URL, or a private network",
    ),
    "redis.no_password": (
        "{host} takes anybody who reaches it",
        "set a password (ACL) and put it in MOMENTUS_REDIS_URL",
    ),
    "jobs.conserved": ("every accepted job is accounted for", ""),
    "redis.data_lost": (
        "Redis lost what it held of {group}, noticed {at} UTC: about {jobs} unfinished jobs are gone",
        "find out why (FLUSHALL, a lost disk, another server), see docs/operations.md; ./run ops acknowledge-loss",
    ),
    "jobs.unaccounted": ("jobs are unaccounted for: {lanes}", "docs/operations.md, NOT CONSERVED"),
    "workers.none": ("no worker is alive", "start one: ./run worker"),
    "workers.alive": ("{count} alive", ""),
    "worker.silent": (
        "has not reported for {seconds} s",
        "look at its log; its jobs go to others when leases lapse",
    ),
    "worker.faults": (
        "background tasks failed by a fault of ours and were begun again: {tasks}",
        "look for task.failed in its log and report the place that it names",
    ),
    "lane.no_worker": (
        "{ready} jobs are ready and no live worker serves the lane",
        "start one with slots for it and, for mail, MOMENTUS_MAIL__HOST, for reports, MOMENTUS_POSTGRES_DSN",
    ),
    "lane.held": ("is held: {reason}", "./run ops release LANE, when that is over"),
    "lane.dead": ("{dead} dead jobs wait for people", "./run ops dead LANE"),
    "postgres.right": ("version {version} answers", ""),
    "postgres.away": ("does not answer: {fault}", "start it, or mend MOMENTUS_POSTGRES_DSN"),
    "postgres.old": ("version {version} is older than 13", "upgrade it"),
    "clock.postgres": (
        "its clock is {seconds} s from this machine's",
        "let both follow the same time servers (chrony); beyond MOMENTUS_REPORTS__CLOCK_BOUND no report is fresh",
    ),
    "clock.postgres_right": ("its clock is this machine's ({seconds} s)", ""),
    "zones.agree": ("Python and the server agree on {zones}", ""),
    "zones.differ": ("{fault}", "{remedy}"),
    "postgres.standby": (
        "is a standby: reports show what it has replayed ({behind}), and nothing proves them unchanged",
        "if they get too old or cost too much, name the primary in MOMENTUS_POSTGRES_DSN (docs/reports.md)",
    ),
    "postgres.paused": (
        "is a standby whose replay is paused: reports grow old, whatever happens on the primary",
        "SELECT pg_wal_replay_resume(), or name the primary in MOMENTUS_POSTGRES_DSN",
    ),
    "postgres.subscription": (
        "subscription {name} does not run: what its publisher has changed since is in no report",
        "ALTER SUBSCRIPTION {name} ENABLE; if it is enabled, look at the server's log",
    ),
    "postgres.role": ("reports are read by {role}, who may do no more than read and take up marks", ""),
    "postgres.superuser": (
        "reports are read by {role}, a superuser: their SQL may end other sessions and run programs",
        "a role of its own, with SELECT on the tables; ./run ops reports install --role with its name",
    ),
    "postgres.role_may": (
        "reports are read by {role}, who may {rights}: a report's SQL is kept from writing, and from nothing else",
        "a role of its own, with SELECT on the tables; ./run ops reports install --role with its name",
    ),
    "reports.right": ("all {count} declared reports are computed", ""),
    "reports.none": (
        "none is declared: no worker with MOMENTUS_POSTGRES_DSN has run yet, or it has no report files",
        "start one: ./run worker. Where the shipped reports are off, MOMENTUS_REPORTS__PATH names your own",
    ),
    "report.fails": ("its last refresh failed: {error}", "{remedy}"),
    "report.never": ("was never computed", "is a worker with MOMENTUS_POSTGRES_DSN running? ./run ops depth"),
    "report.refused": ("is older than it may be, and readers get 503", "./run ops reports status says why"),
    "report.unreadable": (
        "what is stored cannot be read: worker and ops are of different versions",
        "run the same version of both",
    ),
    "reports.watched": ("each change leaves a mark: {boards}", ""),
    "reports.unwatched": (
        "is not watched, each write in the server counts as a change: {why}",
        "docs/reports.md, What cannot be watched",
    ),
    "reports.unproved": (
        "nothing proves it unchanged, it is computed at the pace of `every`: {why}",
        "docs/reports.md, What cannot be watched",
    ),
    "mail.doubt": (
        "{refused} of {recipients} recipients refused, {since} to {last} UTC: taken for its server's fault",
        "look at that server; the mails are tried again. If an address is gone: ./run ops mail suppress ADDRESS",
    ),
    "mail.suppressed_many": (
        "{count} addresses were suppressed within ten minutes, {at} UTC, by {by}",
        "if a fault did it: ./run ops mail unsuppress --since {age} --log-by {by}",
    ),
    "mail.sink": ("mail is kept on this machine (mode sink)", ""),
    "mail.mode": ("MOMENTUS_MAIL__MODE is {mode}: not every mail goes where it is addressed", ""),
    "mail.live": ("mail goes where it is addressed", ""),
    "mail.sealed": ("the key ring opens mails sealed with: {keys}", ""),
    "mail.ring": ("the key ring cannot be read: {fault}", "mend MOMENTUS_MAIL__SEAL_KEYS"),
    "mail.dkim": ("nothing can be signed: {fault}", "mend that setting"),
    "mail.sender": (
        "no account may send for {domain}, which MOMENTUS_MAIL__SENDER is of: mails without another will be dead",
        "add it to sender_domains of an account that may, or mend MOMENTUS_MAIL__SENDER",
    ),
    "mail.accounts": ("{fault}", "mend the file that MOMENTUS_MAIL__ACCOUNTS names"),
    "smtp.away": ("cannot be asked: {fault}", "is its name right, is the port open from here, is it running?"),
    "smtp.ehlo": ("is greeted as {name}", ""),
    "smtp.ehlo_address": (
        "is greeted as {name}, since this machine has no full name; the standard allows it, some servers do not",
        "set MOMENTUS_MAIL__EHLO_NAME (or ehlo_name of the account) to a name that DNS leads to this machine",
    ),
    "smtp.ehlo_refused": (
        "refuses the greeting as {name}: {reply}",
        "set MOMENTUS_MAIL__EHLO_NAME (or ehlo_name of the account) to a name that it takes",
    ),
    "smtp.no_starttls": (
        "offers no STARTTLS, and without it nothing is sent",
        'another port, or tls = "implicit"',
    ),
    "smtp.tls_failed": (
        "TLS failed: {fault}",
        "its certificate must be for this name and by a known authority (ca_file)",
    ),
    "smtp.certificate": ("its certificate ends on {ends}", "have it renewed"),
    "smtp.tls": ("encrypted, certificate valid", ""),
    "smtp.plain": ("not encrypted; on this machine", ""),
    "smtp.basic_auth": (
        "Microsoft turns passwords off for SMTP at the end of December 2026",
        'auth = "microsoft" in the accounts file (docs/mail.md)',
    ),
    "smtp.exim": (
        "is an Exim: from the 11th mail of a connection on, mails wait for its queue run (Debian: 30 min)",
        "messages = 10 in [accounts.{account}], or MOMENTUS_MAIL__MESSAGES_PER_CONNECTION=10 without such a file",
    ),
    "smtp.no_login": ("no login is configured", ""),
    "smtp.no_auth": ("offers no AUTH, and the account has a user name", "another port (587), or no user name"),
    "smtp.no_xoauth2": (
        "offers {offered}, and the account needs XOAUTH2",
        'auth = "password", or the provider\'s other host',
    ),
    "smtp.no_password": ("offers {offered}, and takes no password", "XOAUTH2: auth in the accounts file"),
    "smtp.auth": ("takes logins by {offered}", ""),
    "smtp.login": ("takes the log-in", ""),
    "smtp.no_secret": ("there is nothing to log in with: {fault}", "mend {setting}"),
    "smtp.login_refused": ("refuses the log-in: {reply}", "mend {setting}; then ./run ops mail resume ACCOUNT"),
    "smtp.basic_off": (
        "takes no passwords any more: {reply}",
        'XOAUTH2: auth = "microsoft", tenant and client_id in the accounts file (docs/mail.md)',
    ),
    "smtp.client_off": (
        "SMTP is turned off for this mailbox or its organisation: {reply}",
        "Set-CASMailbox MAILBOX -SmtpClientAuthenticationDisabled $false; and XOAUTH2, where passwords are off",
    ),
    "smtp.app_password": (
        "wants another password than the user's own: {reply}",
        'an app password in password_file, or XOAUTH2: auth = "google"',
    ),
    "smtp.login_later": ("cannot say now whether it takes the log-in: {reply}", "run it again in some minutes"),
    "smtp.small": (
        "takes mails of {size} octets at most",
        "larger ones will be dead; send links instead of attachments",
    ),
    "smtp.size": ("takes large mails ({size})", ""),
    "dns.unanswered": ("no name server answered: {question}", "run it again, or where the DNS can be reached"),
    "spf.right": ("SPF is right ({lookups} of 10 look-ups)", ""),
    "spf.none": ("has no SPF record", "publish TXT: v=spf1 include:YOUR.PROVIDER ~all"),
    "spf.many": ("has {count} SPF records; with more than one none counts", "join them into one"),
    "spf.lookups": ("SPF needs {count} look-ups, at most 10 are made", "remove includes that are not used"),
    "spf.provider": ("SPF does not let the provider send: include:{include} is missing", "add include:{include}"),
    "spf.everybody": ("SPF lets everybody send (+all)", "end it with ~all or -all"),
    "spf.open": ("SPF says nothing of other senders", "end it with ~all or -all"),
    "dkim.right": ("DKIM key {selector} is published", ""),
    "dkim.missing": ("DKIM key {selector} is not published", "publish TXT {selector}._domainkey: {record}"),
    "dkim.other": (
        "the DKIM key published as {selector} is not the one that signs: every signature fails",
        "publish TXT {selector}._domainkey: {record}",
    ),
    "dkim.unseen": (
        "no DKIM key was found where the provider usually puts it",
        "turn DKIM on at the provider; if it is on, name it: --selector NAME",
    ),
    "dmarc.right": ("DMARC policy is {policy}", ""),
    "dmarc.watching": (
        "DMARC policy is none: forged mails are only reported",
        "p=quarantine, when reports are clean",
    ),
    "dmarc.none": ("has no DMARC record", "publish TXT _dmarc: v=DMARC1; p=none; rua=mailto:YOU"),
    "dmarc.many": ("has several DMARC records; none counts", "leave one"),
    "dmarc.unreadable": ("DMARC record has no policy that is known", "v=DMARC1; p=none, quarantine or reject"),
    "domain.no_mx": (
        "takes no mail: bounces and answers are lost",
        "publish MX, or a sender in a domain that has one",
    ),
    "ptr.right": ("{address} is {name}, both ways", ""),
    "ptr.none": ("{address} has no name (PTR)", "ask who runs the network to set one"),
    "ptr.unconfirmed": ("{address} is called {name}, which does not lead back to it", "make both agree"),
    "ptr.no_address": ("its name leads to no address", "mend the name, or the DNS"),
}
LANGUAGES: Mapping[str, FindingTexts] = {"en": ENGLISH}

_MARKS = {"wrong": "WRONG", "warning": "look", "fine": "ok"}


def cause_text(finding: DoctorFinding, language: str = "en") -> str:
    """What is so."""
    return _row(finding, language)[0].format(**finding.values)


def remedy_text(finding: DoctorFinding, language: str = "en") -> str:
    """What to do about it; empty for a finding that is fine."""
    return "" if finding.severity == "fine" else _row(finding, language)[1].format(**finding.values)


def findings_text(findings: Sequence[DoctorFinding]) -> str:
    """All of it for people, the worst first."""
    lines = []
    for severity in SEVERITIES:
        for one in (found for found in findings if found.severity == severity):
            lines.append(f"{_MARKS[severity]:<6} {printable(one.where)}: {printable(cause_text(one))}")
            if todo := remedy_text(one):
                lines.append(f"{'':<6} -> {printable(todo)}")
    counts = ", ".join(f"{sum(one.severity == name for one in findings)} {name}" for name in SEVERITIES)
    return "\n".join([*lines, "", counts])


def _row(finding: DoctorFinding, language: str) -> tuple[str, str]:
    return LANGUAGES.get(language, ENGLISH).get(finding.code) or ENGLISH[finding.code]
