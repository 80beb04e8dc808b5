"""Suppression, bounces, erasing and forgetting, on a real server and without a mail server."""

import argparse
import asyncio
import base64
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis

from jobs import Digest, Mail
from jobs.mail.seal import KeyRing
from ops.command import CommandResult, Tools
from ops.depth.read import read_depth
from ops.jobs.edit import CannotEdit, edit_job
from ops.jobs.operations import revive_all, revive_job
from ops.mail import bounces, unsuppress as unsuppress_command
from ops.mail.bounces import process_bounce
from ops.mail.commands import MAIL
from producers import Producer
from producers.keys import MAIL_BOUNCES_UNKNOWN, MAIL_SUPPRESSION, LaneKeys, mail_failures, mail_sent
from producers.link import Link
from producers.suppression import (
    blocking_reason,
    digest_of,
    read_reasons,
    reasons_of,
    suppress,
    unsuppress,
    weigh_refusal,
)
from tests.bounces import bounce, opensmtpd_bounce
from tests.support import eventually
from worker.mail import suppression
from worker.mail.erase import Eraser, erase_mails
from worker.mail.sent import SentRegister
from worker.mail.suppression import SuppressionList

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.on_cluster_too

ANA = "ana@example.com"
KEYS = LaneKeys("mail.normal")
JOB = "{mail}0199aaaa-bbbb"
MESSAGE_ID = "mail0199aaaa-bbbb"
RING = KeyRing(f"one:{base64.b64encode(bytes(32)).decode()}")


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[Link]:
    one = Link(valkey_url, KEYS.tag)
    yield one
    await one.close()


async def run(redis: Redis, *words: str, **mail: object) -> CommandResult:
    """`ops mail WORDS`, as the command line would run it."""
    command = next(one for one in MAIL.commands if one.word == words[0])
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return await command.act(Tools(redis=redis, redis_url="", mail=mail), parser.parse_args(words[1:]))


# Suppression


async def test_an_address_is_suppressed_for_a_reason_until_somebody_takes_it_off(redis: Redis, link: Link) -> None:
    assert await suppress(link.call, "Ana@Example.com", "complaint", by="web", evidence="report-7")
    assert not await suppress(link.call, ANA, "complaint", by="web"), "it stood already"
    (reason,) = await reasons_of(link.call, digest_of(ANA))
    assert (reason.reason, reason.scope, reason.by, reason.evidence) == ("complaint", "all", "web", "report-7")
    assert reason.until is None
    assert await unsuppress(link.call, digest_of(ANA), by="luz") == 1
    assert not await redis.exists(MAIL_SUPPRESSION)


async def test_reasons_stand_side_by_side_and_none_is_shortened(link: Link) -> None:
    digest = digest_of(ANA)
    await suppress(link.call, ANA, "manual", by="luz", lasting=timedelta(days=9))
    assert not await suppress(link.call, ANA, "manual", by="luz", lasting=timedelta(days=3))
    await suppress(link.call, ANA, "unsubscribed", by="web", scope="stream:bulk")
    assert {one.reason for one in await reasons_of(link.call, digest)} == {"manual", "unsubscribed"}
    assert await unsuppress(link.call, digest, by="luz", reason="manual") == 1
    (left,) = await reasons_of(link.call, digest)
    assert left.scope == "stream:bulk"


async def test_a_reason_ends_by_itself(redis: Redis, link: Link) -> None:
    await suppress(link.call, ANA, "hard_bounce", by="worker")
    octets = await redis.hget(MAIL_SUPPRESSION, digest_of(ANA))
    assert read_reasons(octets, now=datetime.now(UTC) + timedelta(days=29))
    assert not read_reasons(octets, now=datetime.now(UTC) + timedelta(days=31))


async def test_a_wish_holds_for_its_stream_and_not_for_what_must_arrive(link: Link) -> None:
    await suppress(link.call, ANA, "unsubscribed", by="web", scope="stream:bulk")
    await suppress(link.call, "eva@example.com", "hard_bounce", by="worker")
    wish, gone = [await reasons_of(link.call, digest_of(who)) for who in (ANA, "eva@example.com")]
    assert blocking_reason(wish, stream="bulk", essential=False)
    assert not blocking_reason(wish, stream="notice", essential=False)
    assert not blocking_reason(wish, stream="bulk", essential=True)
    assert blocking_reason(gone, stream="code", essential=True)


