"""Tracing by a worker's setting: what its process loads, where its spans go, and what its jobs see of it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from jobs import NamedJob
from producers import JobResult, Producer, Receipt
from tests.own_worker import FOLDER, of_module, working
from tests.spans import Spans, id_of, recorded_spans, trace_of
from tests.support import eventually
from worker import tracing
from worker.tracing_sdk import TracingUnavailable, set_up_tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def started(url: str, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """A worker for the kinds of `shop.traced`."""
    environment = {
        **os.environ,
        "MOMENTUS_REDIS_URL": url,
        "MOMENTUS_WORKER__JOBS": "shop.traced",
        "MOMENTUS_WORKER__JOBS_FOLDER": str(FOLDER),
        **settings,
    }
    command = [sys.executable, "-m", "worker"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


async def told(producer: Producer, receipt: Receipt) -> JobResult:
    async def result() -> JobResult | None:
        found = await producer.result(receipt.id)
        return None if found.state in {"pending", "unknown"} else found

    found: JobResult | None = await eventually(result, timeout=40)
    assert found is not None
    return found


async def sent_in_a_trace(producer: Producer, redis: Redis) -> Receipt:
    """A job whose sender was in a trace."""
    receipt = await producer.send(NamedJob("trace.loop", {}))
    payload = orjson.loads(await redis.get(f"arq:job:{receipt.id}"))
    await redis.set(f"arq:job:{receipt.id}", orjson.dumps(payload | {"tp": PARENT}))
    return receipt


async def test_a_worker_that_does_not_trace_loads_nothing_of_opentelemetry(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    receipt = await sent_in_a_trace(producer, redis)
    with started(valkey_url):
        assert (await told(producer, receipt)).value == {"loaded": False, "trace": ""}


async def test_a_worker_that_traces_sends_what_is_left_before_it_ends(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    receipt = await sent_in_a_trace(producer, redis)
    with started(valkey_url, MOMENTUS_WORKER__TRACING="on", OTEL_TRACES_EXPORTER="console") as process:
        assert (await told(producer, receipt)).value == {"loaded": True, "trace": PARENT[3:35]}
        process.terminate()
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    span, settled = _objects(out)
    assert (span["name"], span["parent_id"]) == ("process jobs", "0x" + PARENT[36:52])
    assert (settled["name"], settled["parent_id"]) == ("settle jobs", span["context"]["span_id"])
    assert span["resource"]["attributes"]["service.name"] == "momentus-worker"


def _objects(text: str) -> list[Mapping[str, Any]]:
    return [orjson.loads(one) for one in re.findall(r"^\{.*?^\}", text, re.MULTILINE | re.DOTALL)]


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recorded_spans() as recorded:
        yield recorded


@pytest.mark.parametrize("kind", ["trace.loop", "trace.thread"])
async def test_an_own_job_sees_the_trace_of_its_attempt(
    valkey_url: str, producer: Producer, spans: Spans, kind: str
) -> None:
    async with working(valkey_url, of_module("shop.traced")):
        result = await told(producer, await producer.send(NamedJob(kind, {})))
    assert result.value == {"loaded": True, "trace": f"{trace_of(spans.only('send')):032x}"}


async def test_an_own_job_in_a_child_process_sees_the_trace_too(
    valkey_url: str, producer: Producer, spans: Spans
) -> None:
    async with working(valkey_url, of_module("shop.traced_child")):
        result = await told(producer, await producer.send(NamedJob("trace.process", {})))
    assert result.value == f"{trace_of(spans.only('send')):032x}"
    assert id_of(spans.only("send")) != id_of(spans.only("process"))


def test_an_exporter_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    with pytest.raises(TracingUnavailable, match=r"otlp_proto_http is not installed.*opentelemetry-exporter-otlp"):
        set_up_tracing("on")
    assert not tracing.is_on()


def test_an_sdk_that_is_missing_is_named_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(TracingUnavailable, match=r"MOMENTUS_WORKER__TRACING: .* install opentelemetry-sdk"):
        set_up_tracing("on")


def test_a_provider_that_somebody_has_set_up_is_used_by_itself(spans: Spans) -> None:
    tracing.use_provider(None)
    set_up_tracing("off")
    assert not tracing.is_on()
    set_up_tracing("auto")
    assert tracing.is_on()
    assert tracing.find_provider() is spans.provider
