"""One `send` after the other at level ``redis``; a program: ``python level_redis.py URL MAILS``.

It sends by the checkout that PYTHONPATH names, and prints its figures as JSON.
"""

import json
import sys
import time
from statistics import median

import uvloop

from jobs import Mail
from producers import Producer

_WARM = 200
_TEXT = "Ha recibido una tarea nueva. " * 26


async def _send(url: str, mails: int) -> dict[str, float]:
    spent: list[float] = []
    cpu = 0.0
    async with Producer.connect(url, budget=5) as producer:
        for number in range(-_WARM, mails):
            if number == 0:
                spent, cpu = [], time.process_time()
            asked = Mail(to=f"ana{number}@example.com", subject=f"Tarea {number}", text=_TEXT)
            began = time.perf_counter()
            await producer.send(asked)
            spent.append(time.perf_counter() - began)
    return {"p50, ms": median(spent) * 1e3, "client, us": (time.process_time() - cpu) * 1e6 / mails}


print(json.dumps(uvloop.run(_send(sys.argv[1], int(sys.argv[2])))))
