"""A server that refuses everybody is at fault: nobody is suppressed, it is seen, and there is a way back."""

import argparse
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import orjson
import pytest
from redis.asyncio import Redis

from jobs import Mail, Policy
from jobs.mail.letter import LetterSender
from local.sink.smtp import MailSink, SinkFaults
from ops.command import Command, CommandResult, Tools
from ops.depth.read import read_depth
from ops.depth.table import depth_table
from ops.doctor.checks_queue import judge_depth
from ops.jobs.commands import COMMANDS as JOBS
from ops.mail.bounces import process_bounce
from ops.mail.commands import MAIL
from ops.mail.doubt import read_doubts
from ops.mail.flood import find_flood
from ops.mail.trace import trace_mail
from producers import Producer
from producers.keys import MAIL_SUPPRESSION, MAIL_SUPPRESSION_LOG, LaneKeys
from producers.limits.limit import Limit
from producers.limits.limits import Limits
from producers.link import Link
from producers.suppression import Refusal, Weighed, digest_of, reasons_of, suppress, weigh_refusal
from tests.bounces import bounce
from tests.notes import running
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.mail.accounts.accounts import Accounts
from worker.mail.deliver import Mailer, send_mail
from worker.mail.policies import MailPolicies
from worker.mail.sent import SentRegister
from worker.mail.smtp.pool import SMTPPool
from worker.mail.smtp.server import Server
from worker.mail.suppression import SuppressionList

KEYS = LaneKeys("mail.normal")
GONE = "550 5.1.1 no such user"
PUT_OFF = timedelta(hours=1)
pytestmark = pytest.mark.on_cluster_too
MANY = [f"u{number}@example.com" for number in range(40)]


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[Link]:
    one = Link(valkey_url, "{mail}")
    yield one
    await one.close()


async def run(redis: Redis, *words: str, among: Sequence[Command] = MAIL.commands) -> CommandResult:
    """A command as the command line would run it."""
    command = next(one for one in among if one.word == words[0])
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return await command.act(Tools(redis=redis, redis_url=""), parser.parse_args(words[1:]))


async def refuse(
    link: Link, addresses: Sequence[str], weight: Refusal = "hard", *, account: str = ""
) -> list[Weighed]:
    return [await weigh_refusal(link.call, one, weight, by="worker", account=account) for one in addresses]


async def take(link: Link, addresses: Sequence[str], *, account: str = "main") -> None:
    """Let a server take mails to these addresses."""
    register = SentRegister(link, days=7)
    for number, address in enumerate(addresses):
        register.note_mail(f"taken{number}", address, account)
    await register.wait_for_notes()


@asynccontextmanager
async def caring(url: str, port: int, care: MailPolicies, *, policy: Policy = Mail.policy) -> AsyncIterator[None]:
    """A worker with this care, in this loop."""
    pool = SMTPPool(Server("127.0.0.1", port, "off"), connections=5, messages=100)
    worker = Worker(
        [handler(send_mail, kind=Mail.kind)],
        redis_url=url,
        lanes=[LaneSlots("mail.normal", 5)],
        policies={Mail.kind: policy},
        ctx={
            "mailer": Mailer(
                Accounts.single(pool), LetterSender("no-reply@momentus.example", "Momentus"), policies=care
            )
        },
        handle_signals=False,
    )
    async with running(worker):
        yield
    await pool.close()


async def settled(redis: Redis, count: int) -> bool:
    """Whether each of so many mails was refused once: it is dead, or waits."""
    lane = (await read_depth(redis, tenant="default")).lane("mail.normal")
    return lane is not None and lane.dead + lane.retrying == count


async def let_go(redis: Redis) -> None:
    """Let all that waits for its time go now."""
    for job_id in await redis.zrange(KEYS.queue, 0, -1):
        await redis.zadd(KEYS.queue, {job_id: 1})
    await redis.lpush(KEYS.wake, "1")


# The rule


