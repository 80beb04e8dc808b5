"""Checks of mail servers and sender domains. Pure. Sources: RFC 7208, 6376, 7489.

Gmail, Yahoo and Microsoft refuse mail from a domain with neither SPF nor DKIM, and require both, aligned, and
DMARC from bulk senders (their sender guidelines of 2024 and 2025).
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from jobs.mail.account import Account
from ops.doctor.dns import DomainFacts, HostFacts
from ops.doctor.finding import DoctorFinding, fine, warning, wrong
from ops.doctor.smtp import LogInReply, ServerFacts

_SOON = timedelta(days=21)
_LOGGED_IN, _FOR_GOOD, _TOO_WEAK = 235, 500, 534
"""Reply codes (RFC 4954); Google answers 534 to a password if it requires an app password."""
_CLIENT_OFF = re.compile(r"SmtpClientAuthentication is disabled", re.IGNORECASE)
_BASIC_OFF = re.compile(r"basic authentication is (?:disabled|not supported)", re.IGNORECASE)
"""Microsoft's text with 5.7.139, a code that also means a wrong password."""
_SMALL = 10_000_000
_EXIM_TAKES = 10
_MOST_LOOKUPS = 10
"""Largest number of DNS lookups of an SPF record (RFC 7208, 4.6.4)."""
_LOOKUPS = re.compile(
    r"(?:^|\s)[+?~-]?(?:include:|redirect=|exists:|a(?=[\s:/]|$)|mx(?=[\s:/]|$)|ptr(?=[\s:]|$))", re.IGNORECASE
)
_KEY = re.compile(r"\bp=([A-Za-z0-9+/=\s]*)")
_SPF_OF = {
    "gmail": "_spf.google.com",
    "google-workspace": "_spf.google.com",
    "google-relay": "_spf.google.com",
    "microsoft365": "spf.protection.outlook.com",
    "ses": "amazonses.com",
    "ses-sandbox": "amazonses.com",
    "sendgrid": "sendgrid.net",
}
"""The name that a domain's SPF record must include for each provider."""
SELECTORS = {
    "google-workspace": ("google",),
    "google-relay": ("google",),
    "microsoft365": ("selector1", "selector2"),
    "sendgrid": ("s1", "s2"),
    "resend": ("resend",),
}
"""The selectors that providers use for a domain's DKIM keys by default."""


def judge_server(facts: ServerFacts, *, now: datetime) -> Iterator[DoctorFinding]:
    """Judge one account's server: reachable, encrypted, with a login that it accepts, and large enough mails."""
    account, where = facts.account, f"{facts.account.name} ({facts.account.host}:{facts.account.port})"
    if facts.fault:
        yield wrong("smtp.away", where, fault=facts.fault)
        return
    if facts.ehlo_refused:
        yield wrong("smtp.ehlo_refused", where, name=facts.ehlo_name, reply=facts.ehlo_refused)
        return
    if facts.starttls is False:
        yield wrong("smtp.no_starttls", where)
        return
    if facts.tls_fault:
        yield wrong("smtp.tls_failed", where, fault=facts.tls_fault)
        return
    yield _greeting(facts, where)
    yield from _certificate(facts, where, now)
    yield from _login(account, facts, where)
    yield _size(facts, where)
    yield from _queueing(facts, where)


def _greeting(facts: ServerFacts, where: str) -> DoctorFinding:
    is_address = facts.ehlo_name.startswith("[") and not facts.ehlo_name.startswith(("[127.", "[IPv6:::1"))
    if is_address and not facts.account.ehlo_name:
        return warning("smtp.ehlo_address", where, name=facts.ehlo_name)
    return fine("smtp.ehlo", where, name=facts.ehlo_name)


def _certificate(facts: ServerFacts, where: str, now: datetime) -> Iterator[DoctorFinding]:
    if facts.account.tls == "off":
        yield fine("smtp.plain", where)
    elif facts.certificate_ends and facts.certificate_ends - now < _SOON:
        yield warning("smtp.certificate", where, ends=f"{facts.certificate_ends:%Y-%m-%d}")
    else:
        yield fine("smtp.tls", where)


def _login(account: Account, facts: ServerFacts, where: str) -> Iterator[DoctorFinding]:
    mechanisms = facts.offers.get("auth", "").upper().split()
    offered = ", ".join(mechanisms) or "none"
    if account.auth == "password" and account.preset == "microsoft365":
        yield warning("smtp.basic_auth", where)
    if not account.username:
        yield fine("smtp.no_login", where)
    elif not mechanisms:
        yield wrong("smtp.no_auth", where)
    elif account.auth != "password" and "XOAUTH2" not in mechanisms:
        yield wrong("smtp.no_xoauth2", where, offered=offered)
    elif account.auth == "password" and not {"PLAIN", "LOGIN"} & set(mechanisms):
        yield wrong("smtp.no_password", where, offered=offered)
    else:
        yield fine("smtp.auth", where, offered=offered)
        yield from _login_attempt(facts, where)


def _login_attempt(facts: ServerFacts, where: str) -> Iterator[DoctorFinding]:
    """Judge the login attempt, if there was one."""
    if facts.credentials is None:
        return
    setting = facts.credentials.setting
    if not facts.credentials.known:
        yield wrong("smtp.no_secret", where, fault=facts.credentials.fault or "it is empty", setting=setting)
    elif facts.login is not None:
        yield _login_finding(facts.login, where, setting)


