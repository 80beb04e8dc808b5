"""Lists of jobs and single jobs on the console and the command line, with jobs that a worker has tried."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from jobs import Mail
from ops.console.visit import address
from ops.jobs.filter import STATES, read_filter
from ops.jobs.listing import list_jobs
from ops.jobs.operations import revive_job
from producers import Producer
from producers.keys import LaneKeys
from sessions import Sessions
from tests.command_line import run_ops
from tests.console_process import Reply, Running, running as console_of
from tests.jobs_in_states import HOSTILE, LANE, MailOrder, make_jobs

KEYS = LaneKeys(LANE)
DEAD = MailOrder("ana@example.com", "dead")


@pytest.fixture(scope="module")
def consoles() -> Iterator[dict[tuple[str, str], Running]]:
    with ExitStack() as stack:

        class Known(dict[tuple[str, str], Running]):
            def __missing__(self, key: tuple[str, str]) -> Running:
                url, role = key
                self[key] = stack.enter_context(console_of(url, CONSOLE__LOCAL=role, CONSOLE__FIELDS="subject"))
                return self[key]

        yield Known()


@pytest.fixture
def console(consoles: dict[tuple[str, str], Running], valkey_url: str) -> Running:
    return consoles[valkey_url, "operate"]


@pytest.fixture
def admin(consoles: dict[tuple[str, str], Running], valkey_url: str) -> Running:
    return consoles[valkey_url, "admin"]


async def listed(redis: Redis, **fields: str) -> list[str]:
    found = await list_jobs(redis, read_filter(fields), limit=1000, seconds=60)
    return [one.id for one in found.jobs]


async def test_each_state_has_its_list(
    valkey_url: str, redis: Redis, producer: Producer, console: Running
) -> None:
    dead, uncertain, retrying, _ = await make_jobs(
        valkey_url,
        redis,
        producer,
        DEAD,
        MailOrder("b@example.com", "uncertain"),
        MailOrder("c@example.com", "retrying"),
        MailOrder("d@example.com", "done"),
    )
    ready = (await producer.send(Mail(to="e@example.com", subject="s", text="t"))).id
    later = (await producer.send(Mail(to="f@example.com", subject="s", text="t"), delay=timedelta(hours=1))).id
    expected = {
        "dead": [dead],
        "uncertain": [uncertain],
        "parked": [uncertain],
        "retrying": [retrying],
        "ready": [ready],
        "scheduled": [later],
        "leased": [],
        "limited": [],
    }
    assert expected.keys() == set(STATES)
    for state, ids in expected.items():
        assert await listed(redis, state=state) == ids, state
        page = await console.get(address("/jobs", state=state))
        assert page.status == 200
        assert all(one in page.text for one in ids)


async def test_a_running_job_is_listed(valkey_url: str, redis: Redis, producer: Producer) -> None:
    job_id = (await producer.send(Mail(to="e@example.com", subject="s", text="t"))).id
    now, _ = await redis.time()
    await redis.zadd(KEYS.queue, {job_id: now * 1000 + 60_000})
    await redis.zadd(KEYS.leases, {job_id: now * 1000 + 60_000})
    assert await listed(redis, state="leased") == [job_id]
    assert await listed(redis, state="scheduled") == []
    assert valkey_url


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({}, [3, 2, 1, 0]),
        ({"domain": "example.com"}, [1, 0]),
        ({"domain": "@Example.COM"}, [1, 0]),
        ({"domain": "ample.com"}, []),
        ({"error": "mailbox FULL"}, [2]),
        ({"error": 'said "no"'}, [3]),
        ({"error": "señor"}, [3]),
        ({"error": "outcome"}, []),
        ({"kind": "mail.send"}, [3, 2, 1, 0]),
        ({"kind": "mail.sen"}, []),
        ({"lane": "mail.bulk"}, []),
        ({"lane": LANE, "domain": "example.com", "error": "5.1.1", "kind": "mail.send"}, [1, 0]),
        ({"older": "1h"}, []),
        ({"newer": "1h"}, [3, 2, 1, 0]),
    ],
)
async def test_a_filter_shows_what_it_says_and_the_latest_first(
    valkey_url: str, redis: Redis, producer: Producer, fields: dict[str, str], places: list[int]
) -> None:
    ids = []
    for order in (
        DEAD,
        MailOrder("luis@example.com", "dead"),
        MailOrder("eva@example.net", "dead", "552 mailbox full"),
        MailOrder("x@example.org", "dead", 'señor said "no" \\ never'),
    ):
        ids += await make_jobs(valkey_url, redis, producer, order)
    assert await listed(redis, **fields) == [ids[place] for place in places]


async def test_a_mail_to_several_with_a_long_sender_is_found_by_its_domains(
    redis: Redis, producer: Producer
) -> None:
    domain = f"{'b' * 60}.{'c' * 60}.example"
    mail = Mail(
        to=["ana@first.example", "eva@second.example"],
        sender=f"{'a' * 60}@{domain}",
        sender_name="d" * 200,
        subject="s",
        text="t",
    )
    job_id = (await producer.send(mail)).id
    await redis.zrem(KEYS.queue, job_id)
    await redis.zadd(KEYS.dead, {job_id: 1})
    assert await listed(redis, domain="first.example") == [job_id]
    assert await listed(redis, domain="second.example") == [job_id]
    assert await listed(redis, domain=domain) == []
    (job,) = (await list_jobs(redis, read_filter({}), limit=5)).jobs
    assert (job.kind, job.domain) == ("mail.send", "first.example")


async def many_dead(redis: Redis, count: int) -> None:
    """Dead jobs as they stand in Redis, far more than a worker would make in a test."""
    now, _ = await redis.time()
    for first in range(0, count, 1000):
        pipe = redis.pipeline(transaction=False)
        for number in range(first, min(first + 1000, count)):
            job_id = f"{{mail}}{number:026d}"
            to = "user@rare.example" if number == count - 1 else "user@example.com"
            payload = {"v": 1, "f": "mail.send", "t": None, "a": [], "k": {"to": to}, "et": now * 1000}
            pipe.zadd(KEYS.dead, {job_id: now * 1000 - number})
            pipe.set(f"arq:job:{job_id}", json.dumps(payload))
            pipe.rpush(KEYS.history(job_id), json.dumps({"at_ms": now * 1000, "outcome": "dead", "reason": "550"}))
        await pipe.execute()


async def test_pages_lead_through_all_jobs_once(redis: Redis) -> None:
    await many_dead(redis, 1000)
    wanted, cursor, seen = read_filter({"state": "dead"}), "", list[str]()
    while True:
        page = await list_jobs(redis, wanted, limit=70, cursor=cursor, seconds=60)
        seen += [one.id for one in page.jobs]
        if not (cursor := page.cursor):
            break
    assert seen == [f"{{mail}}{number:026d}" for number in range(1000)]


async def test_a_search_without_time_shows_what_it_has_and_goes_on_later(redis: Redis) -> None:
    await many_dead(redis, 1000)
    wanted = read_filter({"domain": "rare.example"})
    page = await list_jobs(redis, wanted, limit=50, seconds=-1)
    assert (page.jobs, page.seen, page.places, page.cursor != "") == ((), 0, 1000, True)
    rest = await list_jobs(redis, wanted, limit=50, cursor=page.cursor, seconds=60)
    assert ([one.id for one in rest.jobs], rest.cursor) == ([f"{{mail}}{999:026d}"], "")


async def test_no_step_of_a_search_reads_many_places(redis: Redis) -> None:
    """What bounds the time for which other clients wait; `docs/benchmarks.md` has the time."""
    await many_dead(redis, 3000)
    await redis.config_resetstat()
    await list_jobs(redis, read_filter({"domain": "nothing.example"}), limit=50, seconds=60)
    calls = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert calls >= 3000 / 300
    assert (await redis.info("commandstats"))["cmdstat_getrange"]["calls"] == 3000


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"state": "asleep"}, "is not a state of jobs"),
        ({"lane": "mail.nothing"}, "is not a lane"),
        ({"kind": "mail send"}, "is not a kind"),
        ({"domain": "a b"}, "is not a domain"),
        ({"domain": "<script>"}, "is not a domain"),
        ({"error": "x" * 201}, "at most 200 characters"),
        ({"error": "a\x1bb"}, "must be printable"),
        ({"older": "soon"}, "older:"),
        ({"older": "2h", "newer": "1h"}, "must be less than newer"),
        ({"state": "scheduled", "older": "2h"}, "have no age"),
        ({"cursor": "x.y"}, ""),
        ({"cursor": "9.9.9.9.9.9.9"}, ""),
    ],
)
async def test_what_is_no_filter_is_told_of(console: Running, fields: dict[str, str], said: str) -> None:
    page = await console.get(address("/jobs", **fields))
    assert page.status == (400 if said else 200)
    assert said in page.text
    assert "<script>" not in page.text.replace('<script src="/console.js" defer></script>', "")


async def test_the_command_line_lists_the_same(valkey_url: str, redis: Redis, producer: Producer) -> None:
    (job_id,) = await make_jobs(valkey_url, redis, producer, DEAD)
    code, said, _ = await run_ops("jobs", "--domain", "example.com", "--json", REDIS_URL=valkey_url)
    (job,) = json.loads(said)["jobs"]
    assert (code, job["id"], job["reason"]) == (0, job_id, DEAD.reply)
    code, said, _ = await run_ops("jobs", "--domain", "example.com", REDIS_URL=valkey_url)
    assert (code, job_id in said, "550 5.1.1" in said) == (0, True, True)
    code, said, err = await run_ops("jobs", "--state", "dead", "--domain", "a b", REDIS_URL=valkey_url)
    assert (code, said, "is not a domain" in err) == (2, "", True)


# One job


async def page_of(console: Running, job_id: str, **headers: str) -> Reply:
    return await console.get(address("/job", id=job_id), **headers)


async def test_a_job_has_a_page_with_its_history_its_reason_to_wait_and_its_policy(
    valkey_url: str, redis: Redis, producer: Producer, console: Running
) -> None:
    (job_id,) = await make_jobs(valkey_url, redis, producer, MailOrder("ana@example.com", "retrying", "451 later"))
    page = await page_of(console, job_id)
    words = page.words()
    assert page.status == 200
    assert "451 later" in words
    assert "Waits for: its time" in words
    assert f"up to {Mail.policy.tries} attempts" in words
    assert "Espera" in (await page_of(console, job_id, accept_language="es")).words()


async def test_a_payload_is_shown_by_right_and_addresses_are_masked(
    valkey_url: str, redis: Redis, producer: Producer, console: Running, admin: Running
) -> None:
    order = MailOrder("ana@example.com", "dead", "550 <ana@example.com>: unknown")
    (job_id,) = await make_jobs(valkey_url, redis, producer, order)
    seen, whole = (await page_of(console, job_id)).text, (await page_of(admin, job_id)).text
    assert "ana@" not in seen
    assert "…@example.com" in seen
    assert "Hoy" in seen, "MOMENTUS_CONSOLE__FIELDS names the subject"
    assert "ana@example.com" in whole
    assert "ana@" not in (await console.get("/jobs")).text


PAYLOADS: Mapping[str, bytes] = {
    "not UTF-8": b'{"v":1,"f":"mail.send","k":{"to":"\xff\xfe"}}',
    "no JSON": b"\x00\x1b[2J" + HOSTILE.encode(),
    "HTML and control characters": json.dumps(
        {"v": 1, "f": "mail.send", "t": None, "a": [], "k": {HOSTILE: HOSTILE, "text": HOSTILE}, "et": 1}
    ).encode(),
    "256 KiB": json.dumps(
        {"v": 1, "f": "mail.send", "t": None, "a": [], "k": {"text": "x" * 261_000}, "et": 1}
    ).encode(),
    "empty": b"",
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
async def test_whatever_a_payload_holds_its_page_is_text(redis: Redis, admin: Running, payload: bytes) -> None:
    job_id = "{mail}" + "0" * 26
    now, _ = await redis.time()
    await redis.zadd(KEYS.dead, {job_id: now * 1000})
    await redis.set(f"arq:job:{job_id}", payload)
    await redis.rpush(
        KEYS.history(job_id), json.dumps({"at_ms": 1, "outcome": HOSTILE, "reason": HOSTILE}), b"\xff"
    )
    for page in (await page_of(admin, job_id), await admin.get("/jobs")):
        assert page.status == 200
        assert "\x1b" not in page.text
        assert page.text.count("<script") == 1
        assert len(page.text) < 60_000


@pytest.mark.parametrize(
    "job_id", ["", "zz", "{mail}" + "0" * 26, "x" * 600, "{mail}\x1b[2J", HOSTILE, "{nothing}1"]
)
async def test_an_unknown_job_is_a_page_that_says_so(console: Running, job_id: str) -> None:
    page = await page_of(console, job_id)
    assert (page.status, "Unknown job" in page.text) == (404, True)
    assert page.text.count("<script") == 1


# Changes of one job


async def test_a_dead_job_is_revived_once(
    valkey_url: str, redis: Redis, producer: Producer, console: Running
) -> None:
    (job_id,) = await make_jobs(valkey_url, redis, producer, DEAD)
    where = address("/job", id=job_id)
    done = await console.post("/actions/revive", {"id": job_id, "why": "mailbox exists now"}, page=where)
    assert f"{job_id} is back in {LANE}" in done.words()
    again = await console.post("/actions/revive", {"id": job_id}, page="/mail")
    assert "is not dead; nothing was done" in again.words()
    assert await redis.zcard(KEYS.queue) == 1


async def test_a_job_that_has_meanwhile_ended_is_told_of(
    valkey_url: str, redis: Redis, producer: Producer, console: Running
) -> None:
    (job_id,) = await make_jobs(valkey_url, redis, producer, DEAD)
    await redis.set(f"arq:job:{job_id}", await redis.get(f"arq:job:{job_id}"))
    page = await page_of(console, job_id)
    await revive_job(redis, job_id)
    for action in ("discard", "cancel"):
        reply = await console.post(f"/actions/{action}", {"id": job_id}, page="/mail")
        assert reply.status == 200
        if action == "cancel":
            assert "is not waiting, running or dead; nothing was done" in reply.words()
    assert page.status == 200
    assert int(await redis.hget(KEYS.counters, f"discarded:{LANE}")) == 1
    assert await redis.hget(KEYS.counters, f"cancelled:{LANE}") is None


async def test_an_uncertain_mail_is_decided_once(
    valkey_url: str, redis: Redis, producer: Producer, console: Running
) -> None:
    (job_id,) = await make_jobs(valkey_url, redis, producer, MailOrder("ana@example.com", "uncertain"))
    page = await console.get("/mail")
    assert job_id in page.text
    fields = {"id": job_id, "decision": "accepted", "why": "she has it"}
    done = await console.post("/actions/resolve", fields, page="/mail")
    assert "Decide: done" in done.words()
    assert "console local" in (await redis.lindex(KEYS.history(job_id), -1)).decode()
    again = await console.post("/actions/resolve", fields | {"decision": "resend"}, page="/mail")
    assert "Decide: nothing to do" in again.words()
    assert int(await redis.hget(KEYS.counters, f"done:{LANE}")) == 1


async def test_an_address_is_suppressed_and_allowed_again_without_a_trace_of_it(
    redis: Redis, console: Running
) -> None:
    for action, count in (("suppress", 1), ("unsuppress", 0)):
        fields = {"address": "ana@example.com", "why": "ticket 17"}
        reply = await console.post(f"/actions/{action}", fields, page="/mail")
        assert ": done" in reply.words()
        assert await redis.hlen("momentus:{mail}:suppression") == count
    assert b"ana@" not in b"".join(await redis.lrange("momentus:{ops}:audit", 0, -1))
    wrong = await console.post("/actions/suppress", {"address": "nobody"}, page="/mail")
    assert "Suppress: refused" in wrong.words()


async def test_an_account_is_paused_and_resumed(redis: Redis, console: Running, valkey_url: str) -> None:
    assert (await run_ops("limit", "set", "account:main", "--rate", "10/1m", REDIS_URL=valkey_url))[0] == 0
    for action, state in (("pause", "paused"), ("resume", "open")):
        fields = {"account": "main", "why": "new password"}
        assert ": done" in (await console.post(f"/actions/{action}-account", fields, page="/mail")).words()
        assert f"main {state}" in (await console.get("/mail")).words()
    wrong = await console.post("/actions/pause-account", {"account": "nothing"}, page="/mail")
    assert "no account is called" in wrong.words()
    assert redis


async def test_a_job_is_edited_by_admins_alone(
    valkey_url: str, redis: Redis, producer: Producer, console: Running, admin: Running
) -> None:
    (job_id,) = await make_jobs(valkey_url, redis, producer, DEAD)
    fields = {"id": job_id, "change": "to=eva@example.com"}
    where = address("/job", id=job_id)
    assert (await console.post("/actions/edit", fields, page=where)).status == 403
    assert "Edit: done" in (await admin.post("/actions/edit", fields, page=where)).words()
    assert b"eva@example.com" in (await redis.get(f"arq:job:{job_id}") or b"")


async def test_admins_end_sessions(admin: Running, console: Running, redis: Redis) -> None:
    sessions = Sessions(redis)
    token, session = await sessions.create("u-17", {"roots": [1]}, label=HOSTILE)
    page = await admin.get("/sessions?user=u-17")
    assert session.place.digest[:12] in page.text
    assert page.text.count("<script") == 1
    fields = {"user": "u-17", "session": session.place.digest[:12]}
    assert (await console.get("/sessions?user=u-17")).status == 403
    assert ": done" in (await admin.post("/actions/revoke-session", fields, page="/mail")).words()
    assert await sessions.load(token) is None
    again = await admin.post("/actions/revoke-session", fields, page="/mail")
    assert ": refused" in again.words()
