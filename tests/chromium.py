"""A real Chromium without a window, told what to do by its DevTools protocol; skipped where there is none.

Tests share one browser; each has a tab of its own, with its own cookies and storage.
"""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.support import eventually

REPLY_S = 30
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-extensions", "--no-first-run"),
)
_PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")
"""The one without the parts of a window comes first: it takes half the processor time."""
KEYS = {"Tab": 9, "Enter": 13, "Space": 32}


class DevToolsError(Exception):
    """The browser refused a command, or a script in the page failed."""


class Chromium:
    """The process, and the pipe to it; a thread reads what it says."""

    def __init__(self, program: str, profile: str) -> None:
        ours, theirs = os.pipe(), os.pipe()
        command = f'exec "$0" "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        self._process = subprocess.Popen(
            [
                *("/bin/bash", "-c", command, program, *FLAGS, "--remote-debugging-pipe"),
                *(f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._input, self._output = ours[1], theirs[0]
        self._lock = threading.Condition()
        self._number = 0
        self._replies: dict[int, dict[str, Any]] = {}
        self.listeners: dict[str, Callable[[str, dict[str, Any]], None]] = {}
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        with self._lock:
            self._number += 1
            number = self._number
        message = {"id": number, "method": method, "params": parameters}
        os.write(self._input, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        with self._lock:
            if not self._lock.wait_for(lambda: number in self._replies, REPLY_S):
                raise DevToolsError(f"{method}: no reply within {REPLY_S} s")
            reply = self._replies.pop(number)
        if "error" in reply:
            raise DevToolsError(f"{method}: {reply['error']['message']}")
        return dict(reply["result"])

    def close(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reading.join(REPLY_S)
        os.close(self._input)
        os.close(self._output)

    def _read(self) -> None:
        rest = b""
        while part := os.read(self._output, 1 << 16):
            *messages, rest = (rest + part).split(b"\0")
            for message in map(json.loads, messages):
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            with self._lock:
                self._replies[message["id"]] = message
                self._lock.notify_all()
        elif listener := self.listeners.get(message.get("sessionId", "")):
            listener(message["method"], message["params"])


class Tab:
    """One page.

    Attributes:
        faults: what the console has of violations of the policy, of errors and of exceptions.
        requests: addresses that it has requested, in their order.
        answered: those of the latest page that have got the head of a response.
    """

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.answered: list[str] = []
        browser.listeners[session] = self._hear

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command to the page."""
        return await asyncio.to_thread(self._browser.call, method, self._session, **parameters)

    async def open(self, address: str) -> None:
        """Go to an address."""
        self.answered = []
        await self.call("Page.navigate", url=address)

    async def is_answered(self, path: str) -> None:
        """Wait until a request of the page for this path has got its response, or the beginning of it."""
        await eventually(lambda: [one for one in self.answered if path in one], timeout=20)

    async def speaks(self, *languages: str, zone: str = "America/Santiago") -> None:
        """Set the languages that the user prefers, and the time zone."""
        agent = (await self.call("Browser.getVersion"))["userAgent"]
        await self.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=",".join(languages))
        await self.call("Emulation.setTimezoneOverride", timezoneId=zone)

    async def size(self, width: int, height: int = 900) -> None:
        """Set the size of the window."""
        sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **sizes)

    async def scheme(self, scheme: str) -> None:
        """Prefer `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.call("Emulation.setEmulatedMedia", features=[feature])

    async def evaluate(self, script: str) -> Any:
        """Return the value of an expression in the page; of a promise, its result."""
        parameters = {"expression": script, "awaitPromise": True, "returnByValue": True}
        result = await self.call("Runtime.evaluate", **parameters)
        if "exceptionDetails" in result:
            raise DevToolsError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def text(self, selector: str) -> str:
        """Return the text of the first element of a selector; empty if there is none."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def shows(self, script: str) -> Any:
        """Wait until an expression is true in the page, and return it; else say what the page shows instead."""
        try:
            return await eventually(lambda: self._try(script), timeout=20)
        except AssertionError:
            shown = await self.text("body")
            raise AssertionError(f"never true: {script}\n{self.faults}\n{shown}") from None

    async def _try(self, script: str) -> Any:
        with suppress(DevToolsError):  # between two pages
            return await self.evaluate(script)
        return None

    async def press(self, key: str, *, back: bool = False) -> None:
        """Press a key, with Shift if `back`."""
        common = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        common |= {"modifiers": 8 if back else 0}
        text = {"text": {"Enter": "\r", "Space": " "}[key]} if key != "Tab" else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def screenshot(self) -> bytes:
        """Return what is to be seen, as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])

    def _hear(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Network.responseReceived":
            self.answered.append(parameters["response"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.faults.append(str(parameters["exceptionDetails"].get("exception", parameters)))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning", "assert"}:
            self.faults.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["source"] != "network":  # statuses are no faults
            self.faults.append(str(parameters["entry"]))


def find_chromium() -> str:
    """The program; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    return found or pytest.skip("no Chromium on this machine")


@contextmanager
def chromium() -> Iterator[Chromium]:
    """A browser for some tests."""
    program = find_chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Chromium(program, profile)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(browser: Chromium) -> Iterator[Tab]:
    """A tab with its own cookies; at its end no fault may be in its console."""
    context = browser.call("Target.createBrowserContext")["browserContextId"]
    target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    one = Tab(browser, session)
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.call(f"{domain}.enable", session)
    yield one
    browser.listeners.pop(session)
    browser.call("Target.disposeBrowserContext", browserContextId=context)
    assert not one.faults, one.faults
