"""A backend that installs the client wheel and has its own `jobs`, `worker` and `settings`.

Called with the URL of a Redis, it hands over one mail and prints what it got and whose modules it saw.
"""

import asyncio
import json
import sys

import momentus_client
from momentus_client.jobs import Mail
from momentus_client.producers import Producer

import jobs
import settings
import worker


async def assign_task(url: str) -> str:
    """Tell somebody about their task; the id of the mail."""
    mail = Mail(
        to="someone@example.com",
        template="task_assigned",
        values={"task": "Cierre mensual", "due": "2026-11-30"},
    )
    async with Producer.connect(url, budget=10) as producer:
        receipt = await producer.send(mail, key="task:42:assigned:7")
    return receipt.id


answer = {
    "id": asyncio.run(assign_task(sys.argv[1])),
    "own": [jobs.OPEN_POSITIONS, settings.COMPANY, worker.NAME],
    "client": momentus_client.__path__[0],
}
sys.stdout.write(json.dumps(answer))