async def test_what_may_pass_suppresses_only_after_three_days_of_it(redis: Redis, link: Link) -> None:
    for _ in range(50):
        assert await weigh_refusal(link.call, ANA, "counted", by="worker") == "counted"
    today = int(datetime.now(UTC).timestamp()) // 86_400
    now_ms = datetime.now(UTC).timestamp() * 1000
    key = mail_failures(digest_of(ANA))
    await redis.zadd(key, {str(today - 40): now_ms - 40 * 86_400_000, str(today - 2): now_ms - 2 * 86_400_000})
    counted = await weigh_refusal(link.call, ANA, "counted", by="worker")
    assert counted == "counted", "the old one is out of the window"
    await redis.zadd(key, {str(today - 1): now_ms - 86_400_000})
    assert await weigh_refusal(link.call, ANA, "counted", by="worker", evidence=JOB) == "suppressed"
    (reason,) = await reasons_of(link.call, digest_of(ANA))
    assert (reason.reason, reason.evidence) == ("soft_bounce", JOB)


async def test_a_value_that_nobody_can_read_keeps_its_address_suppressed(redis: Redis, link: Link) -> None:
    await redis.hset(MAIL_SUPPRESSION, digest_of(ANA), "not json")
    assert blocking_reason(await reasons_of(link.call, digest_of(ANA)), stream="code", essential=True)
    assert await unsuppress(link.call, digest_of(ANA), by="luz") == 1


async def test_an_empty_list_is_asked_once_and_its_first_entry_counts_soon(redis: Redis, link: Link) -> None:
    suppressed = SuppressionList(link)
    before = (await redis.info("commandstats")).get("cmdstat_hmget", {"calls": 0})["calls"]
    for number in range(50):
        assert await suppressed.find_reason(f"u{number}@example.com", stream="notice", essential=False) is None
    after = (await redis.info("commandstats"))["cmdstat_hmget"]["calls"]
    assert after - before == 1
    await suppress(link.call, ANA, "manual", by="luz")

    async def found() -> bool:
        return await suppressed.find_reason(ANA, stream="notice", essential=False) is not None

    await eventually(found, timeout=5)


async def test_operators_see_domains_and_digests_and_who_did_it(redis: Redis) -> None:
    assert (await run(redis, "suppress", ANA, "--reason", "manual", "--evidence", "ticket-1", "--by", "luz")).done
    listed = await run(redis, "suppressed")
    assert "example.com" in listed.text
    assert "manual" in listed.text
    assert "ana@" not in listed.text
    assert "ana@" not in repr(listed.facts)
    assert not (await run(redis, "suppressed", "--domain", "other.example")).facts["suppressed"]
    assert (await run(redis, "suppressed", "ANA@example.com")).done
    digest = listed.facts["suppressed"][0]["digest"]
    assert (await run(redis, "unsuppress", digest, "--by", "eva")).done
    assert not (await run(redis, "unsuppress", ANA)).done
    log = (await run(redis, "suppressed", "--log")).facts["log"]
    assert [(one["by"], one["action"]) for one in log] == [("luz", "add"), ("eva", "remove")]


# Bounces


@pytest.fixture
async def sent(link: Link) -> SentRegister:
    register = SentRegister(link, days=7)
    register.note_mail(MESSAGE_ID, ANA, "main")
    await register.wait_for_notes()
    return register


@pytest.mark.usefixtures("sent")
async def test_a_bounce_of_our_mail_suppresses_its_recipient_and_is_in_the_journal(redis: Redis) -> None:
    assert await process_bounce(redis, bounce(MESSAGE_ID, ANA), by="test") == "suppressed"
    (reason,) = await reasons_of(redis.execute_command, digest_of(ANA))
    assert (reason.reason, reason.evidence) == ("hard_bounce", JOB)
    (line,) = await redis.lrange(KEYS.history(JOB), 0, -1)
    told = orjson.loads(line)
    assert told["outcome"] == "bounced"
    assert "5.1.1" in told["reason"]
    assert await redis.pttl(KEYS.history(JOB)) > 0, "a journal without a job has a life"


