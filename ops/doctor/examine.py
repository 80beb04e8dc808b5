"""All checks of the doctor.

A failing part never hides the others, so a Redis that does not answer is one finding.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parseaddr
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from durations import read_duration
from jobs.mail.account import Account, AccountsError, read_accounts
from jobs.mail.dkim import InvalidDkimKey, load_signer
from jobs.mail.seal import InvalidKeyRing, KeyRing
from ops.command import Tools
from ops.depth.wrong_keys import wrong_keys
from ops.doctor.checks_mail import SELECTORS, judge_domain, judge_host, judge_server
from ops.doctor.checks_redis import judge_redis
from ops.doctor.credentials import credentials_of
from ops.doctor.dns import Resolver
from ops.doctor.finding import DoctorFinding, fine, warning, wrong
from ops.doctor.ledger_postgres import gather_ledger, judge_ledger
from ops.doctor.postgres import gather_postgres, judge_postgres
from ops.doctor.proofs import judge_proofs
from ops.doctor.redis_facts import gather_redis
from ops.doctor.role_postgres import gather_role, judge_role
from ops.doctor.smtp import ServerFacts, gather_server
from ops.doctor.sources_postgres import gather_sources, judge_sources
from ops.reports.proofs_postgres import fetch_catalogue
from ops.reports.zones_postgres import REMEDY, gather_zones, zones_of
from producers.rights import missing_right
from reports import ReportError, load_reports
from reports.boards import boards_of


async def examine_all(
    tools: Tools,
    *,
    resolver: Resolver,
    domains: Sequence[str],
    selectors: Sequence[str],
    login: bool = True,
) -> list[DoctorFinding]:
    """Run all checks and return their findings.

    Args:
        domains: sender domains to check besides the configured one.
        selectors: DKIM selectors to check besides the usual ones.
        login: True to try a login at every mail account.
    """
    mail = [_accounts(tools.mail, login=login), _domains(tools.mail, resolver, domains, selectors)]
    parts = [_redis(tools), _postgres(tools), *mail]
    return [finding for found in await asyncio.gather(*parts) for finding in found]


async def _redis(tools: Tools) -> list[DoctorFinding]:
    try:
        bound = tools.clock_bound
        facts = await gather_redis(tools.redis, tools.redis_url, tenant=tools.tenant, clock_bound=bound)
    except (RedisError, OSError) as error:
        if right := missing_right(error):
            return [wrong("redis.no_right", "redis", right=right, part="Redis is not checked")]
        if str(error).startswith("WRONGTYPE") and (keys := await wrong_keys(tools.redis)):
            return [wrong("redis.wrong_key", "redis", why="; ".join(keys))]
        return [wrong("redis.away", "redis", fault=f"{type(error).__name__}: {error}")]
    found = list(judge_redis(facts, bound=bound))
    if tools.postgres_dsn and facts.depth is not None and not facts.depth.reports:
        found.append(warning("reports.none", "reports"))
    return found


async def _postgres(tools: Tools) -> list[DoctorFinding]:
    if not tools.postgres_dsn:
        return []
    found = list(judge_postgres(await gather_postgres(tools.postgres_dsn), bound=tools.clock_bound))
    return [
        *found,
        *judge_role(await gather_role(tools.postgres_dsn)),
        *await _boards(tools),
        *await _ledger(tools),
        *await _zones(tools),
    ]


async def _zones(tools: Tools) -> list[DoctorFinding]:
    """Compare the starts of days for Python and for the server."""
    try:
        reports = load_reports(tools.reports_path, shipped=tools.reports_shipped)
    except ReportError:
        return []
    zones = zones_of(reports.values(), tools.timezone)
    faults = await gather_zones(tools.postgres_dsn, zones)
    if faults is None:
        return []
    found = [warning("zones.differ", one.zone, fault=one.words, remedy=REMEDY) for one in faults]
    return found or [fine("zones.agree", "zones", zones=", ".join(sorted(zones)))]


async def _ledger(tools: Tools) -> list[DoctorFinding]:
    facts = await gather_ledger(tools.postgres_dsn)
    return [] if facts is None else list(judge_ledger(facts))


async def _boards(tools: Tools) -> list[DoctorFinding]:
    """Check boards and their sources; empty if the files cannot be read, which ``reports check`` explains."""
    try:
        boards = boards_of(load_reports(tools.reports_path, shipped=tools.reports_shipped))
    except ReportError:
        return []
    catalogue = await fetch_catalogue(tools.postgres_dsn, tools.tenant, boards)
    sources = await gather_sources(tools.postgres_dsn, boards.values())
    found = [] if catalogue is None else list(judge_proofs(catalogue))
    if sources is not None:
        found += judge_sources(sources, tenant=tools.tenant, boards=boards)
    return found


async def _accounts(mail: Mapping[str, Any], *, login: bool) -> list[DoctorFinding]:
    """Check the mail settings, and each account's server."""
    found = [_mode(mail), *_ring(mail), *_signing(mail)]
    try:
        accounts = accounts_of(mail)
    except (AccountsError, OSError) as error:
        return [*found, wrong("mail.accounts", "accounts", fault=str(error))]
    found += _sender(mail, accounts)
    now = datetime.now(UTC)
    for facts in await asyncio.gather(*(_server(account, mail, login=login) for account in accounts)):
        found += judge_server(facts, now=now)
    return found


