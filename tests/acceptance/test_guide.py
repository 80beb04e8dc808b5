"""The guide for newcomers, typed in as it stands: every program runs, every command prints what the page says.

The ordinary run does it in this process, against a shared Valkey, without what needs a whole installation. The
long one starts `./run up` and types everything into a shell.
"""

import asyncio
import contextlib
import io
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from local.embedded.ports import free_port
from ops.depth.read import read_depth
from tests.command_line import run_ops
from tests.environments import unpack_wheel
from tests.guide import Program, Step, read_guide
from tests.own_worker import working
from tests.support import eventually, scratch_directory
from worker.engine import LaneSlots
from worker.own_jobs import client_alias
from worker.own_jobs.load import load_jobs

ROOT = Path(__file__).resolve().parents[2]
GUIDES = {"en": (ROOT / "docs/guide.md", "C.UTF-8"), "es": (ROOT / "docs/es/guide.md", "es_ES.UTF-8")}
GUIDES = {language: guide for language, guide in GUIDES.items() if guide[0].exists()}
LANE = "jobs.invoices"
VARIABLE = re.compile(r"(?P<name>[A-Z]+)=\$\((?P<command>.+?)( \| (cut -d ' ' -f|head -n) 1)?\)")
PROGRAM = re.compile(r"~/shop/venv/bin/python ~/shop/(\w+\.py)")
WHOLE_INSTALLATION = re.compile(
    r"./run up|mkdir -p ~/shop|python3 -m venv|export |curl |./run ops (mail trace|depth|doctor|sessions token)"
    r"|\w+=\$\(./run ops sessions token"
)
"""Steps that need more than a Redis."""


# In this process


class Reader:
    """A reader of the guide in this process.

    Args:
        url: of the Redis that the programs use.
        shop: the folder of the programs.
    """

    def __init__(self, url: str, redis: Redis, shop: Path) -> None:
        self._url, self._redis, self._shop = url, redis, shop
        self._variables: dict[str, str] = {}
        self._has_worker = False

    def save(self, program: Program) -> None:
        """Save a file."""
        (self._shop / program.name).write_text(program.text, encoding="utf-8")

    async def type(self, step: Step) -> str:
        """Run a command; return what it prints."""
        if "./run worker" in step.command:
            self._has_worker = True
            await self._work()
            return ""
        if assigned := VARIABLE.fullmatch(step.command):
            self._variables[assigned["name"]] = (await self._run(assigned["command"])).split()[0]
            return ""
        return await self._run(step.command)

    async def _run(self, command: str) -> str:
        words = [self._variables.get(word.removeprefix("$"), word) for word in shlex.split(command)]
        if words[:2] == ["./run", "ops"]:
            _, printed, err = await run_ops(*words[2:], REDIS_URL=self._url)
            assert not err
        else:
            assert PROGRAM.match(command), command
            printed = await asyncio.to_thread(self._run_program, Path(words[1]).name, words[2:])
        if self._has_worker and not await self._is_idle():
            await self._work()
        return printed

    def _run_program(self, name: str, arguments: list[str]) -> str:
        printed, before = io.StringIO(), sys.argv
        sys.argv = [name, *arguments]
        try:
            with contextlib.redirect_stdout(printed):
                runpy.run_path(str(self._shop / name), run_name="__main__")
        finally:
            sys.argv = before
        return printed.getvalue()

    async def _work(self) -> None:
        """Let a worker do what waits."""
        own = load_jobs("invoices", self._shop)
        async with working(self._url, own, lanes=[LaneSlots(LANE, 4)], children=0):
            await eventually(self._is_idle)

    async def _is_idle(self) -> bool:
        lane = (await read_depth(self._redis, tenant="default")).lane(LANE)
        return lane is None or not lane.ready + lane.leased


@pytest.fixture
async def reader(
    valkey_url: str, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Reader]:
    client_alias.install_alias()
    monkeypatch.setenv("MOMENTUS_REDIS_URL", valkey_url)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Reader(valkey_url, redis, tmp_path)
    sys.modules.pop("invoices", None)


