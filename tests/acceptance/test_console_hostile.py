"""Pages of the console with whatever other programs write to Redis: clear pages, nothing executed or lost."""

import json

import pytest
from redis.asyncio import Redis

from ops.audit.log import begin_entry, note_entry
from ops.console.visit import address
from ops.jobs.operations import discard_job
from ops.jobs.undo import restore_jobs
from producers.keys import LaneKeys, catalogue
from reports.keys import snapshot
from tests.console_inside import inside
from worker.fleet_keys import schedules_key

LANE = "mail.normal"
KEYS = LaneKeys(LANE)
HOSTILE = "<script>alert(1)</script>\x1b[2J\x00\"'&"
NUMBER = "0123456789abcdef"
WORKER = "fedcba9876543210"
PAGES = (
    "/",
    f"/lanes/{LANE}",
    "/workers",
    "/schedules",
    "/limits",
    "/reports",
    "/failures",
    "/bulk",
    "/audit",
    "/mail",
)


async def write_heartbeat(redis: Redis, facts: object) -> None:
    await redis.zadd(KEYS.workers, {WORKER: 1})
    await redis.set(KEYS.worker(WORKER), facts if isinstance(facts, bytes) else json.dumps(facts))


@pytest.fixture
async def everything(redis: Redis) -> str:
    """Something hostile under everything that a page reads; the id of a dead job."""
    lanes = {LANE: {"busy": 1, "slots": 2, "left_behind": 1}, HOSTILE: {"busy": 0, "slots": 0}}
    troubles = {HOSTILE: {"error": HOSTILE, "for_s": 9}}
    facts = {"host": HOSTILE, "pid": 7, "lanes": lanes, "faults": {HOSTILE: 1}, "troubles": troubles}
    await write_heartbeat(redis, facts | {"state": HOSTILE, "version": HOSTILE, "loop_lag_ms": 10**9})
    cron = {"name": HOSTILE, "kind": HOSTILE, "lane": LANE, "payload": {}, "overlap": True, "version": 1}
    await redis.set(schedules_key(KEYS, WORKER), json.dumps([{**cron, "schedule": {"minute": 5}}]))
    await redis.hset(KEYS.crons, mapping={HOSTILE + "2": HOSTILE})
    await redis.hset(KEYS.limits, mapping={HOSTILE: "{}", "customer:1": HOSTILE, f"lane:{HOSTILE}": HOSTILE})
    hold = json.dumps({"until_ms": None, "reason": HOSTILE})
    await redis.hset(KEYS.holds, mapping={"limit:customer:1": hold, f"lane:{LANE}": hold})
    await redis.hset(catalogue("default"), HOSTILE, HOSTILE)
    await redis.hset(snapshot("default", HOSTILE), "_error", json.dumps({"at_us": 1, "error": HOSTILE}))
    payload = {"v": 1, "f": "mail.send", "k": {"template": HOSTILE, "to": f"{HOSTILE}@example.com"}}
    await redis.set("arq:job:{mail}dead", json.dumps(payload))
    await redis.zadd(KEYS.dead, {"{mail}dead": 1})
    await redis.rpush(KEYS.history("{mail}dead"), json.dumps({"at_ms": 1, "outcome": "dead", "reason": HOSTILE}))
    for action in ("bulk-discard", HOSTILE):
        entry = begin_entry(who=HOSTILE, way="token", role="admin", action=action, target=HOSTILE, why=HOSTILE)
        await note_entry(redis, entry)
    return "{mail}dead"


@pytest.mark.parametrize("role", ["view", "operate", "admin"])
async def test_every_page_shows_what_is_hostile_and_executes_nothing(
    redis: Redis, everything: str, role: str
) -> None:
    console = inside(redis, role)  # type: ignore[arg-type]  # one of the roles
    pages = (*PAGES, address("/job", id=everything), address("/limits", key=HOSTILE), "/jobs?state=dead")
    for language in ("en", "es"):
        for path in pages:
            page = await console.get(path, accept_language=language)
            assert page.status in ({200, 400} if "key=" in path else {200}), path
            assert page.text.count("<script") == 1, path
            assert "\x1b" not in page.text, path
            assert "\x00" not in page.text, path


@pytest.mark.parametrize(
    "facts",
    [
        *(b"\xff\xfe", b"", b"[]", b"null", b"9" * 5000, b'{"lanes":1}'),
        {"host": "h", "pid": "no number", "lanes": {}},
        {"host": "h", "pid": 1, "lanes": {}, "parent": "x"},
        {"host": "h", "pid": 1, "lanes": {}, "loop_lag_ms": {}},
    ],
    ids=lambda facts: str(facts)[:20],
)
async def test_a_heartbeat_that_is_none_hides_nothing_else(redis: Redis, facts: object) -> None:
    await write_heartbeat(redis, facts)
    await redis.set(schedules_key(KEYS, WORKER), b"\xff" if isinstance(facts, bytes) else "[]")
    console = inside(redis)
    for path in ("/", "/workers", "/schedules"):
        assert (await console.get(path)).status == 200
    reply = await console.post("/actions/quiet-worker", {"worker": WORKER}, page="/limits")
    assert "nothing was done" in reply.words().lower()


@pytest.mark.parametrize("payload", [b"\xff\x00<script>", b"x" * (256 * 1024), b"", b"\x1b[2J"], ids=repr)
async def test_a_payload_of_any_bytes_is_kept_aside_as_it_is(redis: Redis, payload: bytes) -> None:
    job_id = '{mail}"\\ <script>\u2028é'
    await redis.set(f"arq:job:{job_id}", payload)
    await redis.zadd(KEYS.dead, {job_id: 1234})
    await redis.rpush(KEYS.history(job_id), b"\xff no JSON")
    assert await discard_job(redis, job_id, number=NUMBER) == ("gone", LANE)
    assert await restore_jobs(redis, NUMBER) == {"restored": 1}
    assert await redis.get(f"arq:job:{job_id}") == payload
    assert await redis.zscore(KEYS.dead, job_id) == 1234
    assert await redis.lindex(KEYS.history(job_id), 0) == b"\xff no JSON"


@pytest.mark.parametrize(
    ("action", "fields", "said"),
    [
        ("discard", {"id": "{mail}unknown"}, "is not waiting, running or dead"),
        ("revive", {"id": "{mail}ended"}, "is not dead"),
        ("cancel", {"id": "{mail}ended"}, "is not waiting, running"),
        ("unpark", {"id": "{mail}ended"}, "is not parked"),
        ("resolve", {"id": "{mail}ended", "decision": "accepted"}, "nothing"),
        ("hold-lane", {"lane": "mail.nothing", "time": "10m"}, "is not a lane"),
        ("quiet-worker", {"worker": NUMBER}, "is not a live worker"),
        ("run-schedule", {"schedule": "nothing", "group": "mail"}, "no live worker has a schedule"),
        ("undo", {"number": NUMBER}, "Nothing is kept under"),
        ("release-limit", {"limit": "customer:9", "group": "mail"}, "was not held"),
        ("refresh", {"report": "nothing"}, "no worker declares"),
    ],
)
async def test_an_unknown_or_ended_target_is_a_clear_answer(
    redis: Redis, action: str, fields: dict[str, str], said: str
) -> None:
    await redis.set("arq:result:{mail}ended", b'{"s":true}')
    before = sorted(await redis.keys("*"))
    reply = await inside(redis, "admin").post(f"/actions/{action}", fields, page="/limits")
    assert said in reply.words()
    assert "Traceback" not in reply.text
    assert sorted(await redis.keys("*")) == sorted([*before, b"momentus:{ops}:audit"])