@pytest.mark.usefixtures("sent")
async def test_the_same_bounce_counts_once(redis: Redis) -> None:
    octets = bounce(MESSAGE_ID, ANA)
    assert await process_bounce(redis, octets, by="test") == "suppressed"
    assert await process_bounce(redis, b"Received: x\r\n" + octets, by="test") == "repeated"
    assert await redis.llen(KEYS.history(JOB)) == 1


@pytest.mark.parametrize(
    ("status", "action", "what"),
    [
        ("5.2.2", "failed", "counted"),
        ("4.4.7", "failed", "counted"),
        ("5.7.1", "failed", "noted"),
        ("5.1.1", "delayed", "ignored"),
        ("2.0.0", "delivered", "ignored"),
        ("2.0.0", "relayed", "ignored"),
    ],
)
@pytest.mark.usefixtures("sent")
async def test_a_bounce_suppresses_nobody_without_a_clear_word(
    redis: Redis, status: str, action: str, what: str
) -> None:
    octets = bounce(MESSAGE_ID, ANA, status=status, action=action, diagnostic=f"smtp; 550 {status} words")
    assert await process_bounce(redis, octets, by="test") == what
    assert not await redis.exists(MAIL_SUPPRESSION)
    assert await redis.llen(KEYS.history(JOB)) == (what != "ignored")


@pytest.mark.usefixtures("sent")
async def test_a_forged_bounce_reaches_nobody(redis: Redis) -> None:
    assert await process_bounce(redis, bounce(MESSAGE_ID, "victim@example.com"), by="test") == "unknown"
    assert await process_bounce(redis, bounce("mail0000-1", ANA), by="test") == "unknown"
    assert await process_bounce(redis, bounce("", ANA, original="none"), by="test") == "unknown"
    assert await process_bounce(redis, b"Subject: viagra\r\n\r\nana@example.com", by="test") == "unknown"
    assert not await redis.exists(MAIL_SUPPRESSION)
    listed = await run(redis, "bounces", "--unknown")
    assert len(listed.facts["unknown"]) == 4
    assert "names a recipient that the mail does not have" in listed.text
    assert "@" not in b"".join(await redis.lrange(MAIL_BOUNCES_UNKNOWN, 0, -1)).decode()


@pytest.mark.usefixtures("sent")
async def test_a_folder_is_taken_in_and_what_fits_nothing_is_kept_apart(redis: Redis, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "1.ours").write_bytes(bounce(MESSAGE_ID, ANA))
    (tmp_path / "new" / "2.spam").write_bytes(b"Subject: x\r\n\r\nx")
    answer = await run(redis, "bounces", "--folder", str(tmp_path))
    assert answer.facts["taken"] == {"suppressed": 1, "unknown": 1}
    assert [file.name for file in (tmp_path / "processed").iterdir()] == ["1.ours"]
    assert [file.name for file in (tmp_path / "unknown").iterdir()] == ["2.spam"]
    shutil.copy(tmp_path / "processed" / "1.ours", tmp_path / "new" / "3.again")
    assert (await run(redis, "bounces", "--folder", str(tmp_path))).facts["taken"] == {"repeated": 1}
    assert (await run(redis, "bounces", "--folder", str(tmp_path))).text == "There was no bounce to process."