async def test_a_server_that_knows_nobody_suppresses_nobody_those_before_it_was_noticed_included(
    redis: Redis, link: Link
) -> None:
    weighed = await refuse(link, MANY)
    assert weighed == ["suppressed"] * 4 + ["doubtful"] * 36
    assert not await redis.exists(MAIL_SUPPRESSION)
    log = (await run(redis, "suppressed", "--log")).facts["log"]
    assert [one["action"] for one in log] == ["add"] * 4 + ["remove"] * 4


async def test_a_few_unknown_mailboxes_among_many_that_are_known_are_suppressed(redis: Redis, link: Link) -> None:
    await take(link, [f"known{number}@example.com" for number in range(100)])
    assert await refuse(link, MANY[:20], account="main") == ["suppressed"] * 20
    assert await redis.hlen(MAIL_SUPPRESSION) == 20


async def test_a_fault_that_begins_after_many_were_taken_is_noticed_all_the_same(redis: Redis, link: Link) -> None:
    await take(link, [f"known{number}@example.com" for number in range(100)])
    assert (await refuse(link, MANY))[-1] == "doubtful"
    assert not await redis.exists(MAIL_SUPPRESSION)


async def test_one_address_that_is_refused_again_and_again_is_one(redis: Redis, link: Link) -> None:
    assert await refuse(link, ["ana@example.com"] * 30) == ["suppressed"] * 30
    assert await redis.hlen(MAIL_SUPPRESSION) == 1


async def test_an_account_that_is_refused_everywhere_is_at_fault_though_no_domain_is(
    redis: Redis, link: Link
) -> None:
    addresses = [f"ana@d{number}.example" for number in range(40)]
    weighed = await refuse(link, addresses, account="main")
    assert weighed == ["suppressed"] * 9 + ["doubtful"] * 31
    assert not await redis.exists(MAIL_SUPPRESSION)
    assert await refuse(link, addresses[:1], account="other") == ["suppressed"], "another account's word counts"


async def test_a_domain_at_fault_does_not_put_its_account_in_doubt(link: Link) -> None:
    await refuse(link, MANY, account="main")
    assert await refuse(link, ["ana@d1.example"], account="main") == ["suppressed"]


@pytest.mark.parametrize("weight", ["counted", "none"])
async def test_full_mailboxes_and_lost_domains_by_the_dozen_count_for_nobody(
    redis: Redis, link: Link, weight: Refusal
) -> None:
    assert (await refuse(link, MANY, weight))[4:] == ["doubtful"] * 36
    assert not [key async for key in redis.scan_iter(match="momentus:{mail}:failures:*")]


async def test_what_was_believed_before_is_taken_back_in_small_pieces(redis: Redis, link: Link) -> None:
    await take(link, [f"known{number}@example.com" for number in range(400)])
    many = [f"u{number}@example.com" for number in range(110)]
    weighed = await refuse(link, many)
    assert weighed.count("suppressed") == 99
    assert not await redis.exists(MAIL_SUPPRESSION)


async def test_a_reason_from_before_is_never_taken_back(redis: Redis, link: Link) -> None:
    digest, now_ms = digest_of(MANY[0]), 1_700_000_000_000
    facts = {"at_ms": now_ms, "until_ms": now_ms * 2, "by": "pipe", "evidence": ""}
    entry = {"domain": "example.com", "reasons": {"hard_bounce all": facts}}
    await redis.hset(MAIL_SUPPRESSION, digest, orjson.dumps(entry).decode())
    await refuse(link, MANY)
    assert await redis.hkeys(MAIL_SUPPRESSION) == [digest.encode()]


async def test_a_reason_that_people_gave_is_never_taken_back(redis: Redis, link: Link) -> None:
    await suppress(link.call, MANY[0], "complaint", by="web")
    await refuse(link, MANY)
    (reason,) = await reasons_of(link.call, digest_of(MANY[0]))
    assert reason.reason == "complaint"
    assert await redis.hlen(MAIL_SUPPRESSION) == 1


# From the first refusal to the last delivery


