"""Redis cut off in an attempt before anything was sent: the mail goes when Redis is back, uncharged."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from redis.asyncio import Redis

from jobs import Mail, Policy
from jobs.lanes import MAIL_NORMAL
from jobs.mail.account import Account
from jobs.mail.letter import LetterSender
from producers import Producer
from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit, Limit
from producers.link import Argument, Link
from tests.counts import counts
from tests.faulty_proxy import FaultyProxy
from tests.notes import running
from tests.scripted_smtp import ScriptedSmtp
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.mail.accounts.setup import AccountSize, ConfiguredAccount, run_accounts
from worker.mail.deliver import Mailer, send_mail
from worker.mail.policies import MailPolicies
from worker.mail.smtp.server import Server
from worker.mail.suppression import SuppressionList

KEYS = LaneKeys(MAIL_NORMAL)


class CutLink(Link):
    """A link whose line is cut right before the first of such commands."""

    def __init__(self, url: str, proxy: FaultyProxy, command: str) -> None:
        super().__init__(url)
        self._proxy = proxy
        self.command = command
        self.cuts = 0

    async def call(self, *command: Argument) -> Any:
        if command[0] == self.command and not self.cuts:
            self.cuts += 1
            await super().call("PING")  # it is connected
            self._proxy.cut()
        return await super().call(*command)


@asynccontextmanager
async def delivering(url: str, proxy: FaultyProxy, smtp: ScriptedSmtp, command: str) -> AsyncIterator[CutLink]:
    link = CutLink(url, proxy, command)
    hosts = {"main": smtp.port, "second": smtp.port}
    configured = [
        ConfiguredAccount(account=Account(name=name, host="127.0.0.1"), server=Server("127.0.0.1", port, "off"))
        for name, port in hosts.items()
    ]
    async with run_accounts(configured, link, size=AccountSize(connections=5, messages=100)) as accounts:
        care = MailPolicies(suppression=SuppressionList(link))
        worker = Worker(
            [handler(send_mail, kind=Mail.kind)],
            redis_url=url,
            lanes=[LaneSlots(MAIL_NORMAL, 5)],
            limits=[Limit(f"account:{name}") for name in hosts],
            lane_limits={MAIL_NORMAL: LaneLimit([f"account:{name}" for name in hosts])},
            policies={Mail.kind: Policy(tries=2)},
            ctx={"mailer": Mailer(accounts, LetterSender("no-reply@momentus.example"), policies=care)},
            handle_signals=False,
        )
        async with running(worker):
            yield link
    await link.close()


def delivered(smtp: ScriptedSmtp) -> Callable[[], int]:
    return lambda: len(smtp.mails)


@pytest.mark.parametrize(
    ("command", "account"),
    [
        pytest.param("HMGET", None, id="suppression list"),
        pytest.param("LRANGE", None, id="earlier attempts"),
        pytest.param("HSET", "second", id="binding to an account"),
    ],
)
async def test_a_line_cut_before_anything_was_sent_costs_a_second_and_no_attempt(
    valkey_url: str, command: str, account: str | None
) -> None:
    port = urlsplit(valkey_url).port or 0
    async with FaultyProxy(port) as proxy, ScriptedSmtp() as smtp:
        mail = Mail(to="ana@example.com", subject="Hola", text="Hola", account=account)
        async with Producer.connect(valkey_url, budget=5) as producer:
            receipt = await producer.send(mail)
        proxied = valkey_url.replace(f":{port}/", f":{proxy.port}/")
        async with Redis.from_url(valkey_url) as redis, delivering(proxied, proxy, smtp, command) as link:
            await eventually(delivered(smtp))  # in less than the half minute of other uncharged waits
            await eventually(counts(redis, MAIL_NORMAL, "done"))
            outcomes = [orjson.loads(line) for line in await redis.lrange(KEYS.history(receipt.id), 0, -1)]
    assert link.cuts == 1
    assert any("Redis did not answer about" in one["reason"] for one in outcomes)
    assert {one["outcome"] for one in outcomes} == {"deferred"}
    assert {one["attempt"] for one in outcomes} == {1}
