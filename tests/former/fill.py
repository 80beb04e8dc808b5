"""Fill a Redis with a build of before the rooms were moved, and write all of it to a file: stored.json.

    git worktree add --detach ../former 90253a7
    valkey-server --port 6390 --save '' &
    PYTHONPATH=../former python -P tests/former/fill.py redis://127.0.0.1:6390 tests/former/stored.json

Everything in it is invented. The rooms are those of that build, so they are imported by name.
"""

import asyncio
import base64
import json
import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

HOUR = timedelta(hours=1)
LEASES = ("momentus:{mail}:leases:mail.bulk", "momentus:{reports}:leases:reports")


async def jobs(url: str) -> dict[str, str]:
    """Mails that wait, failed once, died, are held, have a limit, a key or a digest; two refreshes."""
    rooms, producers = import_module("jobs"), import_module("producers")
    suppression, link = import_module("producers.suppression"), import_module("producers.link").Link(url)
    mail = {"subject": "Hola", "text": "Buenos días"}
    async with producers.Producer.connect(url, budget=5) as producer:
        dead = await producer.send(rooms.Mail(to="dead@example.com", **mail))
        again = await producer.send(rooms.Mail(to="again@example.com", **mail))
        await work(url)
        await producer.send(rooms.Mail(to="plain@example.com", **mail))
        keyed = await producer.send(rooms.Mail(to="keyed@example.com", **mail), key="order-1")
        await producer.send(rooms.Mail(to="later@example.com", **mail), delay=timedelta(seconds=2))
        far = await producer.send(rooms.Mail(to="far@example.com", **mail), delay=HOUR)
        await producer.send(rooms.Mail(to="limited@example.com", **mail), limit="customer:42")
        await producer.send(rooms.Mail(to="blocked@example.com", **mail))
        item = rooms.Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"})
        window = timedelta(seconds=1)
        for _ in range(2):
            await producer.send_digest(
                rooms.Digest(mail=item, collapse="tasks:7", template="tasks_assigned", window=window)
            )
        await producer.send(rooms.Mail(to="held@example.com", urgency="bulk", **mail))
        await producer.refresh("general", scope=1)
        await hold(url)
        await producer.refresh("general", scope=4)
    await suppression.suppress(link.call, "blocked@example.com", "unsubscribed", scope="all", by="web")
    await link.close()
    return {"dead": dead.id, "again": again.id, "keyed": keyed.id, "far": far.id}


async def work(url: str) -> None:
    """Run a worker of that build until one job is dead and another waits for its next attempt."""
    engine, handler = import_module("worker.engine"), import_module("worker.engine.handler").handler
    ended: list[str] = []

    async def fail(_context: dict[str, object], **mail: Any) -> None:
        ended.append(mail["to"])
        if mail["to"].startswith("dead"):
            raise engine.GiveUp("550 no such user")
        raise engine.TryLater("451 try later", after=timedelta(seconds=3))

    worker = engine.Worker(
        [handler(fail, kind="mail.send")],
        redis_url=url,
        lanes=[engine.LaneSlots("mail.normal", 5)],
        limits=[engine.Limit("customer:42", concurrency=1)],
        handle_signals=False,
    )
    async with import_module("tests.notes").running(worker), Redis.from_url(url) as redis:
        while await redis.zcard("momentus:{mail}:leases:mail.normal") or len(ended) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def hold(url: str) -> None:
    """Let a worker be killed that runs a bulk mail and a refresh."""
    worker = await asyncio.create_subprocess_exec(sys.executable, "-P", __file__, "hold", url)
    async with Redis.from_url(url) as redis:
        while not all([await redis.zcard(key) for key in LEASES]):  # noqa: ASYNC110  another process
            await asyncio.sleep(0.01)
    worker.kill()
    await worker.wait()