async def test_all_mails_arrive_once_a_server_that_knew_nobody_is_mended(
    valkey_url: str, redis: Redis, link: Link, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(recipient_replies=dict.fromkeys(MANY, GONE))
    care = MailPolicies(suppression=SuppressionList(link), sent=SentRegister(link, days=7))
    policy = Policy(tries=30, first_wait=PUT_OFF, longest_wait=PUT_OFF)
    async with (
        caring(valkey_url, smtp_sink.port, care, policy=policy),
        Producer.connect(valkey_url, budget=5) as producer,
    ):
        receipts = await producer.send_many([Mail(to=one, subject="Hola", text="x") for one in MANY])
        await eventually(lambda: settled(redis, len(MANY)))
        assert not await redis.exists(MAIL_SUPPRESSION)
        waits = await trace_mail(redis, receipts[-1].id)
        assert waits.state in {"deferred", "bounced"}

        smtp_sink.faults = SinkFaults()
        revived = await run(redis, "revive", "--all", "mail.normal", among=JOBS)
        assert revived.facts["suppressed"] == 0
        await let_go(redis)
        await smtp_sink.mailbox.wait_for(len(MANY))
    assert (await read_depth(redis, tenant="default")).conserved


async def test_a_fault_is_seen_in_depth_doctor_and_the_lists(redis: Redis, link: Link) -> None:
    await refuse(link, MANY, account="main")
    depth = await read_depth(redis, tenant="default")
    (doubt,) = depth.doubts
    assert (doubt.kind, doubt.name, doubt.refused, doubt.taken) == ("domain", "example.com", 40, 0)
    assert "domain example.com: 40 of 40 recipients refused at once" in depth_table(depth)
    assert orjson.loads(orjson.dumps(depth.to_json()))["doubts"][0]["name"] == "example.com"
    (finding,) = [one for one in judge_depth(depth) if one.code == "mail.doubt"]
    assert (finding.severity, finding.where) == ("warning", "domain example.com")
    listed = await run(redis, "suppressed")
    assert "example.com: 40 of 40" in listed.text
    assert listed.facts["doubts"][0]["refused"] == 40


async def test_a_doubt_that_cannot_be_read_hides_no_other(redis: Redis, link: Link) -> None:
    await refuse(link, MANY)
    await redis.hset("momentus:{mail}:doubts", mapping={"domain:a.example": "no JSON", "odd": "{}"})
    assert [one.name for one in await read_doubts(redis)] == ["example.com"]


async def test_an_account_that_is_refused_everywhere_is_seen_among_the_accounts(redis: Redis, link: Link) -> None:
    await Limits(link, "{mail}").define(Limit("account:main", concurrency=5))
    await refuse(link, [f"ana@d{number}.example" for number in range(12)], account="main")
    answer = await run(redis, "accounts")
    assert "account main: 12 of 12 recipients refused at once" in answer.text
    assert answer.facts["accounts"][0]["doubt"]["refused"] == 12


async def test_nothing_of_a_refusal_stays_of_a_person_that_is_forgotten(redis: Redis, link: Link) -> None:
    await refuse(link, ["ana@example.com"], account="main")
    await run(redis, "forget", "ana@example.com")
    left = [key async for key in redis.scan_iter() if key != MAIL_SUPPRESSION_LOG.encode()]
    assert left == []


# Bounces


async def test_a_flood_of_bounces_suppresses_nobody_however_late_it_is_taken_in(redis: Redis, link: Link) -> None:
    await take(link, MANY)
    took = [await process_bounce(redis, bounce(f"taken{place}", one), by="test") for place, one in enumerate(MANY)]
    assert took == ["suppressed"] * 9 + ["doubtful"] * 31
    assert not await redis.exists(MAIL_SUPPRESSION)


async def test_bounces_are_set_against_the_mails_of_their_own_time(redis: Redis, link: Link) -> None:
    """Forty of four hundred bounce, all of them taken in at once, hours later."""
    many = [f"u{number}@example.com" for number in range(400)]
    await take(link, many)
    took = [await process_bounce(redis, bounce(f"taken{place}", many[place]), by="test") for place in range(40)]
    assert took == ["suppressed"] * 40


# Suppressed mails, and the way back


async def test_a_suppressed_mail_is_counted_apart_and_the_books_balance(
    valkey_url: str, redis: Redis, link: Link, smtp_sink: MailSink
) -> None:
    await suppress(link.call, MANY[0], "hard_bounce", by="webhook")
    care = MailPolicies(suppression=SuppressionList(link))
    async with caring(valkey_url, smtp_sink.port, care), Producer.connect(valkey_url, budget=5) as producer:
        receipt = await producer.send(Mail(to=MANY[0], subject="Hola", text="x"))
        await eventually(lambda: redis.hget(KEYS.counters, "suppressed:mail.normal"))
    depth = await read_depth(redis, tenant="default")
    lane = depth.lane("mail.normal")
    assert lane is not None
    assert (lane.suppressed, lane.done, lane.unaccounted) == (1, 0, 0)
    assert "SUPPRESSED" in depth_table(depth)
    found = await trace_mail(redis, receipt.id)
    assert found.state == "suppressed"
    assert found.words.startswith("hard_bounce for all, until ")
    why = await run(redis, "why", receipt.id, among=JOBS)
    assert "suppressed" in why.text


async def dead_mails(redis: Redis, addresses: Sequence[str]) -> None:
    for number, address in enumerate(addresses):
        job_id = f"{{mail}}dead{number}"
        envelope = {"v": 1, "f": Mail.kind, "t": None, "a": [], "k": {"to": address}, "et": 1}
        await redis.set(f"arq:job:{job_id}", orjson.dumps(envelope))
        await redis.zadd(KEYS.dead, {job_id: number + 1})


async def test_revive_says_what_it_cannot_send_and_leaves_it_dead(redis: Redis, link: Link) -> None:
    await dead_mails(redis, MANY)
    for address in MANY[:30]:
        await suppress(link.call, address, "hard_bounce", by="webhook")
    answer = await run(redis, "revive", "--all", "mail.normal", among=JOBS)
    assert (answer.facts["revived"], answer.facts["suppressed"], answer.done) == (10, 30, False)
    assert "30 stay dead" in answer.text
    assert "ops mail unsuppress" in answer.text
    assert await redis.zcard(KEYS.dead) == 30
    one = await run(redis, "revive", "{mail}dead0", among=JOBS)
    assert (one.facts["what"], one.done) == ("suppressed", False)


async def test_a_wish_that_a_mail_passes_over_does_not_keep_it_dead(redis: Redis, link: Link) -> None:
    await dead_mails(redis, MANY[:1])
    await suppress(link.call, MANY[0], "unsubscribed", by="web")
    assert (await run(redis, "revive", "--all", "mail.normal", among=JOBS)).facts["revived"] == 1


async def test_many_are_taken_off_the_list_at_once_after_a_look(redis: Redis, link: Link) -> None:
    for address in MANY:
        await suppress(link.call, address, "hard_bounce", by="webhook")
    await suppress(link.call, MANY[0], "complaint", by="webhook")
    await suppress(link.call, "eva@other.example", "hard_bounce", by="webhook")
    look = await run(redis, "unsuppress", "--domain", "Example.com", "--since", "2h")
    assert look.facts == {"matched": 40, "removed": 0, "domains": {"example.com": 40}}
    assert not look.done
    assert "--yes" in look.text
    done = await run(redis, "unsuppress", "--domain", "example.com", "--since", "2h", "--yes", "--by", "luz")
    assert (done.facts["removed"], done.done) == (40, True)
    assert await redis.hlen(MAIL_SUPPRESSION) == 2, "a complaint and another domain stay"
    assert not (await run(redis, "unsuppress", "--log-by", "pipe", "--yes")).done
    assert (await run(redis, "unsuppress", "--log-by", "webhook", "--yes")).facts["removed"] == 1


async def test_many_that_a_backend_suppressed_at_once_are_seen(redis: Redis, link: Link) -> None:
    for address in MANY[:30]:
        await suppress(link.call, address, "hard_bounce", by="webhook")
    flood = await find_flood(redis)
    assert flood is not None
    assert flood.by == "webhook"
    assert (await run(redis, "unsuppress", "--since", flood.age, "--log-by", flood.by, "--yes")).done
    assert await find_flood(redis) is None
