"""A console as its users meet it: a process, asked over HTTP."""

import asyncio
import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Reply:
    """A response; of several headers with one name the last."""

    status: int
    headers: dict[str, str]
    text: str

    def form_token(self) -> str:
        """What the forms of this page carry."""
        found = re.search(r'name="form" value="([0-9a-f]+)"', self.text)
        assert found, self.text
        return found[1]

    def words(self) -> str:
        """The text of the page, without its tags."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.text)).split())


@dataclass(frozen=True, slots=True)
class Running:
    """A started console."""

    process: subprocess.Popen[str]
    port: int

    async def get(self, path: str = "/", method: str = "GET", **headers: str) -> Reply:
        """Ask for a page; a `_` in a header's name stands for a hyphen."""
        return await asyncio.to_thread(self._blocking, path, method, headers, b"")

    async def send(self, path: str, body: bytes, **headers: str) -> Reply:
        """Send a form as it is."""
        return await asyncio.to_thread(self._blocking, path, "POST", headers, body)

    async def post(self, path: str, fields: Mapping[str, str], *, page: str = "/", **headers: str) -> Reply:
        """Send the form of a page, as a browser does, and return what follows on the redirect."""
        token = (await self.get(page, **headers)).form_token()
        reply = await self.send(path, urlencode({"form": token, **fields}).encode(), **headers)
        return await self.get(reply.headers["location"], **headers) if reply.status == 303 else reply

    def _blocking(self, path: str, method: str, headers: dict[str, str], body: bytes) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            names = {name.replace("_", "-"): it for name, it in headers.items()}
            connection.request(method, path, body=body or None, headers=names)
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, fields, response.read().decode())
        finally:
            connection.close()

    def stop(self) -> tuple[int, str]:
        """SIGTERM; the exit code and what was logged since the start."""
        self.process.send_signal(signal.SIGTERM)
        _, logged = self.process.communicate(timeout=30)
        return self.process.returncode, logged


def start(**variables: str) -> subprocess.Popen[str]:
    """Start a console; nothing else is set."""
    return subprocess.Popen(
        [sys.executable, "-m", "ops", "console"],
        cwd=ROOT,
        env={f"MOMENTUS_{name}": value for name, value in variables.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(url: str, **variables: str) -> Iterator[Running]:
    """A console that must end well, without having logged a fault."""
    process = start(REDIS_URL=url, CONSOLE__PORT="0", **variables)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert first.startswith("{"), first + process.stderr.read()
    console = Running(process, json.loads(first)["port"])
    try:
        yield console
    finally:
        code, logged = console.stop()
    assert (code, "Traceback" in logged) == (0, False), logged