async def held(url: str) -> None:
    """Be that worker; its leases lapse soon."""
    engine, handler = import_module("worker.engine"), import_module("worker.engine.handler").handler

    async def never_end(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    worker = engine.Worker(
        [handler(never_end, kind=kind) for kind in ("mail.send", "report.refresh")],
        redis_url=url,
        lanes=[engine.LaneSlots("mail.bulk", 1), engine.LaneSlots("reports", 1)],
        lease=timedelta(seconds=2),
        renew_every=timedelta(milliseconds=500),
    )
    await worker.async_run()


async def sessions(url: str) -> dict[str, str]:
    """A session, one that was rotated, the token of a service, and a user whose sessions were all ended."""
    connected = import_module("sessions").Sessions.connect(url, deadline=timedelta(seconds=5))
    plain, _ = await connected.create("u-17", {"roots": [1, 4], "name": "Ana"})
    old, _ = await connected.create("u-18", {"roots": [4]})
    rotated = await connected.rotate(old)
    service, _ = await connected.create_service("wallboard", [4], lasts=timedelta(days=90))
    ended, _ = await connected.create("u-19", {"roots": [1]})
    await connected.revoke_user("u-19")
    await connected.close()
    return {"plain": plain, "rotated": rotated[0], "service": service, "ended": ended}


async def report(url: str) -> None:
    """A stored report of two nodes, of which one is long enough to be compressed."""
    documents, store = import_module("worker.reports.document"), import_module("worker.reports.store")
    at, new = datetime.now(UTC), {}
    for scope, path in ((1, [1]), (4, [1, 4])):
        data = {"number": scope, "filling": "x" * 900}
        body = json.dumps({"scope": scope, "as_of": documents.stamp(at), "data": data}).encode()
        head = {"etag": f"{scope:016x}", "path": path, "as_of_us": documents.microseconds(at)}
        new[scope] = documents.Document(f"{scope:016x}", body, json.dumps(head).encode())
    now = documents.microseconds(at)
    limits = {"valid_until_us": None, "soft_ms": 600_000, "hard_ms": 3_600_000, "cost_ms": 1.0}
    meta = {"as_of_us": now, "verified_us": now, **limits, "scopes": len(new), "snapshot": "1:1:"}
    async with Redis.from_url(url) as redis:
        reports = store.ReportStore(redis, tenant="default")
        former = await reports.stored("general")
        ready = store.NewSet(report="general", as_of=at, documents=new, meta=meta)
        await reports.publish(ready, former, store.difference(former, new))


async def read(url: str, notes: dict[str, str]) -> str:
    """Return every key with its type, time to live and content, and when that was."""
    async with Redis.from_url(url) as redis:
        seconds, microseconds = await redis.time()
        keys = [await _entry(redis, key) for key in sorted([key.decode() async for key in redis.scan_iter()])]
    at_ms = int(seconds) * 1000 + int(microseconds) // 1000
    return json.dumps({"at_ms": at_ms, "notes": notes, "keys": keys}, indent=1, ensure_ascii=False)


async def _entry(redis: Redis, key: str) -> dict[str, Any]:
    kind, life = (await redis.type(key)).decode(), await redis.pttl(key)
    if kind == "string":
        content: Any = _text(await redis.get(key))
    elif kind == "hash":
        content = {name.decode(): _text(value) for name, value in (await redis.hgetall(key)).items()}
    elif kind == "zset":
        content = {name.decode(): score for name, score in await redis.zrange(key, 0, -1, withscores=True)}
    elif kind == "set":
        content = sorted(name.decode() for name in await redis.smembers(key))
    else:
        content = [_text(value) for value in await redis.lrange(key, 0, -1)]
    return {"key": key, "type": kind, "ttl_ms": life, "content": content}


def _text(value: bytes) -> str | dict[str, str]:
    """Return the text, or octets that are none in base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


async def main(url: str) -> str:
    """Fill an empty Redis and return what is in it."""
    notes = await jobs(url) | await sessions(url)
    await report(url)
    return await read(url, notes)


if __name__ == "__main__" and sys.argv[1] == "hold":
    asyncio.run(held(sys.argv[2]))
elif __name__ == "__main__":
    Path(sys.argv[2]).write_text(f"{asyncio.run(main(sys.argv[1]))}\n", encoding="utf-8")
