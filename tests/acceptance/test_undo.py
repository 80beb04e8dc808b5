"""Deletions are undone within ten minutes: jobs and reasons return as they were, once; the counts stay true."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Mail
from ops.audit.log import list_entries
from ops.console.visit import address
from ops.depth.read import read_depth
from ops.jobs.bulk import BulkProgress, BulkTools, change_jobs
from ops.jobs.operations import cancel_job, discard_job, revive_job
from ops.jobs.undo import discard_some, restore_jobs, undo_key
from ops.mail.forget import forget_address
from ops.mail.undo import removed_key
from producers import Producer
from producers.keys import MAIL_SUPPRESSION, MAIL_SUPPRESSION_LOG, LaneKeys
from producers.suppression import digest_of, reasons_of, suppress
from tests.command_line import run_ops
from tests.console_inside import Inside, inside
from tests.jobs_in_states import LANE, MailOrder, make_jobs, obedient_worker
from tests.notes import running
from tests.support import eventually
from worker.ledger.push import StagedJob, push_jobs

pytestmark = pytest.mark.on_cluster_too

KEYS = LaneKeys(LANE)
NUMBER = "0123456789abcdef"
OTHER = "fedcba9876543210"
ADDRESS = "ana@example.com"
LIFE_MS = 600_000


@pytest.fixture
def console(redis: Redis) -> Inside:
    return inside(redis)


async def dump(redis: Redis) -> dict[str, Any]:
    """All that is stored, but what a change is to change: history, counts, wake tokens, minutes."""
    found = dict[str, Any]()
    for key in sorted(await redis.keys("*")):
        name = key.decode()
        if any(word in name for word in (":history:", ":counters", ":wake:", ":minute:", ":audit", ":undo:")):
            continue
        kind = (await redis.type(key)).decode()
        read: dict[str, Any] = {
            "string": redis.get,
            "hash": redis.hgetall,
            "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
            "set": redis.smembers,
            "list": lambda key: redis.lrange(key, 0, -1),
        }
        if value := await read[kind](key):
            found[name] = value
    return found


async def conserved(redis: Redis) -> bool:
    return (await read_depth(redis, tenant="default")).conserved


async def histories(redis: Redis, job_id: str) -> list[str]:
    return [json.loads(one)["outcome"] for one in await redis.lrange(KEYS.history(job_id), 0, -1)]


async def ready(_: str, __: Redis, producer: Producer) -> str:
    return (await producer.send(Mail(to=ADDRESS, subject="s", text="t"), key="k", limit="customer:7")).id


async def later(_: str, __: Redis, producer: Producer) -> str:
    return (await producer.send(Mail(to=ADDRESS, subject="s", text="t"), delay=timedelta(hours=1))).id


async def tried(url: str, redis: Redis, producer: Producer, fate: str) -> str:
    (job_id,) = await make_jobs(url, redis, producer, MailOrder(ADDRESS, fate))
    return job_id


async def dead(url: str, redis: Redis, producer: Producer) -> str:
    return await tried(url, redis, producer, "dead")


async def retrying(url: str, redis: Redis, producer: Producer) -> str:
    return await tried(url, redis, producer, "retrying")


async def uncertain(url: str, redis: Redis, producer: Producer) -> str:
    return await tried(url, redis, producer, "uncertain")


async def lapsed(_: str, redis: Redis, producer: Producer) -> str:
    """A job whose worker died after its effect had begun."""
    job_id = (await producer.send(Mail(to=ADDRESS, subject="s", text="t"))).id
    await redis.hset(KEYS.effects, job_id, "1")
    await redis.hset(KEYS.lapses, job_id, "10")
    await redis.set(f"arq:retry:{job_id}", 1)
    return job_id


@pytest.mark.parametrize(
    "make", [ready, later, dead, retrying, uncertain, lapsed], ids=lambda make: str(make.__name__)
)
async def test_a_discarded_job_returns_as_it_was(
    valkey_url: str,
    redis: Redis,
    producer: Producer,
    make: Callable[[str, Redis, Producer], Awaitable[str]],
) -> None:
    job_id = await make(valkey_url, redis, producer)
    before, past = await dump(redis), await histories(redis, job_id)
    assert await conserved(redis)
    assert await discard_job(redis, job_id, number=NUMBER) == ("gone", LANE)
    assert await conserved(redis)
    assert not await redis.exists(f"arq:job:{job_id}", KEYS.history(job_id))
    for key in await redis.keys("momentus:{mail}:undo:*"):
        assert 0 < await redis.pttl(key) <= LIFE_MS
    assert await restore_jobs(redis, NUMBER) == {"restored": 1}
    after = await dump(redis)
    if make is lapsed:  # its discard has counted the effect, which stays known
        assert after.pop("momentus:{mail}:uncertain")
    assert after == before
    assert await histories(redis, job_id) == [*past, "restored"]
    assert await conserved(redis)
    assert await redis.keys("momentus:{mail}:undo:*") == []
    assert await restore_jobs(redis, NUMBER) == {}


async def test_discarding_aside_leaves_what_discarding_for_good_leaves(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    left = list[dict[str, Any]]()
    for number in ("", NUMBER):
        await redis.flushall()
        orders = (MailOrder(ADDRESS, "dead"), MailOrder(ADDRESS, "retrying"), MailOrder(ADDRESS, "uncertain"))
        ids = await make_jobs(valkey_url, redis, producer, *orders)
        ids.append(await ready(valkey_url, redis, producer))
        outcomes = [await discard_job(redis, one, number=number) for one in ids]
        assert outcomes == [("gone", LANE)] * 4
        found = await dump(redis)
        left.append({name: len(value) for name, value in found.items() if ":dataset" not in name})
        left[-1] |= await redis.hgetall(KEYS.counters)
    assert left[0] == left[1]


async def test_a_restored_job_can_be_done(valkey_url: str, redis: Redis, producer: Producer) -> None:
    job_id = (await producer.send(Mail(to=ADDRESS, subject="s", text="done"))).id
    await discard_job(redis, job_id, number=NUMBER)
    await restore_jobs(redis, NUMBER)
    async with running(obedient_worker(valkey_url)):
        await eventually(lambda: redis.hget(KEYS.counters, f"done:{LANE}"))
    assert await conserved(redis)
    counts = [f"{event}:{LANE}" for event in ("accepted", "discarded", "done")]
    assert await redis.hmget(KEYS.counters, counts) == [b"2", b"1", b"1"]


async def test_the_result_of_a_dead_job_returns_with_its_life(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    job_id = await dead(valkey_url, redis, producer)
    result = await producer.result(job_id)
    ends = await redis.pexpiretime(f"arq:result:{job_id}")
    await discard_job(redis, job_id, number=NUMBER)
    await redis.set(f"arq:result:{job_id}", "of another run under the same id")
    await restore_jobs(redis, NUMBER)
    assert (result.state, await producer.result(job_id)) == ("dead", result)
    assert abs(await redis.pexpiretime(f"arq:result:{job_id}") - ends) <= 1
    await redis.set(f"arq:result:{job_id}", "x", px=LIFE_MS // 2)
    await discard_job(redis, job_id, number=OTHER)
    assert await redis.pttl(f"{undo_key('{mail}', OTHER)}:result:{job_id}") <= LIFE_MS // 2


async def test_a_restored_dead_job_can_be_revived(valkey_url: str, redis: Redis, producer: Producer) -> None:
    job_id = await dead(valkey_url, redis, producer)
    await discard_job(redis, job_id, number=NUMBER)
    await restore_jobs(redis, NUMBER)
    assert await revive_job(redis, job_id) == ("revived", LANE)
    assert await conserved(redis)


async def test_a_key_that_is_used_again_keeps_the_first_job_away(redis: Redis, producer: Producer) -> None:
    mail = Mail(to=ADDRESS, subject="s", text="t")
    first = await producer.send(mail, key="k")
    await discard_job(redis, first.id, number=NUMBER)
    assert (await producer.send(mail, key="k")).state == "duplicate"  # its window is not over
    (name,) = await redis.keys("momentus:{mail}:unique:*")
    await redis.delete(name)
    second = await producer.send(mail, key="k")
    assert await restore_jobs(redis, NUMBER) == {"taken": 1}
    assert await redis.zrange(KEYS.queue, 0, -1) == [second.id.encode()]
    assert await conserved(redis)


async def test_a_key_whose_window_is_over_returns_with_its_job(redis: Redis, producer: Producer) -> None:
    mail = Mail(to=ADDRESS, subject="s", text="t")
    first = await producer.send(mail, key="k")
    await discard_job(redis, first.id, number=NUMBER)
    (name,) = await redis.keys("momentus:{mail}:unique:*")
    await redis.delete(name)
    assert await restore_jobs(redis, NUMBER) == {"restored": 1}
    assert await redis.pttl(name) == -1
    assert (await producer.send(mail, key="k")).state == "duplicate"


async def test_an_id_that_is_used_again_is_left_alone(redis: Redis, producer: Producer) -> None:
    job_id = (await producer.send(Mail(to=ADDRESS, subject="s", text="t"))).id
    await discard_job(redis, job_id, number=NUMBER)
    await redis.set(f"arq:job:{job_id}", "another")
    assert await restore_jobs(redis, NUMBER) == {"taken": 1}
    assert await redis.get(f"arq:job:{job_id}") == b"another"
    assert await redis.keys("momentus:{mail}:undo:*") == []


async def test_what_is_over_or_of_the_ledger_stays_removed(redis: Redis, producer: Producer) -> None:
    expired = (await producer.send(Mail(to=ADDRESS, subject="s", text="t"))).id
    await discard_job(redis, expired, number=NUMBER)
    await redis.delete(f"{undo_key('{mail}', NUMBER)}:job:{expired}")
    content = {"v": 1, "f": "note.take", "t": None, "a": [], "k": {"text": "a"}, "et": 0, "l": 20786}
    staged = StagedJob("{mail}staged", 20786, LANE, json.dumps(content, separators=(",", ":")).encode(), due_ms=1)
    assert (await push_jobs(redis.execute_command, [staged])).refusals == []
    await discard_job(redis, staged.id, number=NUMBER)
    assert not await redis.exists(f"{undo_key('{mail}', NUMBER)}:job:{staged.id}")
    assert await restore_jobs(redis, NUMBER) == {"vanished": 1, "ledger": 1}
    assert await redis.zcard(KEYS.queue) == 0
    assert await conserved(redis)


async def test_what_cannot_be_discarded_is_not_kept(redis: Redis, producer: Producer) -> None:
    job_id = (await producer.send(Mail(to=ADDRESS, subject="s", text="t"))).id
    now, _ = await redis.time()
    await redis.zadd(KEYS.leases, {job_id: now * 1000 + 60_000})
    assert await discard_job(redis, job_id, number=NUMBER) == ("running", LANE)
    assert await discard_job(redis, "{mail}unknown", number=NUMBER) == ("unknown", "")
    assert await redis.keys("momentus:{mail}:undo:*") == []


async def test_a_job_of_a_stock_arq_producer_is_counted_once(redis: Redis) -> None:
    await redis.set("arq:job:{mail}foreign", b'{"t":1}')
    await redis.zadd(KEYS.queue, {"{mail}foreign": 1})
    await discard_some(redis, KEYS, ["{mail}foreign"], [LANE], number=NUMBER)
    assert await conserved(redis)
    await restore_jobs(redis, NUMBER)
    assert await conserved(redis)
    assert await redis.sismember(KEYS.adopted, "{mail}foreign")


async def test_all_that_match_are_discarded_and_return(redis: Redis, producer: Producer) -> None:
    mails = [Mail(to=ADDRESS, subject="s", text="t")] * 120
    ids = [one.id for one in await producer.send_many(mails)]
    before = await dump(redis)
    tools, jobs = BulkTools(redis=redis, number=NUMBER), [(LANE, one.encode()) for one in ids]
    progress = BulkProgress()
    await change_jobs(tools, progress, action="discard", jobs=jobs)
    assert (progress.counts["gone"], await redis.zcard(KEYS.queue)) == (120, 0)
    assert await conserved(redis)
    await cancel_job(redis, ids[0])
    assert await restore_jobs(redis, OTHER) == {}
    assert await restore_jobs(redis, NUMBER) == {"restored": 120}
    assert await dump(redis) == before
    assert await conserved(redis)


# Suppression


async def test_removed_reasons_return_and_newer_ones_stay(redis: Redis, valkey_url: str) -> None:
    call, digest = redis.execute_command, digest_of(ADDRESS)
    for reason in ("unsubscribed", "complaint", "hard_bounce"):
        await suppress(call, ADDRESS, reason, by="web", evidence="e-1")
    before = await redis.hgetall(MAIL_SUPPRESSION)
    code, out, _ = await run_ops("mail", "unsuppress", ADDRESS, "--json", REDIS_URL=valkey_url)
    number = json.loads(out)["number"]
    assert (code, await reasons_of(call, digest)) == (0, ())
    assert 0 < await redis.pttl(removed_key(number)) <= LIFE_MS
    await suppress(call, ADDRESS, "complaint", by="web", evidence="e-2")
    code, out, _ = await run_ops("undo", number, "--json", REDIS_URL=valkey_url)
    assert (code, json.loads(out)["back"], json.loads(out)["left"]) == (0, 2, 1)
    found = {one.reason: one.evidence for one in await reasons_of(call, digest)}
    assert found == {"unsubscribed": "e-1", "hard_bounce": "e-1", "complaint": "e-2"}
    assert json.loads((await redis.lrange(MAIL_SUPPRESSION_LOG, -1, -1))[0])["action"] == "add"
    assert (await run_ops("undo", number, REDIS_URL=valkey_url))[0] == 1
    assert before


async def test_reasons_of_many_return(redis: Redis, valkey_url: str) -> None:
    for number in range(3):
        await suppress(redis.execute_command, f"u{number}@example.com", "hard_bounce", by="worker")
    before = await redis.hgetall(MAIL_SUPPRESSION)
    words = ("mail", "unsuppress", "--domain", "example.com", "--yes", "--json")
    _, out, _ = await run_ops(*words, REDIS_URL=valkey_url)
    assert await redis.hlen(MAIL_SUPPRESSION) == 0
    assert (await run_ops("undo", json.loads(out)["number"], REDIS_URL=valkey_url))[0] == 0
    after = await redis.hgetall(MAIL_SUPPRESSION)
    assert {name: json.loads(value) for name, value in after.items()} == {
        name: json.loads(value) for name, value in before.items()
    }


async def test_all_removed_reasons_of_an_address_return_and_no_others(redis: Redis, valkey_url: str) -> None:
    call, digest = redis.execute_command, digest_of(ADDRESS)
    for reason in ("hard_bounce", "soft_bounce", "complaint"):
        await suppress(call, ADDRESS, reason, by="worker")
    words = ("mail", "unsuppress", "--domain", "example.com", "--yes", "--json")
    _, out, _ = await run_ops(*words, REDIS_URL=valkey_url)
    assert [one.reason for one in await reasons_of(call, digest)] == ["complaint"]
    await run_ops("mail", "unsuppress", ADDRESS, REDIS_URL=valkey_url)  # another change
    code, out, _ = await run_ops("undo", json.loads(out)["number"], "--json", REDIS_URL=valkey_url)
    assert (code, json.loads(out)["back"], json.loads(out)["left"]) == (0, 2, 0)
    assert {one.reason for one in await reasons_of(call, digest)} == {"hard_bounce", "soft_bounce"}


async def test_a_reason_that_is_over_does_not_return(redis: Redis, valkey_url: str) -> None:
    entry = {"domain": "example.com", "reasons": {"manual all": {"at_ms": 1, "until_ms": 2, "by": "x"}, "x y": 3}}
    await redis.hset(removed_key(NUMBER), mapping={"d": json.dumps(entry), "broken": "no JSON"})
    result = await run_ops("undo", NUMBER, "--json", REDIS_URL=valkey_url)
    assert (result[0], json.loads(result[1])["left"]) == (1, 2)
    assert await redis.hlen(MAIL_SUPPRESSION) == 0


async def test_what_is_kept_of_a_forgotten_person_is_erased(redis: Redis, producer: Producer) -> None:
    kept = (await producer.send(Mail(to="b@example.com", subject="s", text="t"))).id
    for job_id in ((await producer.send(Mail(to=ADDRESS, subject="s", text="t"))).id, kept):
        await redis.set(f"arq:result:{job_id}", "its reason may quote the address")
        await discard_job(redis, job_id, number=NUMBER)
    await redis.hset(removed_key(NUMBER), mapping={digest_of(ADDRESS): "{}", "other": "{}"})
    await forget_address(redis, ADDRESS, ring=None)
    assert await redis.keys("*:result:*") == [f"{undo_key('{mail}', NUMBER)}:result:{kept}".encode()]
    assert await redis.hkeys(removed_key(NUMBER)) == [b"other"]
    assert await restore_jobs(redis, NUMBER) == {"vanished": 1, "restored": 1}
    assert await redis.zrange(KEYS.queue, 0, -1) == [kept.encode()]


# The console and the command line


async def test_a_discard_is_undone_from_the_audit_log(
    valkey_url: str, redis: Redis, producer: Producer, console: Inside
) -> None:
    job_id = await dead(valkey_url, redis, producer)
    page = address("/job", id=job_id)
    done = await console.post("/actions/discard", {"id": job_id, "why": "sent twice"}, page=page)
    assert "Discard: done" in done.words()
    assert 'action="/actions/undo"' in done.text
    assert 'action="/actions/undo"' in (await console.get("/audit")).text
    assert 'action="/actions/undo"' not in (await inside(redis, "view").get("/audit")).text
    (entry,) = await list_entries(redis, limit=5)
    undone = await console.post("/actions/undo", {"number": entry.number, "why": "no, once"}, page="/audit")
    assert "Jobs that are back as they were: 1." in undone.words()
    assert await redis.zscore(KEYS.dead, job_id)
    audit = await console.get("/audit", accept_language="es")
    assert ("Deshacer" in audit.words(), 'action="/actions/undo"' in audit.text) == (True, False)
    again = await console.post("/actions/undo", {"number": entry.number}, page="/limits")
    assert "nothing was done" in again.words()
    noted = [(one.action, one.target, one.outcome) for one in await list_entries(redis, limit=5)]
    assert noted == [
        ("undo", entry.number, "nothing"),
        ("undo", entry.number, "done"),
        ("discard", job_id, "done"),
    ]
    assert await conserved(redis)


async def test_a_bulk_discard_is_undone_from_its_entry(redis: Redis, producer: Producer, console: Inside) -> None:
    await producer.send_many([Mail(to=ADDRESS, subject="s", text="t")] * 7)
    fields = {"action": "discard", "state": "ready", "count": "7", "why": "a loop"}
    run = await console.post("/bulk", fields, page=address("/bulk/new", action="discard", state="ready"))
    assert "Discard in bulk" in run.words()

    async def ended() -> bool:
        return [one.outcome for one in await list_entries(redis, limit=1)] == ["done"]

    await eventually(ended)
    (entry,) = await list_entries(redis, limit=1)
    undone = await console.post("/actions/undo", {"number": entry.number}, page=f"/audit/{entry.number}")
    assert "Jobs that are back as they were: 7." in undone.words()
    assert await redis.zcard(KEYS.queue) == 7


async def test_what_is_no_deletion_is_refused_by_name(redis: Redis, producer: Producer, console: Inside) -> None:
    job_id = (await producer.send(Mail(to=ADDRESS, subject="s", text="t"))).id
    await console.post("/actions/cancel", {"id": job_id}, page=f"/lanes/{LANE}")
    (entry,) = await list_entries(redis, limit=1)
    refused = await console.post("/actions/undo", {"number": entry.number}, page="/limits")
    assert "cancel cannot be undone" in refused.words()
    for wrong in ("", "<script>", "0" * 15, "--by=x"):
        reply = await console.post("/actions/undo", {"number": wrong}, page="/limits")
        assert "is not the number of a change" in reply.words()
    unknown = await console.post("/actions/undo", {"number": OTHER}, page="/limits")
    assert "Nothing is kept under" in unknown.words()


async def test_a_discard_on_the_command_line_says_how_to_undo_it(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    job_id = (await producer.send(Mail(to=ADDRESS, subject="s", text="t"))).id
    code, out, _ = await run_ops("discard", job_id, REDIS_URL=valkey_url)
    assert (code, "./run ops undo " in out) == (0, True)
    number = out.split("./run ops undo ")[1].strip()
    code, out, _ = await run_ops("undo", number, REDIS_URL=valkey_url)
    assert (code, "Jobs that are back as they were: 1." in out) == (0, True)
    assert await redis.zcard(KEYS.queue) == 1
    assert (await run_ops("undo", "x", REDIS_URL=valkey_url))[0] == 2
