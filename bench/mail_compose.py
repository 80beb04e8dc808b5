"""What a mail costs before it is sent: composing and queueing it, building its octets, and its place in Redis.

Run: ./run bench mail_compose [--mails 3000] [--json]

One process and a Valkey of its own, append-only file on, nothing else running: no worker takes what is queued.
The mail: the shipped template `task_assigned`, with a key; for the octets and the memory, ready parts of about
4 KiB of HTML and 1 KiB of text, and beside it the same parts built by Python's own `EmailMessage`.
"""

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from jobs import Mail
from jobs.mail.letter import LetterSender, write_letter
from local.demo.figures import percentile
from local.embedded.valkey import Valkey
from local.supervisor.supervisor import Supervisor
from producers import Producer
from producers.keys import LaneKeys

_WAITING = 1000
_JOB = "{mail}019a0b1c-0000-7000-8000-000000000000"
_SENDER = LetterSender("momentus@example.com", "Momentus")
_ROW = '<tr><td style="padding:8px">Cierre mensual de {n}</td><td><b>30 de noviembre</b></td></tr>\n'
_HTML = "<!doctype html>\n<table>\n" + "".join(_ROW.format(n=n) for n in range(45)) + "</table>\n"
_TEXT = "Mañana toca cerrar la tarea del mes, y ya está.\n" * 20
_READY = Mail(to="ana@example.com", subject="Reunión de cierre", text=_TEXT, html=_HTML)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=3000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="momentus-bench-"))
    scratch.chmod(0o711)  # a server that runs as another user must get in
    figures = asyncio.run(_measure(asked.mails, scratch))
    print(json.dumps(figures) if asked.json else _told(figures))


async def _measure(mails: int, scratch: Path) -> dict[str, Any]:
    valkey = Valkey.in_directory(scratch / "valkey", protected=False)
    async with (
        Supervisor([valkey.process()], scratch=scratch),
        Producer.connect(valkey.url, budget=5) as producer,
        Redis.from_url(valkey.url) as redis,
    ):
        return {
            "python": platform.python_version(),
            "compose_us": _each(lambda n: _templated(n).compose(job_id=_JOB, now=datetime.now(UTC)), mails),
            "compose_and_enqueue_us": await _each_call(
                lambda n: producer.send(_templated(n), key=f"task:{n}"), mails
            ),
            "octets": _octets(mails),
            "memory": await _memory(producer, redis),
        }


def _templated(number: int) -> Mail:
    values = {"task": f"Cierre mensual {number}", "due": "30 de noviembre"}
    return Mail(to=f"person.{number}@example.com", template="task_assigned", values=values)


def _octets(mails: int) -> dict[str, Any]:
    frozen = _READY.compose(job_id=_JOB, now=datetime.now(UTC))
    octets = write_letter(frozen, default_sender=_SENDER).content
    message = message_from_bytes(octets, policy=policy.default)
    same = all(write_letter(frozen, default_sender=_SENDER).content == octets for _ in range(10))
    return {
        "html_and_text_octets": len(_HTML.encode()) + len(_TEXT.encode()),
        "write_letter_us": _each(lambda _: write_letter(frozen, default_sender=_SENDER), mails),
        "email_message_us": _each(lambda _: _by_email_message(), min(mails, 300)),
        "same_each_time": same,
        "read_back_by_email": str(message["Subject"]) == _READY.subject,
    }


def _by_email_message() -> bytes:
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["To"], message["Subject"] = _SENDER.address, _READY.to, _READY.subject
    message.set_content(_TEXT)
    message.add_alternative(_HTML, subtype="html")
    return message.as_bytes()


async def _memory(producer: Producer, redis: Any) -> dict[str, Any]:  # noqa: ANN401  redis-py types both clients at once
    """What a waiting mail with a key takes, by the server's own count: payload, its share of the queue, key."""
    await redis.flushall()
    mails = [replace(_READY, to=f"person.{n}@example.com") for n in range(_WAITING)]
    receipts = await producer.send_many(mails, keys=[f"task:{n}:assigned" for n in range(_WAITING)])
    job = f"arq:job:{receipts[0].id}"
    unique = await anext(redis.scan_iter("momentus:{mail}:unique:*"))
    taken = {
        "payload": await redis.memory_usage(job),
        "queue": round(await redis.memory_usage(LaneKeys("mail.normal").queue, samples=0) / _WAITING),
        "key": await redis.memory_usage(unique),
    }
    content = len(_HTML.encode()) + len(_TEXT.encode())
    return {
        "content_octets": content,
        "payload_octets": await redis.strlen(job),
        "octets_of_redis": taken,
        "times_content": round(sum(taken.values()) / content, 3),
    }


def _each(call: Callable[[int], object], times: int) -> dict[str, float]:
    spent = []
    for number in range(times):
        start = time.perf_counter()
        call(number)
        spent.append(time.perf_counter() - start)
    return _figures(spent)


async def _each_call(call: Callable[[int], Awaitable[object]], times: int) -> dict[str, float]:
    spent = []
    for number in range(times):
        start = time.perf_counter()
        await call(number)
        spent.append(time.perf_counter() - start)
    return _figures(spent)


def _figures(spent: list[float]) -> dict[str, float]:
    """Microseconds, without the first tenth: imports, templates and connections are paid once."""
    later = [1e6 * one for one in spent[len(spent) // 10 :]]
    return {"p50": round(statistics.median(later), 1), "p99": round(percentile(later, 0.99), 1)}


def _told(figures: dict[str, Any]) -> str:
    octets, memory = figures["octets"], figures["memory"]
    rows = [
        ("compose a templated mail", figures["compose_us"]),
        ("compose and enqueue it", figures["compose_and_enqueue_us"]),
        (f"build {octets['html_and_text_octets']} octets of HTML and text", octets["write_letter_us"]),
        ("the same by EmailMessage", octets["email_message_us"]),
    ]
    lines = [f"{name:45} p50 {each['p50']:8.1f} us   p99 {each['p99']:8.1f} us" for name, each in rows]
    lines.append(
        f"a waiting mail of {memory['content_octets']} octets: {memory['times_content']} times its content "
        f"in Redis, {memory['octets_of_redis']}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
