"""Duties of a worker for mails: accounts, policies, lanes, and the eraser of dead mails, from the settings."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from email.utils import parseaddr
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import Mail
from jobs.lanes import MAIL_BULK, MAIL_NORMAL, MAIL_URGENT
from jobs.mail.address import PRIVATE_DOMAINS, normal_address
from jobs.mail.letter import LetterSender
from jobs.mail.seal import InvalidKeyRing, KeyRing
from producers.limits.limit import LaneLimit
from producers.link import Link
from settings import MailSettings, Settings, read_secret
from worker.duties import WorkerDuties, mail_lanes, reveal_secret
from worker.engine import LaneSlots
from worker.engine.handler import handler
from worker.mail.accounts.gate import GateTimes, limit_key
from worker.mail.accounts.setup import (
    AccountConfiguration,
    AccountSize,
    limit_of,
    read_configuration,
    run_accounts,
)
from worker.mail.base64url import decode_base64url
from worker.mail.deliver import Mailer, mail_handler
from worker.mail.erase import KIND as ERASE, Eraser, erase_cron, erase_mails
from worker.mail.mode_hold import apply_mode_hold
from worker.mail.modes import Safety
from worker.mail.policies import MailPolicies
from worker.mail.sent import SentRegister
from worker.mail.smtp.server import Server
from worker.mail.suppression import SuppressionList
from worker.mail.template_notes import log_template_notes

if TYPE_CHECKING:
    from jobs.mail.dkim import Signer


async def add_mail(duties: WorkerDuties, stack: AsyncExitStack, settings: Settings, url: str) -> None:
    """Add what this worker does for mails; the stack ends it.

    Raises:
        ValueError: a setting cannot be used; the message names it.
    """
    if settings.mail.templates is not None:
        log_template_notes(settings.mail.templates)
    link = Link(url, "{mail}")
    stack.push_async_callback(link.close)
    accounts = _accounts(settings.mail, link)
    duties.context["mailer"] = await stack.enter_async_context(_mailer(settings, accounts, link))
    duties.context["eraser"] = await stack.enter_async_context(_eraser(settings, url))
    duties.functions += [
        mail_handler(keep_result=settings.mail.keep_journal),
        handler(erase_mails, kind=ERASE),
    ]
    duties.lanes += mail_lanes(settings)
    duties.crons.append(erase_cron())
    duties.limits += [limit_of(one.account) for one in accounts.configured]
    duties.lane_limits |= _lane_limits(duties.lanes, accounts)
    duties.policies[Mail.kind] = replace(Mail.policy, horizon=settings.mail.horizon)


@asynccontextmanager
async def _mailer(settings: Settings, accounts: AccountConfiguration, link: Link) -> AsyncIterator[Mailer]:
    mail = settings.mail
    weights = [lane.slots for lane in mail_lanes(settings)]
    size = AccountSize(connections=mail.connections, messages=mail.messages_per_connection, weights=weights)
    times = GateTimes(life=settings.worker.lease, renew_every=settings.worker.lease_renew)
    policies = _mail_policies(mail, link)
    async with (
        run_accounts(accounts.configured, link, size=size, times=times) as carriers,
        apply_mode_hold(link, mail.mode),
    ):
        try:
            yield Mailer(carriers, _sender(mail.sender), accounts.streams, policies, mail.attachments)
        finally:
            await policies.wait_for_notes()


@asynccontextmanager
async def _eraser(settings: Settings, url: str) -> AsyncIterator[Eraser]:
    link = Link(url, "{mail}")
    try:
        yield Eraser(link, settings.mail.erase_after)
    finally:
        await link.close()


def _mail_policies(mail: MailSettings, link: Link) -> MailPolicies:
    """Return the policies for mails: seal keys, safety mode, suppression, sent register, signature.

    Raises:
        ValueError: a key cannot be read; the message names the setting.
    """
    try:
        ring = KeyRing.optional(reveal_secret(mail.seal_keys), decode=decode_base64url)
    except InvalidKeyRing as error:
        raise ValueError(f"MOMENTUS_MAIL__SEAL_KEYS: {error.reason}") from None
    domains = (mail.allowed_domains or "").lower().replace(",", " ").split()
    return MailPolicies(
        ring=ring,
        safety=Safety(mode=mail.mode, redirect_to=mail.redirect_to or "", allowed_domains=frozenset(domains)),
        suppression=SuppressionList(link),
        sent=SentRegister(link, days=mail.bounce_days),
        signer=_signer(mail),
    )


def _signer(mail: MailSettings) -> "Signer | None":
    """Return the signer of the DKIM settings; None without a key.

    Raises:
        ValueError: the key cannot be used; the message names the setting.
    """
    if not (key := reveal_secret(mail.dkim_key)):
        return None
    from jobs.mail.dkim import load_signer  # noqa: PLC0415  with cryptography, for which others need not wait

    return load_signer(key, domain=mail.dkim_domain or "", selector=mail.dkim_selector or "")


def _accounts(mail: MailSettings, link: Link) -> AccountConfiguration:
    """Return the accounts of the accounts file, or the one account of the settings.

    Raises:
        ValueError: the file cannot be read or is invalid; the message names the setting.
    """
    if mail.accounts is None:
        return AccountConfiguration.of_one(
            Server(
                mail.host or "",
                mail.port,
                mail.tls,
                mail.username or "",
                reveal_secret(mail.password),
                ca_file=str(mail.ca_file or ""),
                ehlo_name=mail.ehlo_name or "",
            )
        )
    try:
        return read_configuration(
            mail.accounts,
            link,
            here_only=mail.mode == "sink",
            read_secret=_secret_file,
            ehlo_name=mail.ehlo_name or "",
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"MOMENTUS_MAIL__ACCOUNTS: {mail.accounts}: {error}") from None


def _secret_file(path: Path) -> str:
    return read_secret(path, twice=False)


def _lane_limits(lanes: Sequence[LaneSlots], accounts: AccountConfiguration) -> Mapping[str, LaneLimit]:
    """Return the limit of each mail lane: the budget of one of the accounts, the first that has room."""
    keys = tuple(limit_key(one.account.name) for one in accounts.configured)
    served = {lane.lane for lane in lanes if lane.slots}
    mail_lanes = served & {MAIL_URGENT, MAIL_NORMAL, MAIL_BULK}
    return {lane: LaneLimit(keys, urgent=lane == MAIL_URGENT) for lane in mail_lanes}


def _sender(text: str) -> LetterSender:
    """Parse ``Name <address>`` into a sender; the address passes the same checks as any other."""
    name, address = parseaddr(text)
    return LetterSender(
        normal_address(address, field="MOMENTUS_MAIL__SENDER", private_domains=PRIVATE_DOMAINS), name
    )
