"""The supervisor keeps real processes running, gives up when it should, and leaves nothing behind."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from local.supervisor import reaper
from local.supervisor.console_log import console_log
from local.supervisor.process import (
    AbandonDecision,
    Backoff,
    FinishDecision,
    Process,
    ProcessEnd,
    ProcessFailed,
    RestartDecision,
    RestartPolicy,
    SupervisorError,
    after_exit,
)
from local.supervisor.supervisor import Supervisor
from tests.support import eventually, is_running, scratch_directory

QUICK = Backoff(first=timedelta(milliseconds=20), longest=timedelta(milliseconds=100))
ROOT = Path(__file__).parents[2]


class Lines:
    """A log that remembers."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.all.append((name, line))

    def of(self, name: str) -> list[str]:
        return [line for who, line in self.all if who == name]


@pytest.fixture
def lines() -> Lines:
    return Lines()


def script(name: str, commands: str) -> Process:
    return Process(name=name, argv=["/bin/sh", "-c", commands], backoff=QUICK)


def sleeper(name: str) -> Process:
    return Process(name=name, argv=["sleep", "1000"], backoff=QUICK)


def polite(name: str, diary: Path, *, farewell: str = "") -> Process:
    """Writes its name into the diary when it is asked to end, and is ready only once it would."""
    up = diary.with_name(f"{name}.up")
    commands = f"trap '{farewell} echo {name} >> {diary}; exit 0' TERM; touch {up}; sleep 1000 & wait"

    async def is_up(_pid: int) -> bool:
        return up.exists()

    return replace(script(name, commands), ready=is_up)


def written_in(diary: Path) -> list[str]:
    return diary.read_text().split()


def is_gone(path: Path) -> bool:
    return not path.exists()


# The decision


def test_the_wait_doubles_up_to_its_ceiling() -> None:
    backoff = Backoff(first=timedelta(seconds=1), longest=timedelta(seconds=10))
    longest = [backoff.wait(failures, 1.0) for failures in (1, 2, 3, 4, 5, 10_000)]
    assert longest == [timedelta(seconds=seconds) for seconds in (1, 2, 4, 8, 10, 10)]


def test_jitter_spreads_the_wait_over_its_upper_half() -> None:
    backoff = Backoff(first=timedelta(seconds=8))
    assert backoff.wait(1, 0.0) == timedelta(seconds=4)
    assert backoff.wait(1, 0.5) == timedelta(seconds=6)


NEVER_READY = None
BRIEFLY = timedelta(seconds=1)
LONG = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("restart", "exit_code", "ready_for", "verdict"),
    [
        (RestartPolicy.ALWAYS, 1, NEVER_READY, RestartDecision(timedelta(seconds=4), 4)),
        (RestartPolicy.ALWAYS, 0, BRIEFLY, RestartDecision(timedelta(seconds=4), 4)),
        (RestartPolicy.ALWAYS, -9, LONG, RestartDecision(timedelta(milliseconds=500), 1)),
        (RestartPolicy.ALWAYS, 2, LONG, RestartDecision(timedelta(milliseconds=500), 1)),
        (RestartPolicy.NEVER, 0, NEVER_READY, FinishDecision()),
        (RestartPolicy.NEVER, -9, BRIEFLY, FinishDecision()),
    ],
)
def test_an_end_leads_to_what_its_policy_says(
    restart: RestartPolicy, exit_code: int, ready_for: timedelta | None, verdict: RestartDecision | FinishDecision
) -> None:
    process = Process(name="x", argv=["x"], restart=restart, backoff=Backoff(first=timedelta(seconds=1)))
    ended = ProcessEnd(exit_code=exit_code, ready_for=ready_for)
    assert after_exit(process, ended, failures=3, chance=0.0) == verdict


@pytest.mark.parametrize(
    ("restart", "exit_code", "ready_for"),
    [
        (RestartPolicy.ALWAYS, 2, NEVER_READY),
        (RestartPolicy.ALWAYS, 2, BRIEFLY),  # one without a readiness check counts as ready at once
        (RestartPolicy.NEVER, 1, NEVER_READY),
        (RestartPolicy.NEVER, -9, NEVER_READY),
    ],
)
def test_an_end_at_the_start_that_no_restart_can_mend_is_given_up(
    restart: RestartPolicy, exit_code: int, ready_for: timedelta | None
) -> None:
    process = Process(name="x", argv=["x"], restart=restart)
    ended = ProcessEnd(exit_code=exit_code, ready_for=ready_for)
    assert isinstance(after_exit(process, ended, failures=0, chance=0.0), AbandonDecision)