async def _server(account: Account, mail: Mapping[str, Any], *, login: bool) -> ServerFacts:
    return await gather_server(account, await credentials_of(account, mail) if login else None)


def _sender(mail: Mapping[str, Any], accounts: Sequence[Account]) -> Iterable[DoctorFinding]:
    """Check that some account may send for the default sender."""
    domain = _domain_of_sender(mail)
    if accounts and domain and all(one.sender_domains and domain not in one.sender_domains for one in accounts):
        yield wrong("mail.sender", "mail", domain=domain)


def _domain_of_sender(mail: Mapping[str, Any]) -> str:
    return parseaddr(mail.get("sender") or "")[1].rpartition("@")[2].lower()


async def _domains(
    mail: Mapping[str, Any], resolver: Resolver, domains: Sequence[str], selectors: Sequence[str]
) -> list[DoctorFinding]:
    """Check the DNS of sender domains, and of your own mail servers."""
    try:
        accounts = accounts_of(mail)
    except (AccountsError, OSError):
        return []
    found: list[DoctorFinding] = []
    elsewhere = [account for account in accounts if not _is_loopback(account.host)]
    wanted = [*([_domain_of_sender(mail)] if elsewhere else []), *domains]
    for domain in dict.fromkeys(wanted):
        found += await _domain(domain, mail, accounts, resolver, selectors)
    for account in elsewhere:
        if account.preset == "generic":
            found += judge_host(await resolver.host(account.host))
    return found


async def _domain(
    domain: str, mail: Mapping[str, Any], accounts: Sequence[Account], resolver: Resolver, selectors: Sequence[str]
) -> list[DoctorFinding]:
    own = mail.get("dkim_selector") if mail.get("dkim_domain") == domain else None
    presets = frozenset(account.preset for account in accounts)
    usual = [one for preset in sorted(presets) for one in SELECTORS.get(preset, ())]
    facts = await resolver.domain(domain, [*([own] if own else []), *selectors, *usual])
    return list(judge_domain(facts, presets=presets, our_key=_public_key(mail, own), our_selector=own or ""))


def _public_key(mail: Mapping[str, Any], selector: str | None) -> str:
    """Return the DKIM record that the workers' signatures need; empty without a usable key."""
    if not selector:
        return ""
    try:
        return load_signer(mail["dkim_key"], domain=mail["dkim_domain"], selector=selector).public_text
    except InvalidDkimKey:
        return ""


def accounts_of(mail: Mapping[str, Any]) -> tuple[Account, ...]:
    """Return the configured accounts: those of the file, else the one of the settings; none for the sink.

    Raises:
        AccountsError, OSError: the file cannot be read.
    """
    if path := mail.get("accounts"):
        found = read_accounts(Path(path).read_text(encoding="utf-8"), read_duration).accounts
        return tuple(replace(one, ehlo_name=one.ehlo_name or mail.get("ehlo_name") or "") for one in found)
    if not mail.get("host"):
        return ()
    known = {name: mail[name] for name in ("host", "port", "tls")}
    known |= {name: str(mail.get(name) or "") for name in ("username", "ca_file", "ehlo_name")}
    messages = mail.get("messages_per_connection") or 0
    return (Account(name="default", messages=messages, **known),)


def _mode(mail: Mapping[str, Any]) -> DoctorFinding:
    mode = mail.get("mode", "sink")
    if mode == "live" and not mail.get("allowed_domains"):
        return fine("mail.live", "mail")
    return fine("mail.sink", "mail") if mode == "sink" else warning("mail.mode", "mail", mode=mode)


def _signing(mail: Mapping[str, Any]) -> Iterable[DoctorFinding]:
    if not mail.get("dkim_key"):
        return
    try:
        load_signer(mail["dkim_key"], domain=mail["dkim_domain"], selector=mail["dkim_selector"])
    except InvalidDkimKey as error:
        yield wrong("mail.dkim", "mail", fault=str(error))


def _ring(mail: Mapping[str, Any]) -> Iterable[DoctorFinding]:
    try:
        ring = KeyRing.optional(mail.get("seal_keys"))
    except InvalidKeyRing as error:
        yield wrong("mail.ring", "mail", fault=error.reason)
    else:
        if ring is not None:
            yield fine("mail.sealed", "mail", keys=", ".join(ring.key_ids))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
