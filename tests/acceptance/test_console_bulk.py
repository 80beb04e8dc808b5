"""Changes of many jobs on the console: counted and confirmed, seen and stopped, and replays by canary."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from redis.asyncio import Redis

from jobs import Mail
from jobs.mail.seal import KeyRing
from ops.audit.log import begin_entry, list_entries, note_entry
from ops.console.visit import address
from ops.jobs.bulk import BulkProgress, BulkTools, change_jobs, replay_jobs
from ops.jobs.clusters import jobs_of_cluster, list_clusters
from ops.jobs.filter import read_filter
from ops.jobs.listing import find_ids
from ops.lanes.hold import hold_lane, release_lane
from producers import Producer
from producers.keys import LaneKeys
from producers.suppression import suppress
from tests.console_inside import inside
from tests.console_process import Reply, Running, running as console_of
from tests.jobs_in_states import HOSTILE, LANE, MailOrder, make_jobs, obedient_worker
from tests.notes import running
from tests.support import eventually

KEYS = LaneKeys(LANE)
WHY = {"why": "the provider is back"}


@pytest.fixture(scope="module")
def consoles() -> Iterator[dict[str, Running]]:
    with ExitStack() as stack:

        class Known(dict[str, Running]):
            def __missing__(self, url: str) -> Running:
                self[url] = stack.enter_context(console_of(url))
                return self[url]

        yield Known()


@pytest.fixture
def console(consoles: dict[str, Running], valkey_url: str) -> Running:
    return consoles[valkey_url]


async def write_dead(
    redis: Redis,
    count: int,
    *,
    text: str = "done",
    reply: str = "451 4.3.0 later {number}",
    domain: str = "example.com",
) -> list[str]:
    """Dead mails as a worker leaves them; a worker that gets them again does what the text says."""
    now, _ = await redis.time()
    pipe, ids = redis.pipeline(transaction=False), list[str]()
    for number in range(count):
        job_id = f"{{mail}}{domain}{text.replace(' ', '')}{number:06d}"
        fields: dict[str, str | None] = {
            "message_id": "m",
            "date": "Mon, 23 Nov 2026 03:25:17 +0000",
            "to": f"u{number}@{domain}",
        }
        fields |= {"sender": None, "sender_name": None, "reply_to": None, "subject": "s", "text": text, "html": ""}
        payload = {"v": 1, "f": "mail.send", "t": None, "a": [], "k": fields, "et": now * 1000}
        event = {"at_ms": now * 1000, "attempt": 5, "outcome": "dead", "reason": reply.format(number=number)}
        pipe.zadd(KEYS.dead, {job_id: now * 1000 - number})
        pipe.set(f"arq:job:{job_id}", json.dumps(payload))
        pipe.rpush(KEYS.history(job_id), json.dumps(event))
        ids.append(job_id)
    pipe.hincrby(KEYS.counters, f"accepted:{LANE}", count)
    await pipe.execute()
    return ids


def count_in(page: Reply) -> str:
    found = re.search(r'name="count" value="(\d+)"', page.text)
    assert found, page.text
    return found[1]


async def begin(console: Running, **fields: str) -> Reply:
    """Confirm a change and begin it, as a browser does."""
    page = address("/bulk/new", **fields)
    count = count_in(await console.get(page))
    return await console.post("/bulk", fields | WHY | {"count": count}, page=page)


async def shows(console: Running, path: str, *texts: str) -> str:
    """Wait until a page shows these texts."""

    async def there() -> str:
        words = (await console.get(path)).words()
        return words if all(text in words for text in texts) else ""

    return str(await eventually(there))


async def latest_run(console: Running) -> str:
    found = re.search(r'href="(/bulk/[0-9a-f]{16})"', (await console.get("/bulk")).text)
    assert found
    return found[1]


async def test_all_that_match_are_counted_confirmed_and_revived(console: Running, redis: Redis) -> None:
    await write_dead(redis, 300)
    await write_dead(redis, 5, domain="example.net")
    page = await console.get(address("/bulk/new", action="revive", state="dead", domain="example.com"))
    assert "Revive: 300 jobs match" in page.words()
    await begin(console, action="revive", state="dead", domain="example.com")
    words = await shows(console, await latest_run(console), "ended: 300 of 300")
    assert "Revived 300" in words
    assert (await redis.zcard(KEYS.queue), await redis.zcard(KEYS.dead)) == (300, 5)
    (entry,) = await list_entries(redis, limit=5)
    assert (entry.action, entry.outcome, entry.why) == ("bulk-revive", "done", WHY["why"])
    assert "300 jobs: state=dead domain=example.com" in entry.target


async def test_more_jobs_than_were_confirmed_are_not_changed(console: Running, redis: Redis) -> None:
    await write_dead(redis, 3)
    fields = {"action": "discard", "state": "dead"} | WHY
    page = address("/bulk/new", action="discard", state="dead")
    count = count_in(await console.get(page))
    await write_dead(redis, 2, domain="example.net")
    for wrong in (count, "", "-1", "all"):
        reply = await console.post("/bulk", fields | {"count": wrong}, page=page)
        assert (reply.status, count_in(reply)) == (409, "5")
        assert "Confirm the new number" in reply.text
    assert await redis.zcard(KEYS.dead) == 5
    assert not await redis.exists("momentus:{ops}:audit")


async def test_waiting_jobs_are_cancelled_and_dead_ones_discarded(
    console: Running, redis: Redis, producer: Producer, valkey_url: str
) -> None:
    await make_jobs(valkey_url, redis, producer, *(MailOrder(f"u{n}@example.com", "retrying") for n in range(20)))
    await write_dead(redis, 20)
    for action, state in (("cancel", "retrying"), ("discard", "dead")):
        await begin(console, action=action, state=state)
        await shows(console, await latest_run(console), "ended: 20 of 20", "Removed 20")
    assert (await redis.zcard(KEYS.queue), await redis.zcard(KEYS.dead)) == (0, 0)
    counters = await redis.hmget(KEYS.counters, [f"cancelled:{LANE}", f"discarded:{LANE}"])
    assert counters == [b"20", b"20"]


async def test_mails_to_suppressed_recipients_stay_dead(console: Running, redis: Redis) -> None:
    await write_dead(redis, 3)
    await suppress(redis.execute_command, "u1@example.com", "manual", by="test")
    await begin(console, action="revive", state="dead")
    await shows(console, await latest_run(console), "Revived 2", "With a suppressed recipient 1")


async def test_a_job_that_has_meanwhile_ended_is_counted_as_such(redis: Redis) -> None:
    await write_dead(redis, 3)
    jobs, tools, progress = await find_ids(redis, read_filter({})), BulkTools(redis=redis), BulkProgress()
    await change_jobs(tools, progress, action="revive", jobs=jobs)
    await change_jobs(tools, progress, action="revive", jobs=jobs)
    assert progress.counts == {"revived": 3, "not dead": 3}
    assert await redis.zcard(KEYS.queue) == 3


async def test_a_run_is_stopped_between_two_batches(redis: Redis) -> None:
    await write_dead(redis, 1000)
    jobs, progress = await find_ids(redis, read_filter({})), BulkProgress()
    running_change = asyncio.create_task(
        change_jobs(BulkTools(redis=redis), progress, action="discard", jobs=jobs)
    )
    await eventually(lambda: progress.done)
    progress.stopped = True
    await running_change
    left = await redis.zcard(KEYS.dead)
    assert 0 < left == 1000 - progress.done


async def test_a_stop_on_the_page_ends_a_run_and_both_are_noted(
    console: Running, redis: Redis, producer: Producer
) -> None:
    assert producer
    await write_dead(redis, 5)
    (cluster,) = (await list_clusters(redis)).clusters
    await console.post("/canary", {"lane": LANE, "cluster": cluster.token} | WHY, page="/failures")
    run = await latest_run(console)
    await shows(console, run, "running: 1 of 5", "step 1 of 3")
    await console.post(f"{run}/stop", {}, page=run)
    await shows(console, run, "stopped: 1 of 5")
    assert await redis.zcard(KEYS.dead) == 4

    async def noted() -> bool:
        found = {one.action: one.outcome for one in await list_entries(redis, limit=5)}
        return found == {"canary": "stopped", "stop": "done"}

    await eventually(noted)


async def test_a_console_that_stops_stops_its_runs_and_notes_it(valkey_url: str, redis: Redis) -> None:
    await write_dead(redis, 5)
    (cluster,) = (await list_clusters(redis)).clusters
    with console_of(valkey_url) as console:
        await console.post("/canary", {"lane": LANE, "cluster": cluster.token}, page="/failures")
        await shows(console, await latest_run(console), "running: 1 of 5")
    (entry,) = await list_entries(redis, limit=5)
    assert (entry.outcome, entry.text) == ("stopped", "stopped: 1 of 5, revived 1")


async def test_two_operators_begin_the_same_run_once(console: Running, redis: Redis) -> None:
    await write_dead(redis, 5)
    (cluster,) = (await list_clusters(redis)).clusters
    fields = {"lane": LANE, "cluster": cluster.token}
    first = await console.post("/canary", fields, page="/failures")
    await shows(console, await latest_run(console), "running: 1 of 5")
    second = await console.post("/canary", fields, page="/failures")
    assert first.status == second.status == 200
    assert len(await list_entries(redis, limit=5)) in {1, 2}
    run = await latest_run(console)
    await console.post(f"{run}/stop", {}, page=run)
    await shows(console, run, "stopped")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": "revive", "state": "ready"}, "does not apply to ready jobs"),
        ({"action": "flush", "state": "dead"}, "does not apply to dead jobs"),
        ({"action": "cancel", "state": "uncertain"}, "does not apply to uncertain jobs"),
        ({"action": "revive", "state": "dead", "domain": "a b"}, "is not a domain"),
        ({"action": HOSTILE, "state": "dead"}, "does not apply to dead jobs"),
        ({}, "does not apply to dead jobs"),
    ],
)
async def test_what_is_no_change_of_many_is_refused(
    console: Running, redis: Redis, fields: dict[str, str], said: str
) -> None:
    await write_dead(redis, 2)
    for reply in (
        await console.get(address("/bulk/new", **fields)),
        await console.post("/bulk", fields | {"count": "9"}, page=f"/lanes/{LANE}"),
    ):
        assert (reply.status, said in reply.words()) == (400, True)
        assert reply.text.count("<script") == 1
    assert await redis.zcard(KEYS.dead) == 2


async def test_an_unknown_run_is_a_page_that_says_so(console: Running) -> None:
    assert (await console.get("/bulk/0123456789abcdef")).status == 404
    assert (await console.post("/bulk/0123456789abcdef/stop", {}, page=f"/lanes/{LANE}")).status == 404


async def test_runs_of_an_earlier_console_are_listed_by_the_audit_log(console: Running, redis: Redis) -> None:
    await write_dead(redis, 2)
    cut_off = begin_entry(
        who="eva", way="token", role="admin", action="bulk-revive", target="9 jobs: state=dead", why="back"
    )
    await note_entry(redis, cut_off)
    await begin(console, action="discard", state="dead")
    await shows(console, await latest_run(console), "ended: 2 of 2")
    other = inside(redis)
    words = (await other.get("/bulk")).words()
    assert "9 jobs: state=dead eva outcome unknown" in words
    assert "Discard in bulk" in words
    assert "ended: 2 of 2, gone 2" in words
    page = await other.get(f"/bulk/{cut_off.number}")
    assert (page.status, "Revive in bulk: outcome unknown" in page.words()) == (200, True)
    listed = (await console.get("/bulk")).words()
    assert listed.count("2 jobs: state=dead") == 1


# Clusters and canaries


async def test_failures_of_one_kind_are_one_cluster(console: Running, redis: Redis) -> None:
    await write_dead(
        redis, 200, reply="attempt 5 of 5 failed: 550 5.1.1 <u{number}@example.com> user{number} unknown"
    )
    await write_dead(redis, 20, domain="example.net", reply="451 4.3.0 greylisted for {number} s")
    await write_dead(redis, 1, text="x", reply="the template is broken")
    found = await list_clusters(redis)
    rows = [(one.count, one.domain, one.code, one.error.strip()) for one in found.clusters]
    assert rows == [
        (200, "example.com", "550", "5.1.1 … user# unknown"),
        (20, "example.net", "451", "4.3.0 greylisted for # s"),
        (1, "example.com", "", "the template is broken"),
    ]
    assert (found.seen, found.dead) == (221, 221)
    first = found.clusters[0]
    assert (first.last - first.first).total_seconds() == pytest.approx(0.199)
    page = await console.get("/failures")
    assert "221 of 221 dead jobs, in 3 clusters" in page.words()
    ids = [job_id async for job_id in jobs_of_cluster(redis, LANE, first.key)]
    assert len(ids) == 200


@pytest.mark.parametrize("keys", ["", f"new:{base64.b64encode(bytes(32)).decode()}"], ids=["plain", "sealed"])
async def test_a_cluster_has_one_template_and_the_deaths_of_each_hour(
    valkey_url: str, redis: Redis, console: Running, keys: str
) -> None:
    values = {"task": "Cierre", "due": "hoy"}
    async with Producer.connect(valkey_url, budget=5, seal=KeyRing(keys) if keys else None) as producer:
        made = [
            (await producer.send(Mail(to="ana@example.com", template="task_assigned", values=values))).id
            for _ in range(5)
        ]
        plain = (await producer.send(Mail(to="ana@example.com", subject="s", text="t"))).id
    now, _ = await redis.time()
    hours = dict(zip([*made, plain], (0, 0, 0, 5, 30, 23), strict=True))
    for job_id, ago in hours.items():
        await redis.zrem(KEYS.queue, job_id)
        await redis.zadd(KEYS.dead, {job_id: (now - 3600 * ago - 60) * 1000})
    found = {one.template: one for one in (await list_clusters(redis)).clusters}
    assert {name: one.count for name, one in found.items()} == {"task_assigned": 5, "": 1}
    assert found["task_assigned"].hours == (*[0] * 18, 1, 0, 0, 0, 0, 3)
    assert found[""].hours == (1, *[0] * 23)
    words = (await console.get("/failures")).words()
    assert "task_assigned" in words
    assert "3 in the last hour, 4 in the day" in words
    ids = [one async for one in jobs_of_cluster(redis, LANE, found["task_assigned"].key)]
    assert sorted(ids) == sorted(one.encode() for one in made)


@pytest.mark.parametrize("reason", [HOSTILE, "\n\n", "", "x" * 5000, "550", "é" * 200, "a\x00b", "@ @@ 1@2"])
async def test_whatever_an_error_says_its_cluster_can_be_replayed(
    redis: Redis, console: Running, reason: str
) -> None:
    (job_id,) = await write_dead(redis, 1, reply=reason.replace("{", "{{"))
    (cluster,) = (await list_clusters(redis)).clusters
    assert [one async for one in jobs_of_cluster(redis, LANE, cluster.key)] == [job_id.encode()]
    page = await console.get("/failures")
    assert page.text.count("<script") == 1
    await console.post("/canary", {"lane": LANE, "cluster": cluster.token}, page="/failures")
    await eventually(lambda: redis.zcard(KEYS.queue))
    run = await latest_run(console)
    await console.post(f"{run}/stop", {}, page=run)
    await shows(console, run, "stopped")


async def test_a_canary_replays_one_then_ten_then_the_rest(valkey_url: str, redis: Redis) -> None:
    await write_dead(redis, 40)
    jobs, progress = await find_ids(redis, read_filter({})), BulkProgress()
    replay = asyncio.create_task(replay_jobs(BulkTools(redis=redis), progress, jobs=jobs))
    await eventually(lambda: progress.done == 1)
    assert (progress.step, await redis.zcard(KEYS.dead)) == (1, 39)
    await hold_lane(redis, LANE, lasting=None, reason="look at it")
    async with running(obedient_worker(valkey_url)):
        assert (progress.step, progress.done) == (1, 1), "what a hold keeps waiting has not failed"
        await release_lane(redis, LANE)
        await replay
    assert (progress.step, progress.done, progress.failed) == (3, 40, "")
    assert await redis.zcard(KEYS.dead) == 0


@pytest.mark.parametrize("fate", ["dead 550 again", "retrying 451 again", "uncertain"])
async def test_a_canary_stops_at_the_first_job_that_fails_again(valkey_url: str, redis: Redis, fate: str) -> None:
    await write_dead(redis, 40, text=fate)
    jobs, progress = await find_ids(redis, read_filter({})), BulkProgress()
    async with running(obedient_worker(valkey_url)):
        await replay_jobs(BulkTools(redis=redis), progress, jobs=jobs)
    assert (progress.step, progress.done) == (1, 1)
    assert progress.failed == jobs[0][1].decode()
    assert await redis.zcard(KEYS.dead) in {39, 40}


async def test_a_cluster_that_is_gone_is_told_of(console: Running, redis: Redis) -> None:
    await write_dead(redis, 1)
    (cluster,) = (await list_clusters(redis)).clusters
    await redis.delete(KEYS.dead)
    for token in (cluster.token, "", "ä", "x", HOSTILE):
        reply = await console.post("/canary", {"lane": LANE, "cluster": token}, page=f"/lanes/{LANE}")
        assert (reply.status, "no dead job belongs to it any longer" in reply.words()) == (400, True)
    reply = await console.post("/canary", {"lane": "x", "cluster": cluster.token}, page=f"/lanes/{LANE}")
    assert (reply.status, "is not a lane" in reply.words()) == (400, True)