# Starting


async def test_each_process_starts_once_the_one_before_is_ready(tmp_path: Path, lines: Lines) -> None:
    gate = tmp_path / "gate"

    async def open_gate(_pid: int) -> bool:
        return gate.exists()

    first = replace(script("first", "echo first is up; sleep 1000"), ready=open_gate)
    supervisor = Supervisor([first, script("second", "echo second is up; sleep 1000")], log=lines)
    starting = asyncio.create_task(supervisor.__aenter__())
    await eventually(lambda: lines.of("first"))
    assert not lines.of("second")
    gate.touch()
    await starting
    await eventually(lambda: lines.of("second"))
    await supervisor.__aexit__(None, None, None)
    assert lines.all == [("first", "first is up"), ("second", "second is up")]


async def test_a_process_never_ready_fails_the_start_with_its_last_lines_and_stops_the_others() -> None:
    async def never(_pid: int) -> bool:
        raise ConnectionRefusedError("nobody listens")

    slow = replace(
        script("slow", "echo still thinking; sleep 1000"), ready=never, ready_within=timedelta(seconds=0.3)
    )
    supervisor = Supervisor([sleeper("other"), slow])
    starting = asyncio.create_task(supervisor.__aenter__())
    pids = [await eventually(partial(_pid_of, supervisor, name)) for name in ("other", "slow")]
    with pytest.raises(ProcessFailed, match=r"not ready within 0.3 s .*nobody listens") as failure:
        await starting
    assert failure.value.name == "slow"
    assert failure.value.last_lines == ("still thinking",)
    assert not any(is_running(pid) for pid in pids)


def _pid_of(supervisor: Supervisor, name: str) -> int:
    """The number of the process, 0 while there is none."""
    try:
        return supervisor.pid(name)
    except (KeyError, ProcessLookupError):
        return 0


async def test_code_2_at_the_start_is_given_up_at_once_with_the_reason(lines: Lines) -> None:
    async def never(_pid: int) -> bool:
        return False

    wrong = replace(script("worker", "echo MOMENTUS_REDIS_URL is no URL >&2; exit 2"), ready=never)
    with pytest.raises(ProcessFailed, match=r"code 2 .*wrong setting") as failure:
        async with Supervisor([wrong], log=lines):
            pass
    assert failure.value.last_lines == ("MOMENTUS_REDIS_URL is no URL",)
    assert lines.all == [("worker", "MOMENTUS_REDIS_URL is no URL")]


async def test_the_end_of_a_process_is_seen_though_its_check_loses_the_cancellation(lines: Lines) -> None:
    """As `asyncio.wait_for` of Python 3.11 may, by which redis-py writes its commands."""
    lost: list[BaseException] = []

    async def lose_one(_pid: int) -> bool:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            if lost:
                raise
            lost.append(error)
        return False

    wrong = replace(script("worker", "exit 2"), ready=lose_one, ready_within=timedelta(days=1))
    with pytest.raises(ProcessFailed, match="code 2"):
        async with Supervisor([wrong], log=lines):
            pass
    assert lost


async def test_a_program_that_does_not_exist_is_given_up() -> None:
    with pytest.raises(ProcessFailed, match=r"could not be started: .*no-such-program"):
        async with Supervisor([Process(name="ghost", argv=["/no-such-program"])]):
            pass


async def test_an_error_while_preparing_reaches_the_caller_and_stops_the_others() -> None:
    seen: list[int] = []

    async def fail() -> None:
        seen.append(supervisor.pid("other"))
        raise LookupError("no such directory")

    supervisor = Supervisor([sleeper("other"), replace(sleeper("late"), prepare=fail)])
    with pytest.raises(LookupError, match="no such directory"):
        async with supervisor:
            pass
    assert not is_running(seen[0])


async def test_nothing_starts_without_the_process_that_would_clear_up(
    monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    monkeypatch.setattr(reaper, "__file__", "/no-such-file.py")
    with pytest.raises(SupervisorError, match="did not start"):
        async with Supervisor([script("any", "echo started; sleep 1000")], log=lines):
            pass
    assert not lines.all


def test_two_processes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="different names"):
        Supervisor([sleeper("twin"), sleeper("twin")])


# Running


