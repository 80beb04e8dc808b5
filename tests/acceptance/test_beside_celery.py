"""Celery beside the installed client in one environment and one process, both on the newest redis-py."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.django_environment import CLIENT_NEEDS, pins
from tests.environments import client_site, environment

BOTH = """
import json, os, sys, threading
import redis
from celery import Celery
from momentus_client.jobs import Mail
from momentus_client.producers import SyncProducer

url = os.environ["SHOP_REDIS"]
shop = Celery("shop", broker=url, backend=url)

@shop.task(name="shop.add")
def add(one, other):
    return one + other

queued = add.apply_async((1, 2))
with SyncProducer.connect(url, budget=5) as producer:
    receipt = producer.send(Mail(to="ana@example.com", subject="Hola", text="Ya"))
server = redis.Redis.from_url(url)
(task,) = server.lrange("celery", 0, -1)
alone = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
worker = shop.Worker(pool="solo", loglevel="ERROR", **alone)
threading.Thread(target=worker.start, daemon=True).start()
said = json.dumps({
    "redis": redis.__version__,
    "task": json.loads(task)["headers"]["id"] == queued.id,
    "value": queued.get(timeout=30, disable_sync_subtasks=False),
    "mail": server.zscore("arq:queue:{mail}:mail.normal", receipt.id) is not None,
})
print(said, file=sys.__stdout__, flush=True)  # a worker of Celery takes sys.stdout for its log
os._exit(0)
"""


@pytest.mark.long
@pytest.mark.timeout(300)  # the first run makes the environment
def test_celery_and_the_client_both_send_on_the_newest_redis_py(tmp_path: Path, valkey_url: str) -> None:
    others = [one for one in pins(*CLIENT_NEEDS) if not one.startswith("redis==")]
    python = environment("celery", "celery[redis]==5.7.0", "redis==8.1.0", *others)
    done = subprocess.run(
        [python, "-c", BOTH],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(client_site(tmp_path / "wheel")),
            "SHOP_REDIS": valkey_url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"redis": "8.1.0", "task": True, "value": 3, "mail": True}