@pytest.mark.usefixtures("sent")
@pytest.mark.long  # the documented alias does so too
async def test_a_mail_alias_pipes_a_bounce_in(redis: Redis, valkey_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops", "mail", "bounces", "--stdin", "--json"),
        env={"MOMENTUS_REDIS_URL": valkey_url},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate(bounce(MESSAGE_ID, ANA))
    assert process.returncode == 0
    assert orjson.loads(told)["taken"] == {"suppressed": 1}
    assert await redis.hlen(MAIL_SUPPRESSION) == 1


@pytest.mark.skipif(not (ROOT / ".venv/.complete").exists(), reason="./run would prepare .venv first")
@pytest.mark.usefixtures("sent")
async def test_the_documented_alias_works_without_an_environment(
    redis: Redis, valkey_url: str, tmp_path: Path
) -> None:
    """As Postfix runs the line of docs/operations.md: by sh, with hardly any variables, from another folder."""
    line = re.search(r"'\"\|(/srv/momentus/run .* exit 75)\"'", (ROOT / "docs/operations.md").read_text())
    assert line is not None
    settings = tmp_path / "bounces.env"
    settings.write_text(f"MOMENTUS_REDIS_URL={valkey_url}\n")
    command = line[1].replace("/srv/momentus", f"'{ROOT}'").replace("/etc/momentus/bounces.env", str(settings))

    async def deliver() -> int | None:
        process = await asyncio.create_subprocess_shell(
            command, env={"PATH": "/usr/bin:/bin"}, cwd="/", stdin=asyncio.subprocess.PIPE
        )
        await process.communicate(bounce(MESSAGE_ID, ANA))
        return process.returncode

    assert await deliver() == 0
    assert await redis.hlen(MAIL_SUPPRESSION) == 1
    settings.write_text("MOMENTUS_REDIS_URL=redis://127.0.0.1:1/0\n")
    assert await deliver() == 75, "Postfix keeps the message while Redis is away"


@pytest.mark.usefixtures("sent")
async def test_notes_of_sent_mails_hold_no_address_and_end_by_themselves(redis: Redis) -> None:
    (key,) = [key async for key in redis.scan_iter(match="momentus:{mail}:sent:*")]
    (note,) = (await redis.hgetall(key)).values()
    assert note.startswith(digest_of(ANA)[:32].encode() + b" ")
    assert note.endswith(b" main")
    assert 7 * 86_400 < await redis.ttl(key) <= 8 * 86_400


class FarAhead(datetime):
    """The clock of a machine that is forty days ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "FarAhead":
        return cls.fromtimestamp(datetime.now(tz).timestamp() + 40 * 86_400, tz)


async def test_a_mail_is_noted_under_the_day_of_redis_whatever_the_workers_clock_shows(
    redis: Redis, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = time.time() + 3 * 86_400
    monkeypatch.setattr(time, "time", lambda: ahead)
    monkeypatch.setattr(bounces, "datetime", FarAhead)
    register = SentRegister(link, days=7)
    register.note_mail(MESSAGE_ID, ANA, "main")
    await register.wait_for_notes()
    seconds, _ = await redis.time()
    assert await redis.hexists(mail_sent(int(seconds) // 86_400), MESSAGE_ID)
    assert await process_bounce(redis, bounce(MESSAGE_ID, ANA), by="postfix") == "suppressed"


async def test_a_suppression_ends_by_the_clock_of_redis_whatever_the_workers_shows(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    await suppress(link.call, ANA, "hard_bounce", lasting=timedelta(days=30), by="worker")
    monkeypatch.setattr(suppression, "datetime", FarAhead)
    assert await SuppressionList(link).find_reason(ANA, stream="notice", essential=True)


async def test_what_was_suppressed_since_then_is_counted_by_the_clock_of_redis(
    redis: Redis, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    await suppress(link.call, ANA, "hard_bounce", lasting=timedelta(days=30), by="worker")
    monkeypatch.setattr(unsuppress_command, "datetime", FarAhead)
    found = await run(redis, "unsuppress", "--domain", "example.com", "--since", "2h", "--yes")
    assert found.facts["removed"] == 1


# Erasing


async def dead_mail(redis: Redis, job_id: str, *, days_ago: float, seal: KeyRing | None = None) -> None:
    """A mail that was given up that long ago."""
    payload = Mail(to=ANA, subject="Canario", text="amarillo").compose(job_id=job_id, now=datetime.now(UTC))
    fields = payload if seal is None else seal.seal(payload, kind=Mail.kind, job_id=job_id)
    envelope = {"v": 1, "f": Mail.kind, "t": None, "a": [], "k": fields, "et": 1}
    now_ms = round((datetime.now(UTC).timestamp() - days_ago * 86_400) * 1000)
    reason = f"main recipient: rcpt 550 5.1.1 <{ANA}> unknown"
    history = {"at_ms": now_ms, "attempt": 1, "outcome": "dead", "reason": reason}
    await redis.set(f"arq:job:{job_id}", orjson.dumps(envelope))
    await redis.zadd(KEYS.dead, {job_id: now_ms})
    await redis.rpush(KEYS.history(job_id), orjson.dumps(history))
    await redis.hincrby(KEYS.counters, "accepted:mail.normal", 1)


async def erase(link: Link, *, days: int = 30) -> Mapping[str, object]:
    return await erase_mails({"eraser": Eraser(link, timedelta(days=days))})


async def everything_in(redis: Redis) -> bytes:
    """All values of the server, one after the other."""
    found = []
    async for key in redis.scan_iter():
        match await redis.type(key):
            case b"string":
                found.append(await redis.get(key))
            case b"list":
                found += await redis.lrange(key, 0, -1)
            case b"hash":
                found += [part for pair in (await redis.hgetall(key)).items() for part in pair]
            case b"zset":
                found += await redis.zrange(key, 0, -1)
            case b"set":
                found += await redis.smembers(key)
    return b"\n".join(found)


async def test_the_content_of_a_mail_that_is_dead_for_long_is_erased(redis: Redis, link: Link) -> None:
    await dead_mail(redis, "{mail}old", days_ago=31)
    await dead_mail(redis, "{mail}young", days_ago=29)
    assert await erase(link) == {"erased": 1}
    assert await erase(link) == {"erased": 0}
    payload = orjson.loads(await redis.get("arq:job:{mail}old"))["k"]
    assert set(payload) == {"message_id", "date", "erased"}
    assert b"amarillo" in (await redis.get("arq:job:{mail}young"))
    history = b"".join(await redis.lrange(KEYS.history("{mail}old"), 0, -1))
    assert b"5.1.1" in history
    assert b"ana@" not in history
    assert b"erased" in history


async def test_many_dead_mails_are_erased_in_one_go(redis: Redis, link: Link) -> None:
    for number in range(220):
        await dead_mail(redis, f"{{mail}}{number}", days_ago=31)
    assert await erase(link) == {"erased": 220}
    assert b"ana@" not in await everything_in(redis)


async def test_an_erased_mail_is_never_revived_and_never_edited(redis: Redis, link: Link) -> None:
    await dead_mail(redis, "{mail}old", days_ago=31)
    await erase(link)
    await dead_mail(redis, "{mail}young", days_ago=1)
    assert await revive_job(redis, "{mail}old") == ("erased", "mail.normal")
    counts = await revive_all(redis, "mail.normal")
    assert (counts.revived, counts.erased) == (1, 1)
    assert await redis.zscore(KEYS.dead, "{mail}old")
    with pytest.raises(CannotEdit, match="erased"):
        await edit_job(redis, "{mail}old", {"to": "eva@example.com"})


async def test_a_payload_that_nobody_can_read_leaves_nothing(redis: Redis, link: Link) -> None:
    await redis.set("arq:job:{mail}odd", b"\x80\x04canary")
    await redis.zadd(KEYS.dead, {"{mail}odd": 1})
    assert await erase(link) == {"erased": 1}
    assert b"canary" not in await everything_in(redis)


async def test_a_sealed_mail_cannot_be_edited_and_the_answer_says_so(redis: Redis) -> None:
    await dead_mail(redis, "{mail}sealed", days_ago=1, seal=RING)
    with pytest.raises(CannotEdit, match="sealed"):
        await edit_job(redis, "{mail}sealed", {"to": "eva@example.com"})


# Forgetting


@pytest.mark.usefixtures("sent")
async def test_nothing_of_a_person_stays(redis: Redis, link: Link, valkey_url: str) -> None:
    await redis.set(f"arq:result:{JOB}", b'{"r": {"reply": "250 ok ana@example.com"}}', px=100_000)
    await dead_mail(redis, "{mail}dead", days_ago=1)
    await weigh_refusal(link.call, ANA, "counted", by="worker")
    await suppress(link.call, ANA, "hard_bounce", by="worker")
    async with Producer.connect(valkey_url, budget=5) as producer:
        await producer.send_many([Mail(to=ANA, subject=f"n{number}", text="x") for number in range(700)])
        await producer.send(Mail(to="eva@example.com", subject="stays", text="x"))
        values = {"task": "canario", "due": "hoy"}
        item = Mail(to=ANA, template="task_assigned", values=values)
        await producer.send_digest(Digest(mail=item, collapse="tasks:7", template="tasks_assigned"))
    answer = await run(redis, "forget", "Ana@example.com")
    assert answer.done
    assert answer.facts["cancelled"] == 701
    assert answer.facts["discarded"] == 1
    everything = await everything_in(redis)
    assert b"ana@" not in everything.lower()
    assert b"canario" not in everything
    assert b"eva@example.com" in everything
    assert not await redis.exists(MAIL_SUPPRESSION)
    assert (await read_depth(redis, tenant="default")).conserved
    again = await run(redis, "forget", ANA, "--suppress")
    assert again.facts["cancelled"] == 0
    assert await reasons_of(redis.execute_command, digest_of(ANA))


async def test_sealed_mails_are_forgotten_with_the_key_and_counted_without_it(
    redis: Redis, valkey_url: str
) -> None:
    async with Producer.connect(valkey_url, budget=5, seal=RING) as producer:
        await producer.send(Mail(to=ANA, subject="Hola", text="x"))
        await producer.send(Mail(to="eva@example.com", subject="Hola", text="x"))
    without = await run(redis, "forget", ANA)
    assert (without.done, without.facts["unopened"]) == (False, 2)
    key = f"one:{base64.b64encode(bytes(32)).decode()}"
    answer = await run(redis, "forget", ANA, seal_keys=key)
    assert (answer.facts["cancelled"], answer.facts["unopened"]) == (1, 0)


async def test_a_note_of_another_day_is_found_within_its_window(redis: Redis) -> None:
    day = int(datetime.now(UTC).timestamp()) // 86_400 - 6
    await redis.hset(mail_sent(day), MESSAGE_ID, digest_of(ANA)[:32])
    assert await process_bounce(redis, bounce(MESSAGE_ID, ANA), by="test") == "suppressed"


@pytest.mark.usefixtures("sent")
async def test_a_report_of_opensmtpd_counts_like_any_other(redis: Redis) -> None:
    octets = opensmtpd_bounce(MESSAGE_ID, ANA, reply="550 5.1.1 No such user")
    assert await process_bounce(redis, octets, by="test") == "suppressed"


@pytest.mark.usefixtures("sent")
async def test_a_bounce_whose_status_and_reply_disagree_suppresses_nobody(redis: Redis) -> None:
    octets = bounce(MESSAGE_ID, ANA, status="5.1.1", diagnostic="smtp; 550 5.7.1 listed by a block list")
    assert await process_bounce(redis, octets, by="test") == "noted"
    assert not await redis.exists(MAIL_SUPPRESSION)


@pytest.mark.usefixtures("sent")
async def test_an_address_that_stands_for_a_group_lives_when_any_of_it_took_the_mail(redis: Redis) -> None:
    octets = bounce(MESSAGE_ID, ANA, final="gone@inside.example")
    arrived = (
        f"Original-Recipient: rfc822; {ANA}\r\nFinal-Recipient: rfc822; eva@inside.example\r\nAction: relayed"
    )
    octets = octets.replace(
        b"\r\n\r\n--part\r\nContent-Type: text/rfc822",
        f"\r\n\r\n{arrived}\r\n\r\n--part\r\nContent-Type: text/rfc822".encode(),
    )
    assert arrived.encode() in octets
    assert await process_bounce(redis, octets, by="test") == "noted"
    assert not await redis.exists(MAIL_SUPPRESSION)
