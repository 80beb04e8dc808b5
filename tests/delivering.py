"""A worker that delivers mails of all lanes to a `Provider` by one account, for the length of a block."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from jobs import Mail
from jobs.lanes import MAIL_BULK, MAIL_NORMAL, MAIL_URGENT
from jobs.mail.account import Account
from jobs.mail.letter import LetterSender
from jobs.mail.stream import STREAMS, Stream
from local.sink.smtp import MailSink
from producers.keys import LaneKeys
from producers.link import Link
from tests.notes import running
from tests.provider import Provider
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.mail.accounts.setup import AccountSize, ConfiguredAccount, run_accounts
from worker.mail.deliver import Mailer, send_mail
from worker.mail.smtp.server import Server

LANES = (MAIL_URGENT, MAIL_NORMAL, MAIL_BULK)


@asynccontextmanager
async def delivering(
    url: str, provider: Provider | MailSink, *, streams: Mapping[str, Stream] = STREAMS, **options: Any
) -> AsyncIterator[Worker]:
    """The worker at work.

    Args:
        options: of the worker.
    """
    link = Link(url, LaneKeys(MAIL_NORMAL).tag)
    account = Account(name="main", host="127.0.0.1")
    configured = ConfiguredAccount(account=account, server=Server("127.0.0.1", provider.port, "off"))
    async with run_accounts([configured], link, size=AccountSize(connections=20, messages=100)) as accounts:
        worker = Worker(
            [handler(send_mail, kind=Mail.kind)],
            redis_url=url,
            lanes=[LaneSlots(lane, 40) for lane in LANES],
            ctx={"mailer": Mailer(accounts, LetterSender("no-reply@momentus.example"), streams)},
            handle_signals=False,
            **options,
        )
        async with running(worker):
            yield worker
    await link.close()