@pytest.mark.parametrize("language", GUIDES)
async def test_every_program_and_command_does_what_the_guide_says(
    reader: Reader, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, locale = GUIDES[language]
    monkeypatch.setenv("LC_ALL", locale)
    done = 0
    for one in read_guide(page):
        if isinstance(one, Program):
            reader.save(one)
        elif not WHOLE_INSTALLATION.match(one.command):
            printed = await reader.type(one)
            assert one.agrees(printed), f"{one.command}\nprints:\n{printed}"
            done += 1
    assert done > 15


# A whole installation, in a shell


class Shell:
    """A shell of a newcomer, with an installation of its own.

    Args:
        home: the home folder, which also has the data.
    """

    def __init__(self, home: Path, locale: str) -> None:
        self._home = home
        self._ports = {"8710": free_port(), "8720": free_port(), "8725": free_port(), "8730": free_port()}
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LC_ALL": locale,
            "MOMENTUS_DATA_DIR": str(home / "data"),
            "MOMENTUS_READER__PORT": str(self._ports["8710"]),
            "MOMENTUS_CONSOLE__PORT": str(self._ports["8720"]),
            "MOMENTUS_SINK__SMTP_PORT": str(self._ports["8725"]),
            "MOMENTUS_SINK__HTTP_PORT": str(self._ports["8730"]),
        }
        self._started: list[subprocess.Popen[bytes]] = []
        self._up = home / "up.log"

    def save(self, program: Program) -> None:
        """Save a file."""
        (self._home / "shop" / program.name).write_text(program.text, encoding="utf-8")

    async def type(self, step: Step) -> None:
        """Run a command until it has printed what the guide says."""
        if "./run up" in step.command or "./run worker" in step.command:
            log = self._up if "./run up" in step.command else self._home / "worker.log"
            self._start(step.command, log)
            if step.output:
                await self._until(step, log.read_text, timeout=120)
        elif step.command.startswith("export MOMENTUS_REDIS_URL="):
            found = re.findall(r"export MOMENTUS_REDIS_URL=(\S+)", self._up.read_text())
            self._environment["MOMENTUS_REDIS_URL"] = found[0]
        elif step.command.startswith("python3 -m venv"):
            self._install()
        elif assigned := VARIABLE.fullmatch(step.command):
            line = f"{step.command}; printf %s ${assigned['name']}"
            self._environment[assigned["name"]] = self._run(line)
        else:
            await self._repeat(step)

    async def _repeat(self, step: Step) -> None:
        """Repeat a command until it prints what the guide says; what changes something is not repeated."""
        changes = re.search(r"ops (edit|revive|sessions revoke)", step.command)
        await self._until(step, lambda: self._run(step.command), timeout=0 if changes else 30)

    async def _until(self, step: Step, read: Callable[[], str], *, timeout: float) -> None:  # noqa: ASYNC109
        printed = ""

        async def agrees() -> bool:
            nonlocal printed
            printed = await asyncio.to_thread(read)
            return step.agrees(printed)

        try:
            await eventually(agrees, timeout=timeout, every=0.2)
        except AssertionError as error:
            raise AssertionError(f"{step.command}\nprints:\n{printed}\n{self._errors()}") from error

    def _errors(self) -> str:
        return "".join(file.read_text()[-2000:] for file in self._home.glob("*.err"))

    def _run(self, line: str) -> str:
        for port, ours in self._ports.items():
            line = line.replace(f":{port}/", f":{ours}/")
        done = subprocess.run(
            ["/bin/sh", "-c", line], cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False
        )
        (self._home / "last.err").write_text(done.stderr)
        return done.stdout

    def _start(self, line: str, log: Path) -> None:
        with log.open("w") as output, log.with_suffix(".err").open("w") as errors:
            self._started.append(
                subprocess.Popen(
                    ["/bin/sh", "-c", f"exec env {line}"],
                    cwd=ROOT,
                    env=self._environment,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,
                )
            )

    def _install(self) -> None:
        """Install the wheel as pip would, beside the packages that are here already."""
        (wheel,) = (self._home / "shop").glob("momentus_client-*.whl")
        site = unpack_wheel(wheel, self._home / "site")
        python = self._home / "shop/venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{site}" exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)

    def close(self) -> None:
        """End what was started, as Ctrl-C does."""
        for process in reversed(self._started):
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@pytest.fixture
def home() -> Iterator[Path]:
    with scratch_directory() as scratch:
        (scratch / "shop").mkdir()
        yield scratch


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", GUIDES)
async def test_the_guide_leads_a_newcomer_from_nothing_to_the_end(home: Path, language: str) -> None:
    page, locale = GUIDES[language]
    shell = Shell(home, locale)
    try:
        for one in read_guide(page):
            if isinstance(one, Program):
                shell.save(one)
            else:
                await shell.type(one)
    finally:
        shell.close()
