"""The other senders: how each is started, and what it took."""

import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from bench.mail_peers.content import SENDER, recipient
from bench.mail_peers.server import find_tool
from bench.queue_peers.install import NotInstalled, install_modules

_HERE = Path(__file__).parent
_PATIENCE = 300
_OCTETS = 6_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A program that sends mails and says in how many seconds.

    Attributes:
        share: of --mails, so that a slow one does not take minutes.
        argv: its command line; PORT, CONNECTIONS and COUNT stand for what they say.
    """

    name: str
    version: str
    share: float
    argv: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, port: int, connections: int, mails: int) -> dict[str, float]:
        """Send; mails a second, and CPU microseconds of the sender for each.

        Raises:
            RuntimeError: it failed; with its last line.
        """
        count = max(connections, round(mails * self.share))
        places = {"PORT": str(port), "CONNECTIONS": str(connections), "COUNT": str(count)}
        argv = [places.get(word, word).replace("PORT", str(port)) for word in self.argv]
        before = _cpu()
        ended = subprocess.run(  # noqa: S603  the command is ours
            argv, check=False, capture_output=True, text=True, timeout=_PATIENCE, env=self.environment or None
        )
        if ended.returncode:
            raise RuntimeError((ended.stderr.strip() or "it said nothing").splitlines()[-1])
        return {"rate": count / float(ended.stdout.split()[-1]), "cpu": (_cpu() - before) / count * 1e6}


def find_nodemailer() -> Sender:
    """The pool of nodemailer, by its interface: the MIME is always built.

    Raises:
        NotInstalled: with the reason.
    """
    modules = install_modules(_HERE / "nodemailer")
    argv = [modules.node, str(_HERE / "nodemailer" / "send.js"), "PORT", "CONNECTIONS", "COUNT"]
    return Sender(
        name="nodemailer pool", version=modules.version, share=0.2, argv=argv, environment=modules.environment
    )


def find_aiosmtplib(what: str) -> Sender:
    """A process with aiosmtplib; ``what`` is bytes or message."""
    script = ["-P", "-m", "bench.mail_peers.aiosmtplib_pool", "PORT", "CONNECTIONS", "COUNT", what]
    ready = what == "bytes"
    return Sender(
        name=f"aiosmtplib, {'ready bytes' if ready else 'EmailMessage'}",
        version=f"aiosmtplib {version('aiosmtplib')}",
        share=0.5 if ready else 0.1,
        argv=[sys.executable, *script],
        environment={"PYTHONPATH": str(_HERE.parents[1])},
    )


def find_smtp_source() -> Sender:
    """Postfix's own generator of load, in C: ready bytes, connections kept.

    Raises:
        NotInstalled: it is not on this machine.
    """
    tool = find_tool("smtp-source")
    if tool is None:
        raise NotInstalled("skipped: no smtp-source on this machine (it is Postfix's)")
    timed = "import subprocess, sys, time\nbegan = time.perf_counter()\nsubprocess.run(sys.argv[1:], check=True)\n"
    options = ["-d", "-s", "CONNECTIONS", "-m", "COUNT", "-l", str(_OCTETS), "-f", SENDER, "-t", recipient(0)]
    return Sender(
        name="smtp-source (C), ready bytes",
        version="Postfix",
        share=1,
        argv=[
            sys.executable,
            "-c",
            f"{timed}print(time.perf_counter() - began)",
            tool,
            *options,
            "127.0.0.1:PORT",
        ],
    )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
