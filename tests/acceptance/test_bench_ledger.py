"""The short form of what `./run bench ledger` measures in minutes: it measures, and finds what is promised."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from bench.ledger_peers.peers import PEERS, measure_killed

MEASURE = Path(__file__).parents[2] / "bench/ledger_costs/measure.py"
LONGEST_REST = 60.0
"""Seconds; a lease is ten, and a test asserts no speed."""


async def measured(part: str, database: str, valkey_url: str, *, rows: int) -> dict[str, float]:
    program = [sys.executable, "-P", str(MEASURE), database, valkey_url, part, str(rows), "0", "0", "0"]
    environment = {**os.environ, "PYTHONPATH": str(MEASURE.parents[2])}
    process = await asyncio.create_subprocess_exec(*program, stdout=PIPE, env=environment)
    told, _ = await process.communicate()
    assert process.returncode == 0
    figures: dict[str, float] = json.loads(told)
    return figures


async def test_the_ledger_is_as_large_as_the_days_that_it_keeps_and_no_row_is_moved(
    database: str, valkey_url: str
) -> None:
    figures = await measured("size", database, valkey_url, rows=1000)
    assert figures["jobs"] == 1000
    assert figures["of these not HOT"] <= 0.05 * figures["rows updated"]
    assert figures["after day 10 / after day 5"] < 1.2
    assert figures["after all days were removed, MB"] < figures["after day 5, MB"]


@pytest.mark.long
async def test_jobs_of_a_killed_worker_begin_again_at_another(database: str, valkey_url: str) -> None:
    ours = [peer for peer in PEERS if not peer.requirements]
    figures = await measure_killed(database, valkey_url, ours, patience=LONGEST_REST)
    assert list(figures) == ["momentus, s"]
