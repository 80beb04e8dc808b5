"""Under what the figures were taken: without it they say nothing."""

import os
import subprocess
from importlib.metadata import version

from bench.mail_peers.content import html, text
from bench.mail_peers.ours import slots
from bench.mail_peers.server import find_tool
from bench.queue_peers.conditions import machine


def conditions(server: str, *, mails: int, rounds: int, load: float) -> str:
    """A few lines of Markdown.

    Args:
        load: the machine's load average just before: what else ran.
    """
    octets = f"{len(html(0).encode()):,} octets of HTML and {len(text(0).encode()):,} of text"
    at_once = f"{slots(1)}, {slots(10)}, {slots(50)} mails at a time on 1, 10, 50 connections"
    lines = [
        machine(),
        f"{os.cpu_count()} cores shared by all; load average before the run: {load:.2f}",
        f"{server} on loopback, append-only file synced each second; Postfix {_postfix()}'s smtp-sink, no TLS",
        f"{mails:,} mails of {octets} (the slower senders: a share of them)",
        f"ours: one worker process, uvloop {version('uvloop')}; {at_once}",
        f"rounds: {rounds}, each sender once a round; median (smallest-largest)",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _postfix() -> str:
    tool = find_tool("postconf")
    if tool is None:
        return "?"
    told = subprocess.run([tool, "-d", "-h", "mail_version"], check=False, capture_output=True, text=True)  # noqa: S603  found on PATH
    return told.stdout.strip()
