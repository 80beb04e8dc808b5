"""One by one, in a process with the client's wheel and one redis-py: ``python send.py asyncio|threads MAILS``."""

import asyncio
import json
import os
import statistics
import sys
import time

from momentus_client.jobs import Mail
from momentus_client.producers import Producer, SyncProducer

Spent = tuple[list[float], float]
"""The seconds of each call, and the processor's seconds without those of the first tenth."""


def mail(number: int) -> Mail:
    """Return a mail of the shipped template."""
    values = {"task": f"Cierre mensual {number}", "due": "30 de noviembre"}
    return Mail(to=f"person.{number % 100}@example.com", template="task_assigned", values=values)


async def in_a_loop(mails: int, run: str) -> Spent:
    """Send with asyncio."""
    spent, cpu = [], 0.0
    async with Producer.connect(os.environ["BENCH_REDIS"], budget=5) as producer:
        for number in range(mails):
            if number == mails // 10:  # imports, templates and connections are paid once
                cpu = time.process_time()
            start = time.perf_counter()
            await producer.send(mail(number), key=f"task:{run}:{number}")
            spent.append(time.perf_counter() - start)
        return spent, time.process_time() - cpu


def in_a_thread(mails: int, run: str) -> Spent:
    """Send without asyncio."""
    spent, cpu = [], 0.0
    with SyncProducer.connect(os.environ["BENCH_REDIS"], budget=5) as producer:
        for number in range(mails):
            if number == mails // 10:  # imports, templates and connections are paid once
                cpu = time.process_time()
            start = time.perf_counter()
            producer.send(mail(number), key=f"task:{run}:{number}")
            spent.append(time.perf_counter() - start)
        return spent, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    place, mails, run = sys.argv[1], int(sys.argv[2]), f"{os.getpid()}:{time.time_ns()}"
    spent, cpu = asyncio.run(in_a_loop(mails, run)) if place == "asyncio" else in_a_thread(mails, run)
    later = spent[mails // 10 :]
    figures = {"p50_us": statistics.median(later), "cpu_us": cpu / len(later)}
    print(json.dumps({name: 1e6 * value for name, value in figures.items()} | {"first_ms": 1e3 * spent[0]}))


if __name__ == "__main__":
    main()