def _login_finding(reply: LogInReply, where: str, setting: str) -> DoctorFinding:
    """Return the finding for a server's reply to a login, so that it names the setting to fix."""
    shown = f"{reply.code} {reply.text}"
    if reply.code == _LOGGED_IN:
        return fine("smtp.login", where)
    if _CLIENT_OFF.search(reply.text):
        return wrong("smtp.client_off", where, reply=shown)
    if "5.7.30" in reply.text or _BASIC_OFF.search(reply.text):
        return wrong("smtp.basic_off", where, reply=shown)
    if reply.code == _TOO_WEAK:
        return wrong("smtp.app_password", where, reply=shown)
    if reply.code < _FOR_GOOD:
        return warning("smtp.login_later", where, reply=shown)
    return wrong("smtp.login_refused", where, reply=shown, setting=setting)


def _queueing(facts: ServerFacts, where: str) -> Iterator[DoctorFinding]:
    """Warn about Exim, which leaves mails after the 10th of a connection to its queue run by default."""
    messages = facts.account.messages
    if "exim" in facts.greeting.lower() and not 0 < messages <= _EXIM_TAKES:
        yield warning("smtp.exim", where, account=facts.account.name)


def _size(facts: ServerFacts, where: str) -> DoctorFinding:
    limit = facts.offers.get("size", "")
    size = int(limit) if limit.isdigit() else 0
    if size and size < _SMALL:
        return warning("smtp.small", where, size=size)
    return fine("smtp.size", where, size=size or "no limit announced")


def judge_domain(
    facts: DomainFacts, *, presets: frozenset[str], our_key: str, our_selector: str
) -> Iterator[DoctorFinding]:
    """Judge one sender domain.

    Args:
        presets: the presets of the accounts that send for it.
        our_key: the DKIM record that the workers' signatures need; empty if only the provider signs.
    """
    unanswered = " ".join(facts.unanswered)
    if unanswered:
        yield warning("dns.unanswered", facts.domain, question=", ".join(facts.unanswered))
    if f"TXT {facts.domain}" not in facts.unanswered:
        yield from _spf(facts, presets)
    if "._domainkey." not in unanswered:
        yield from _dkim(facts, our_key, our_selector)
    if "_dmarc." not in unanswered:
        yield from _dmarc(facts)
    if facts.mail_servers in {(), ("",)} and "MX " not in unanswered:
        yield warning("domain.no_mx", facts.domain)


def _spf(facts: DomainFacts, presets: frozenset[str]) -> Iterator[DoctorFinding]:
    if len(facts.spf) > 1:
        yield wrong("spf.many", facts.domain, count=len(facts.spf))
        return
    if not facts.spf:
        yield wrong("spf.none", facts.domain)
        return
    (text,) = facts.spf
    texts = [text, *facts.spf_included.values()]
    lookups = sum(len(_LOOKUPS.findall(one)) for one in texts)
    missing = sorted(
        {_SPF_OF[name] for name in presets if name in _SPF_OF and _SPF_OF[name] not in facts.spf_included}
    )
    if lookups > _MOST_LOOKUPS:
        yield wrong("spf.lookups", facts.domain, count=lookups)
    for name in missing:
        yield wrong("spf.provider", facts.domain, include=name)
    if re.search(r"(?:^|\s)\+?all\b", text, re.IGNORECASE):
        yield wrong("spf.everybody", facts.domain)
    elif not re.search(r"(?:^|\s)[~-]all\b|redirect=", text, re.IGNORECASE):
        yield warning("spf.open", facts.domain)
    elif not missing and lookups <= _MOST_LOOKUPS:
        yield fine("spf.right", facts.domain, lookups=lookups)


def _dkim(facts: DomainFacts, our_key: str, our_selector: str) -> Iterator[DoctorFinding]:
    if our_key:
        published = facts.dkim.get(our_selector)
        if published is None:
            yield wrong("dkim.missing", facts.domain, selector=our_selector, record=our_key)
        elif _public(published) != _public(our_key):
            yield wrong("dkim.other", facts.domain, selector=our_selector, record=our_key)
        else:
            yield fine("dkim.right", facts.domain, selector=our_selector)
        return
    found = [selector for selector, text in facts.dkim.items() if _public(text)]
    if found:
        yield fine("dkim.right", facts.domain, selector=", ".join(found))
    else:
        yield warning("dkim.unseen", facts.domain)


def _public(record: str) -> str:
    """Return the key of a record without white space; empty if it was revoked."""
    found = _KEY.search(record)
    return "".join(found[1].split()) if found else ""


def _dmarc(facts: DomainFacts) -> Iterator[DoctorFinding]:
    if len(facts.dmarc) != 1:
        yield wrong("dmarc.many", facts.domain) if facts.dmarc else wrong("dmarc.none", facts.domain)
        return
    tags = dict(part.strip().split("=", 1) for part in facts.dmarc[0].split(";") if "=" in part)
    policy = tags.get("p", "").strip().lower()
    if policy not in {"none", "quarantine", "reject"}:
        yield wrong("dmarc.unreadable", facts.domain)
    elif policy == "none":
        yield warning("dmarc.watching", facts.domain)
    else:
        yield fine("dmarc.right", facts.domain, policy=policy)


def judge_host(facts: HostFacts) -> Iterator[DoctorFinding]:
    """Judge your own mail server: each address needs a name that resolves to it (Gmail's sender guidelines)."""
    if not facts.names:
        yield wrong("ptr.no_address", facts.host)
    for address, names in facts.names.items():
        if not names:
            yield wrong("ptr.none", facts.host, address=address)
        elif address not in facts.confirmed:
            yield wrong("ptr.unconfirmed", facts.host, address=address, name=names[0])
        else:
            yield fine("ptr.right", facts.host, address=address, name=names[0])
