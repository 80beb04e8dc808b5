"""Under what the figures were taken: without it they say nothing."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import orjson

from bench.queue_peers.contract import mail


def conditions(server: str, *, jobs: int, rounds: int, load: float) -> str:
    """A few lines of Markdown.

    Args:
        load: the machine's load average just before: what else ran.
    """
    lines = [
        machine(),
        f"{os.cpu_count()} cores shared by server, workers and producer; load average before the run: {load:.2f}",
        f"{server} on loopback, append-only file synced each second, emptied between measurements",
        f"{jobs:,} jobs of {len(orjson.dumps(mail(0)))} octets of JSON that only write down when they start",
        f"rounds: {rounds}, each library once a round; median (smallest-largest)",
        "every library with its defaults but for the number of jobs at a time, and on uvloop where it can be",
    ]
    return "\n".join(f"- {line}" for line in lines)


def machine() -> str:
    """When, on what processor, with which Python and Node."""
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{now}; {processor()}; Python {platform.python_version()}{node_version()}"


def processor() -> str:
    """Its name."""
    try:
        words = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in words.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def node_version() -> str:
    """Node's version, to be put at the end of a sentence; nothing where there is none."""
    node = shutil.which("node")
    if node is None:
        return ""
    told = subprocess.run([node, "--version"], check=False, capture_output=True, text=True)  # noqa: S603  found on PATH
    return f", Node {told.stdout.strip()}"
