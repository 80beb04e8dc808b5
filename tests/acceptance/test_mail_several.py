"""Mails to several recipients: each gets its copy once, whatever a server says about the others."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes
from itertools import count
from typing import Any, cast

import orjson
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from redis.asyncio import Redis

from jobs import Mail, Policy
from jobs.lanes import MAIL_NORMAL
from jobs.mail.account import Account
from jobs.mail.letter import LetterSender
from ops.mail.bounces import process_bounce
from ops.mail.forget import forget_address
from ops.mail.trace import trace_mail, trace_text
from producers import Producer
from producers.keys import LaneKeys, mail_recipients
from producers.link import Link
from producers.suppression import digest_of, suppress
from tests.bounces import bounce
from tests.counts import count_of
from tests.notes import running
from tests.scripted_smtp import ScriptedSmtp, Talk
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.mail.accounts.setup import AccountSize, ConfiguredAccount, run_accounts
from worker.mail.deliver import Mailer, mail_handler
from worker.mail.modes import Safety
from worker.mail.policies import MailPolicies
from worker.mail.sent import SentRegister
from worker.mail.smtp.server import Server
from worker.mail.suppression import SuppressionList

KEYS = LaneKeys(MAIL_NORMAL)
ANA, LUIS, EVA, BOB = "ana@example.com", "luis@example.com", "eva@example.org", "bob@example.net"
NO_USER, FULL, TOO_MANY = "550 5.1.1 <{}>: no such user", "452 4.2.2 <{}> is full", "452 4.5.3 too many recipients"


@dataclass
class Choosy(ScriptedSmtp):
    """Replies to RCPT by address.

    Attributes:
        said: by address, the next replies; then 250.
    """

    said: dict[str, list[str]] = field(default_factory=dict)

    async def _answer(self, talk: Talk, verb: str, usual: str) -> bool:
        if verb == "rcpt" and (replies := self.said.get(talk.commands[-1][9:].partition(">")[0])):
            self.replies["rcpt"] = [replies.pop(0).format(talk.commands[-1][9:].partition(">")[0])]
        return await super()._answer(talk, verb, usual)

    async def _transaction(self, talk: Talk, verb: str) -> None:
        if verb == "RSET":
            talk.recipients = []
        await super()._transaction(talk, verb)

    @property
    def copies(self) -> Counter[str]:
        """How many copies each recipient got."""
        return Counter(one for mail in self.mails for one in mail.recipients)


@asynccontextmanager
async def delivering(
    url: str,
    server: ScriptedSmtp,
    *,
    safety: Safety | None = None,
    policy: Policy | None = None,
    grace: timedelta = timedelta(seconds=30),
) -> AsyncIterator[Worker]:
    link = Link(url)
    configured = ConfiguredAccount(account=Account(name="main"), server=Server("127.0.0.1", server.port, "off"))
    sent = SentRegister(link, days=7)
    policies = MailPolicies(safety=safety or Safety(mode="live"), suppression=SuppressionList(link), sent=sent)
    async with run_accounts([configured], link, size=AccountSize(connections=1, messages=1000)) as accounts:
        mailer = Mailer(accounts, LetterSender("no-reply@momentus.example"), policies=policies)
        worker = Worker(
            [mail_handler(keep_result=timedelta(hours=1))],
            redis_url=url,
            lanes=[LaneSlots(MAIL_NORMAL, 5)],
            policies={Mail.kind: policy or Policy(tries=6, first_wait=timedelta(milliseconds=5))},
            ctx={"mailer": mailer},
            handle_signals=False,
            grace=grace,
        )
        async with running(worker):
            yield worker
        await policies.wait_for_notes()
    await link.close()


def mail(**fields: Any) -> Mail:
    return Mail(**{"to": [ANA, LUIS], "cc": EVA, "bcc": [BOB], "subject": "Hola", "text": "Buenos días", **fields})


async def result_of(redis: Redis, job_id: str) -> dict[str, Any]:
    stored = await eventually(lambda: redis.get(f"arq:result:{job_id}"), timeout=30)
    found: dict[str, Any] = orjson.loads(stored)
    return found


async def test_all_recipients_get_one_mail_and_none_reads_of_bcc(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Choosy() as server, delivering(valkey_url, server):
        receipt = await producer.send(mail())
        result = await result_of(redis, receipt.id)
    (taken,) = server.mails
    assert taken.recipients == [ANA, LUIS, EVA, BOB]
    assert BOB.encode() not in taken.octets
    read = message_from_bytes(taken.octets)
    assert (read["To"], read["Cc"], read["Bcc"]) == (f"{ANA},\r\n {LUIS}", EVA, None)
    places = ("to[0]", "to[1]", "cc[0]", "bcc[0]")
    assert result["r"]["recipients"] == dict.fromkeys(places, "accepted")
    assert not await redis.exists(mail_recipients(receipt.id))


async def test_who_is_refused_for_now_gets_it_later_and_nobody_twice(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Choosy(said={LUIS: [FULL, FULL], BOB: [FULL]}) as server, delivering(valkey_url, server):
        receipt = await producer.send(mail())
        result = await result_of(redis, receipt.id)
        journal = b"".join(await redis.lrange(KEYS.history(receipt.id), 0, -1))
        assert server.copies == Counter([ANA, LUIS, EVA, BOB])
        assert [one.recipients for one in server.mails] == [[ANA, EVA], [BOB], [LUIS]]
        assert len({one.octets for one in server.mails}) == 1
    assert set(result["r"]["recipients"].values()) == {"accepted"}
    assert b"example" not in journal
    assert await count_of(redis, MAIL_NORMAL, "uncertain") == 0


async def test_a_recipient_refused_for_good_is_recorded_and_suppressed_and_the_others_get_it(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Choosy(said={EVA: [NO_USER]}) as server, delivering(valkey_url, server):
        receipt = await producer.send(mail())
        result = await result_of(redis, receipt.id)
        assert result["r"]["recipients"]["cc[0]"] == "refused 550 5.1.1"
        assert "cc[0]: refused 550 5.1.1" in trace_text(await trace_mail(redis, receipt.id))
        assert await eventually(lambda: redis.hexists("momentus:{mail}:suppression", digest_of(EVA)))
        second = await producer.send(mail())
        result = await result_of(redis, second.id)
    assert result["r"]["recipients"]["cc[0]"] == "suppressed hard_bounce"
    assert server.mails[1].recipients == [ANA, LUIS, BOB]


async def test_a_mail_is_dead_when_all_are_refused_for_good_and_suppressed_when_all_are(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Choosy(said={one: [NO_USER] for one in (ANA, LUIS)}) as server, delivering(valkey_url, server):
        await producer.send(mail(cc=None, bcc=None))
        await eventually(lambda: count_of(redis, MAIL_NORMAL, "dead"))
        for address in (EVA, BOB):
            await suppress(redis.execute_command, address, "complaint", by="test")
        receipt = await producer.send(mail(to=[EVA], cc=None))
        result = await result_of(redis, receipt.id)
    assert result["o"] == "suppressed"
    assert not server.mails


async def test_a_server_that_takes_two_recipients_at_a_time_gets_the_others_in_further_transactions(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    addresses = [f"u{number}@example.com" for number in range(5)]
    said = {one: [TOO_MANY] * (place // 2) for place, one in enumerate(addresses)}
    async with Choosy(said=said) as server, delivering(valkey_url, server):
        receipt = await producer.send(mail(to=addresses, cc=None, bcc=None))
        await result_of(redis, receipt.id)
        assert not await redis.exists(f"arq:retry:{receipt.id}")
    assert [len(one.recipients) for one in server.mails] == [2, 2, 1]


async def test_a_connection_lost_at_the_dot_is_uncertain_and_the_next_attempt_goes_to_all_that_are_left(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Choosy(said={BOB: [FULL]}) as server, delivering(valkey_url, server):
        server.replies["dot"] = [""]
        receipt = await producer.send(mail())
        await result_of(redis, receipt.id)
    assert server.mails[-1].recipients == [ANA, LUIS, EVA, BOB]
    assert await count_of(redis, MAIL_NORMAL, "uncertain") == 1


async def test_a_mail_of_which_one_recipient_may_not_get_it_goes_to_the_redirect_address_alone(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    safety = Safety(mode="live", redirect_to="all@test.example", allowed_domains=frozenset({"example.com"}))
    async with Choosy() as server, delivering(valkey_url, server, safety=safety):
        await result_of(redis, (await producer.send(mail())).id)
        await result_of(redis, (await producer.send(mail(cc=None, bcc=None))).id)
    redirected, direct = server.mails
    assert redirected.recipients == ["all@test.example"]
    read = message_from_bytes(redirected.octets)
    assert read["Subject"] == f"[{ANA} +3] Hola"
    assert read["X-Original-To"].split(",\r\n ") == [ANA, LUIS, EVA]
    assert (read["To"], read["Cc"]) == ("all@test.example", None)
    assert BOB.encode() not in redirected.octets
    assert direct.recipients == [ANA, LUIS]


async def test_one_recipients_bounce_never_suppresses_another_at_once(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Choosy() as server, delivering(valkey_url, server):
        receipt = await producer.send(mail())
        await result_of(redis, receipt.id)
    message_id = re.search(rb"Message-ID: <([^@]+)@", server.mails[0].octets)
    assert message_id
    report = bounce(message_id[1].decode(), recipient=LUIS)
    assert await process_bounce(redis, report, by="test") == "counted"
    assert not await redis.hexists("momentus:{mail}:suppression", digest_of(LUIS))


async def test_a_person_in_cc_can_be_forgotten(producer: Producer, redis: Redis) -> None:
    await producer.send(mail())
    await producer.send(mail(cc=None))
    assert (await forget_address(redis, EVA, ring=None))["cancelled"] == 1


async def test_an_earlier_worker_parks_a_mail_to_several(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    from worker.engine.handler import handler  # noqa: PLC0415  as an earlier build had it

    async def never(_context: dict[str, Any], **_mail: object) -> None:
        raise AssertionError

    worker = Worker(
        [handler(never, kind=Mail.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(MAIL_NORMAL, 1)],
        handle_signals=False,
    )
    receipt = await producer.send(mail())
    async with running(worker):
        note = await eventually(lambda: redis.hget(KEYS.parked, receipt.id))
    assert orjson.loads(note)["needs"] == "mail.send@2"


async def test_who_has_the_mail_is_remembered_when_a_worker_ends_in_the_next_attempt(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Choosy(said={BOB: [FULL], LUIS: [NO_USER]}) as server:

        async def wait_from_the_second_on() -> None:
            if server.commands.count("DATA") > 1:
                await asyncio.Event().wait()

        server.before["dot"] = wait_from_the_second_on
        receipt = await producer.send(mail())
        async with delivering(valkey_url, server, grace=timedelta(0)):
            await eventually(lambda: server.commands.count("DATA") == 2)
            await eventually(lambda: redis.hexists(KEYS.effects, receipt.id))
        del server.before["dot"]
        async with delivering(valkey_url, server):
            result = await result_of(redis, receipt.id)
    assert [one.recipients for one in server.mails] == [[ANA, EVA], [BOB]]
    assert result["r"]["recipients"]["to[1]"] == "refused 550 5.1.1"
    assert await count_of(redis, MAIL_NORMAL, "uncertain") == 1


REPLIES = st.sampled_from(["250 2.1.5 fine", FULL, NO_USER])
SCRIPTS = st.lists(st.lists(st.lists(REPLIES, max_size=3), min_size=2, max_size=5), min_size=1, max_size=8)
DOTS = st.lists(st.sampled_from(["250 2.0.0 queued", "", "451 4.6.0 later", "554 5.6.0 no"]), max_size=6)
RUNS = count()


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts=SCRIPTS, dots=DOTS)
def test_each_recipient_gets_it_once_unless_that_is_counted(
    valkey_url: str, scripts: list[list[list[str]]], dots: list[str]
) -> None:
    asyncio.run(_each_gets_it_once(valkey_url, scripts, dots))


@pytest.mark.long
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts=SCRIPTS, dots=DOTS)
def test_each_recipient_gets_it_once_unless_that_is_counted_in_many_runs(
    valkey_url: str, scripts: list[list[list[str]]], dots: list[str]
) -> None:
    asyncio.run(_each_gets_it_once(valkey_url, scripts, dots))


async def _each_gets_it_once(url: str, scripts: list[list[list[str]]], dots: list[str]) -> None:
    """Each script is one mail: for each recipient the replies to its RCPTs, one attempt after the other."""
    run = next(RUNS)
    said = {
        f"u{person}@m{number}.run{run}.example.com": list(replies)
        for number, script in enumerate(scripts)
        for person, replies in enumerate(script)
    }
    given_up = {address for address, replies in said.items() if NO_USER in replies}
    brisk = Policy(tries=40, first_wait=timedelta(milliseconds=1), longest_wait=timedelta(milliseconds=5))
    mails = [
        mail(to=[one for one in said if f"@m{number}." in one], cc=None, bcc=None)
        for number in range(len(scripts))
    ]
    async with (
        Redis.from_url(url) as redis,
        Producer.connect(url, budget=5) as producer,
        Choosy(said=said) as server,
    ):
        server.replies["dot"] = list(dots)
        async with delivering(url, server, policy=brisk):
            receipts = await producer.send_many(mails)
            results = [await result_of(redis, one.id) for one in receipts]
        listed = {one.decode() for one in await redis.zrange(KEYS.uncertain, 0, -1)}
    for one, receipt, result in zip(mails, receipts, results, strict=True):
        recipients = cast("list[str]", one.to)
        assert receipt.id in listed or max(server.copies[address] for address in recipients) <= 1
        if not result["s"]:
            continue
        for place, address in enumerate(recipients):
            has_it = result["r"]["recipients"][f"to[{place}]"] == "accepted"
            assert has_it == (server.copies[address] > 0)
            assert has_it or address in given_up or "554 5.6.0 no" in dots
