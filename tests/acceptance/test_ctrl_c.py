"""Ctrl-C in a terminal, at many moments of the commands that last: each ends, and prints no traceback."""

import asyncio
import os
import pty
import signal
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FREE_PORTS = {
    f"MOMENTUS_{name}": "0" for name in ("READER__PORT", "CONSOLE__PORT", "SINK__SMTP_PORT", "SINK__HTTP_PORT")
}
COMMANDS = {
    "demo": ("local", "demo", "--scale", "0.05", "--provider-seconds", "0", "0"),
    "up": ("local", "up"),
    "depth": ("ops", "depth", "--watch", "--every", "0.1"),
    "doctor": ("ops", "doctor"),
}
ENDS_S = 60


async def interrupted(command: str, folder: Path, url: str, *, after_s: float) -> tuple[int, str]:
    """Start a command in a terminal of its own, press Ctrl-C after a while; return exit code and output."""
    terminal, end = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-S", "-P", "ops/quiet_start.py"),  # as ./run does
        *COMMANDS[command],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MOMENTUS_DATA_DIR": str(folder),
            **(FREE_PORTS if command == "up" else {}),
            **({"MOMENTUS_REDIS_URL": url} if COMMANDS[command][0] == "ops" else {}),
        },
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    output = asyncio.create_task(asyncio.to_thread(read_all, terminal))
    try:
        await asyncio.wait({asyncio.create_task(process.wait())}, timeout=after_s)
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        await asyncio.wait_for(process.wait(), ENDS_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, await output


def read_all(terminal: int) -> str:
    """Read until the other end is closed, which Linux tells by an error."""
    received = b""
    try:
        while chunk := os.read(terminal, 65536):
            received += chunk
    except OSError:
        pass
    finally:
        os.close(terminal)
    return received.decode()


async def assert_quiet(command: str, folder: Path, url: str, after_s: float) -> None:
    code, output = await interrupted(command, folder, url, after_s=after_s)
    assert "Traceback" not in output, f"{after_s:.2f} s: {output}"
    assert "KeyboardInterrupt" not in output, f"{after_s:.2f} s: {output}"
    assert code in {0, 1, -signal.SIGINT}, f"{after_s:.2f} s: {output}"  # 1: doctor had ended, with a finding
    assert not (folder / "running.json").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory that a server under another user can enter."""
    for path in (tmp_path, *tmp_path.parents):
        if path.owner() == Path.home().owner() and path.is_relative_to("/tmp"):  # noqa: S108  where pytest keeps it
            path.chmod(0o755)
    return tmp_path


@pytest.mark.timeout(120)
@pytest.mark.parametrize("command", ["demo", "depth"])
async def test_ctrl_c_while_a_command_loads_ends_it_without_a_traceback(
    folder: Path, valkey_url: str, command: str
) -> None:
    for after_s in (0.15, 0.8):
        await assert_quiet(command, folder, valkey_url, after_s)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", COMMANDS)
async def test_ctrl_c_at_any_moment_ends_a_command_without_a_traceback(
    folder: Path, valkey_url: str, command: str
) -> None:
    began = time.monotonic()
    for step in range(24):
        await assert_quiet(command, folder, valkey_url, 0.1 * 1.2**step if step else 0.05)
        if time.monotonic() - began > 600:
            pytest.fail("24 runs take more than ten minutes")