async def test_a_killed_process_is_started_again_with_nothing_of_the_old_one_left(
    tmp_path: Path, lines: Lines
) -> None:
    child = tmp_path / "child"
    parent = script("parent", f"sleep 1000 & echo $! > {child}.new && mv {child}.new {child}; wait")
    async with Supervisor([parent], log=lines) as running:
        await eventually(child.exists)
        first, grandchild = running.pid("parent"), int(child.read_text())
        os.kill(first, signal.SIGKILL)
        assert await running.wait_exit("parent") == -signal.SIGKILL
        await running.wait_ready("parent")
        assert running.pid("parent") != first
        assert running.runs_over("parent") == 1
        await eventually(lambda: not is_running(grandchild))
    assert "ended with signal SIGKILL; restarts in" in lines.of("parent")[0]


async def test_a_restarted_process_that_turns_out_misconfigured_ends_the_wait(tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"

    async def ready(_pid: int) -> bool:
        return not spoilt.exists()

    process = replace(script("worker", f"test -e {spoilt} && exit 2; sleep 1000"), ready=ready)
    async with Supervisor([process, sleeper("other")]) as running:
        waiting = asyncio.create_task(running.wait_for_failure())
        spoilt.touch()
        running.send_signal("worker", signal.SIGKILL)
        with pytest.raises(ProcessFailed, match=r"worker: .*code 2"):
            await waiting


async def test_a_log_that_fails_ends_the_wait_rather_than_hanging_it() -> None:
    def broken(_name: str, _line: str) -> None:
        raise ZeroDivisionError("the log is full")

    with pytest.raises(ProcessFailed, match=r"talker: watching it failed: .*the log is full"):
        async with Supervisor([script("talker", "echo word; sleep 0.1")], log=broken) as running:
            await running.wait_for_failure()


async def test_one_process_can_be_stopped_and_started_alone() -> None:
    async with Supervisor([sleeper("one"), sleeper("two")]) as running:
        one, two = running.pid("one"), running.pid("two")
        await running.stop("one")
        assert not is_running(one)
        with pytest.raises(ProcessLookupError):
            running.pid("one")
        await running.start("one")
        assert running.pid("one") != one
        assert running.pid("two") == two


async def test_output_reaches_the_log_line_by_line_whatever_its_form(lines: Lines) -> None:
    odd = r"printf 'one\r\ntwo\n\377\nlast without end'; exec >&- 2>&-; sleep 1000"
    async with Supervisor([script("odd", odd)], log=lines):
        await eventually(lambda: len(lines.all) == 4)
    assert lines.of("odd") == ["one", "two", "�", "last without end"]


async def test_a_line_without_an_end_is_cut_rather_than_kept_in_memory(lines: Lines) -> None:
    async with Supervisor([script("long", "head -c 100000 /dev/zero | tr '\\0' x; sleep 1000")], log=lines):
        await eventually(lambda: sum(map(len, lines.of("long"))) > 80_000)
    assert max(map(len, lines.of("long"))) < 40_000


async def test_a_process_gets_our_environment_and_its_additions(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "inherited")
    process = replace(script("env", "echo $OURS $ADDED; sleep 1000"), environment={"ADDED": "added"})
    async with Supervisor([process], log=lines):
        await eventually(lambda: lines.of("env") == ["inherited added"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as somebody else")
async def test_as_root_a_process_runs_as_the_user_it_names_with_no_other_groups(lines: Lines) -> None:
    async with Supervisor([replace(script("who", "id -un; id -G; sleep 1000"), user="nobody")], log=lines):
        await eventually(lambda: len(lines.all) == 2)
    user, groups = lines.of("who")
    assert user == "nobody"
    assert len(groups.split()) == 1
    assert groups != "0"


# Stopping


async def test_processes_stop_in_reverse_order_each_with_its_own_time(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    names = ["server", "worker", "reader"]
    draining = replace(polite("worker", diary, farewell="sleep 0.5;"), drain=timedelta(seconds=30))
    processes = [polite("server", diary), draining, polite("reader", diary)]
    async with Supervisor(processes):
        pass
    assert written_in(diary) == list(reversed(names))


async def test_a_process_that_will_not_end_is_killed_after_its_drain_time(tmp_path: Path, lines: Lines) -> None:
    deaf = replace(polite("deaf", tmp_path / "diary", farewell="exec sleep 1000;"), drain=timedelta(seconds=0.2))
    async with Supervisor([deaf], log=lines) as running:
        pid = running.pid("deaf")
    assert not is_running(pid)
    assert lines.of("deaf") == ["still running 0.2 s after it was asked to end: killed"]


async def test_a_refused_stop_signal_is_repeated_where_asked_for(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    reluctant = polite("reluctant", diary, farewell=f"test -e {diary}.asked || {{ touch {diary}.asked; wait; }};")
    async with Supervisor([replace(reluctant, stop_again=timedelta(seconds=0.1), drain=timedelta(minutes=1))]):
        pass
    assert diary.read_text() == "reluctant\n"


PROGRAM = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from local.supervisor.supervisor import supervise
from local.supervisor.console_log import console_log
from local.supervisor.process import Process

def process(name, commands):
    return Process(name=name, argv=["/bin/sh", "-c", commands])

diary, scratch = sys.argv[1], sys.argv[2]
def polite(name):
    return process(name, f"trap 'echo {name} >> {diary}; exit 0' TERM; sleep 1000 & echo $$ $!; wait")

more = {
    "stubborn": process("stubborn", "trap '' TERM; echo $$ $$; sleep 1000"),
    "wrong": process("wrong", "echo MOMENTUS_X is unknown; exit 2"),
}
processes = [polite("server"), polite("worker"), *(more[name] for name in sys.argv[3:])]
names = [each.name for each in processes]
sys.exit(asyncio.run(supervise(processes, log=console_log(names, sys.stdout), scratch=Path(scratch))))
"""


class StartProgram(Protocol):
    async def __call__(self, *more: str) -> asyncio.subprocess.Process: ...


@pytest.fixture
async def start_program(diary: Path, scratch: Path) -> AsyncIterator[StartProgram]:
    started: list[asyncio.subprocess.Process] = []

    async def start(*more: str) -> asyncio.subprocess.Process:
        command = (sys.executable, "-c", PROGRAM, str(diary), str(scratch), *more)
        program = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        started.append(program)
        return program

    yield start
    for program in started:
        if program.returncode is None:
            program.kill()
            await program.wait()


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """Who ended, in which order."""
    return tmp_path / "diary"


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that the supervisor is to remove."""
    with scratch_directory() as directory:
        (directory / "data").touch()
        yield directory


async def read_pids(program: asyncio.subprocess.Process, count: int) -> list[int]:
    """The numbers that each of `count` processes prints: its own and its child's."""
    assert program.stdout
    printed = [await program.stdout.readline() for _ in range(count)]
    return [int(number) for line in printed for number in line.split(b"|")[1].split()]


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_all_orderly_and_the_exit_code_is_0(
    start_program: StartProgram, diary: Path, scratch: Path, asked: int
) -> None:
    program = await start_program()
    pids = await read_pids(program, 2)
    program.send_signal(asked)
    output, _ = await program.communicate()
    assert program.returncode == 0, output
    assert not any(is_running(pid) for pid in pids)
    assert written_in(diary) == ["worker", "server"]
    assert is_gone(scratch)


async def test_when_the_supervisor_is_killed_no_process_and_no_directory_is_left(
    start_program: StartProgram, scratch: Path
) -> None:
    program = await start_program("stubborn")
    pids = await read_pids(program, 3)
    program.kill()
    await program.wait()
    await eventually(lambda: not any(is_running(pid) for pid in pids), timeout=20)
    await eventually(lambda: is_gone(scratch))


async def test_a_wrong_setting_ends_the_whole_with_code_2_and_its_reason_in_words(
    start_program: StartProgram,
) -> None:
    program = await start_program("wrong")
    output, _ = await program.communicate()
    assert program.returncode == 2
    assert b"MOMENTUS_X is unknown" in output
    assert b"supervisor | wrong: it exited with code 2 at its start" in output


# The console


def test_console_lines_are_prefixed_and_aligned_without_colour_on_a_file() -> None:
    stream = io.StringIO()
    log = console_log(["db", "worker"], stream)
    log("db", "ready")
    log("worker", "started")
    assert stream.getvalue() == "db     | ready\nworker | started\n"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], io.StringIO]:
    def make() -> io.StringIO:
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
        return stream

    monkeypatch.delenv("NO_COLOR", raising=False)
    return make


def test_a_terminal_gets_colours_unless_no_color_is_set(
    terminal: Callable[[], io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    coloured = terminal()
    console_log(["db"], coloured)("db", "ready")
    assert coloured.getvalue() == "\x1b[36mdb |\x1b[0m ready\n"
    monkeypatch.setenv("NO_COLOR", "1")
    plain = terminal()
    console_log(["db"], plain)("db", "ready")
    assert plain.getvalue() == "db | ready\n"


def test_control_characters_in_a_line_are_shown_and_not_obeyed() -> None:
    stream = io.StringIO()
    console_log(["db"], stream)("db", "clear\x1b[2J")
    assert stream.getvalue() == "db | clear\\x1b[2J\n"
