"""`./run demo` and `./run up` as people start them: real processes, from nothing to nothing."""

import asyncio
import os
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from tests.command_line import refused_installation, run_ops
from tests.support import eventually

ROOT = Path(__file__).parents[2]
_LOCAL = {"demo", "up"}


@asynccontextmanager
async def started(folder: Path, *words: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "local", *words),
        cwd=ROOT,
        env={**os.environ, "MOMENTUS_DATA_DIR": str(folder), **settings},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def answer(folder: Path, *words: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of a process."""
    async with started(folder, *words, **settings) as process:
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()


async def refusal(folder: Path, *words: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of a command that is refused before it starts a process, in this one."""
    run = refused_installation if words[0] in _LOCAL else run_ops
    named = {name.removeprefix("MOMENTUS_"): value for name, value in settings.items()}
    return await run(*words, DATA_DIR=str(folder), **named)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory that a server under another user can enter."""
    for path in (tmp_path, *tmp_path.parents):
        if path.owner() == Path.home().owner() and path.is_relative_to("/tmp"):  # noqa: S108  where pytest keeps it
            path.chmod(0o755)
    return tmp_path


FREE_PORTS = {
    "MOMENTUS_READER__PORT": "0",
    "MOMENTUS_CONSOLE__PORT": "0",
    "MOMENTUS_SINK__SMTP_PORT": "0",
    "MOMENTUS_SINK__HTTP_PORT": "0",
}


@pytest.mark.timeout(120)
async def test_the_demo_told_once_ends_with_one_json_object_of_measured_figures(tmp_path: Path) -> None:
    words = ("demo", "--once", "--json", "--scale", "0.05", "--provider-seconds", "0.05", "0.1")
    code, out, story = await answer(tmp_path, *words)
    assert code == 0, story
    facts = orjson.loads(out)
    assert set(facts) == {"mails", "reports", "depth"}
    mails, reports = facts["mails"], facts["reports"]
    assert (mails["enqueued"], mails["accepted"]) == (100, 100)
    assert 0 < mails["enqueue_ms"]["p50"] <= mails["enqueue_ms"]["p99"]
    assert 0 < mails["total_s"] < mails["one_by_one_s"]
    assert reports["scopes"] == 35
    assert reports["walk_ms"] > 0
    assert reports["refresh_ms"] > 0
    assert 0 < reports["read_ms"]["p50"] <= reports["read_ms"]["p99"]
    assert datetime.fromisoformat(reports["as_of"]).tzinfo
    assert {line["lane"]: line["done"] for line in facts["depth"]}["mail.normal"] == 100
    assert not os.listdir(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_the_demo_stays_up_with_its_links_until_ctrl_c(tmp_path: Path) -> None:
    async with started(tmp_path, "demo", "--scale", "0.02", "--provider-seconds", "0", "0") as process:
        assert process.stdout
        told = await asyncio.wait_for(process.stdout.readuntil(b"console  http://"), 60)
        assert b"reader  http://" in told
        assert re.findall(rb"http://[^\n]*", told)[0].endswith(b"/#/management/1")
        assert b"mails  http://" in told
        port = int((await process.stdout.readline()).rpartition(b":")[2].strip(b"/\n"))
        assert await _serves(port)
        assert (await run_ops("depth", DATA_DIR=str(tmp_path)))[0] == 0
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to every process at once
        assert await asyncio.wait_for(process.wait(), 30) == 0
    assert not await _serves(port)
    assert not os.listdir(tmp_path)


@pytest.mark.timeout(300)  # on a busy machine; it waits for nothing but events
@pytest.mark.parametrize("stop", ["ctrl-c", pytest.param("SIGTERM", marks=pytest.mark.long)])
async def test_up_embeds_what_is_not_configured_and_leaves_nothing_running(folder: Path, stop: str) -> None:
    async with started(folder, "up", **FREE_PORTS) as process:
        word = await eventually(lambda: _read(folder / "running.json"), timeout=200)
        assert (folder / "running.json").stat().st_mode & 0o777 == 0o600
        await _with_its_log(process, eventually(lambda: _reports_fresh(folder), timeout=100, every=0.2))
        port = int(word["links"]["console"].rpartition(":")[2].strip("/"))
        await eventually(lambda: _serves(port), timeout=200)
        assert process.stdout
        told = (await asyncio.wait_for(process.stdout.readuntil(b"ops doctor\n"), 200)).decode()
        token = re.search(r"^  (ms1\.[0-9a-f]{8}\.[\w-]{43})$", told, re.MULTILINE)
        assert token, told
        assert await asyncio.to_thread(_status, word["links"]["reader"], token[1]) == 200
        if stop == "ctrl-c":
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to every process at once
        else:
            process.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, log.decode()
    assert not (folder / "running.json").exists()
    assert not await _serves(port)


async def test_a_port_in_use_is_told_with_its_setting_before_anything_starts(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, _, told = await answer(folder, "up", **{**FREE_PORTS, "MOMENTUS_READER__PORT": port})
    assert code == 2
    assert "MOMENTUS_READER__PORT" in told
    assert port in told
    assert not os.listdir(folder)


@pytest.mark.parametrize("word", ["up", "demo"])
async def test_a_data_directory_that_cannot_be_used_is_told_with_its_setting(tmp_path: Path, word: str) -> None:
    file = tmp_path / "a file"
    file.write_text("not a directory")
    tried = refusal(file, "up", **FREE_PORTS) if word == "up" else answer(file, "demo")
    code, _, told = await tried  # the demo has begun its work by then, which asks for a process
    assert code == 2
    assert "MOMENTUS_DATA_DIR" in told
    assert "Traceback" not in told
    assert os.listdir(tmp_path) == ["a file"]


@pytest.mark.parametrize("word", ["up", "demo", "depth", "console"])
async def test_a_misspelt_setting_stops_every_command_and_suggests_the_right_name(
    tmp_path: Path, word: str
) -> None:
    code, _, told = await refusal(tmp_path, word, MOMENTUS_REDIS_ULR="redis://127.0.0.1:1/0")
    assert code == 2
    assert "MOMENTUS_REDIS_ULR" in told
    assert "MOMENTUS_REDIS_URL" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("words", [("demo", "--scale", "99"), ("demo", "--provider-seconds", "0"), ("build",)])
async def test_a_wrong_word_ends_with_code_2_and_the_usage(tmp_path: Path, words: tuple[str, ...]) -> None:
    code, _, told = await refusal(tmp_path, *words)
    assert code == 2
    assert "usage:" in told


def _read(path: Path) -> Mapping[str, Mapping[str, str]] | None:
    return orjson.loads(path.read_bytes()) if path.exists() else None


async def _with_its_log(process: asyncio.subprocess.Process, waiting: Coroutine[None, None, object]) -> None:
    """What does not come about fails with what the process said."""
    try:
        await waiting
    except AssertionError as error:
        with suppress(ProcessLookupError):  # it has ended by itself
            process.send_signal(signal.SIGTERM)
        said = b"".join(await asyncio.wait_for(process.communicate(), 60)).decode()
        raise AssertionError(f"{error}; it said:\n{said}") from None


async def _reports_fresh(folder: Path) -> bool:
    _, out, _ = await run_ops("depth", "--json", DATA_DIR=str(folder))
    reports = orjson.loads(out)["reports"] if out else []  # beside a finding, which a busy machine may give
    return any(report["state"] == "fresh" for report in reports)


def _status(link: str, token: str) -> int:
    request = urllib.request.Request(link, headers={"Authorization": f"Bearer {token}"})  # noqa: S310  our own link
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310  see above
        return int(response.status)


async def _serves(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
