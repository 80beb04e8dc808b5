"""Log lines: where they go, how they look, and what never gets into them."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvicorn

import log

CANARY = "canary.q4711q@private.example"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for room in log.ROOMS:
        logging.getLogger(room).setLevel(logging.NOTSET)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def lines() -> Lines:
    stream = io.StringIO()
    log.set_up("json", "info", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_carries_time_in_utc_level_event_and_fields(lines: Lines) -> None:
    structlog.get_logger().info("job.settled", job="j1", attempt=2)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "job.settled", "level": "info", "job": "j1", "attempt": 2}


def test_what_the_worker_binds_is_on_every_line_ours_and_a_librarys(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(job="j1", lane="mail.urgent")
    structlog.get_logger().info("one")
    logging.getLogger("arq.worker").warning("two")
    assert [(line["event"], line["job"], line["lane"]) for line in lines()] == [
        ("one", "j1", "mail.urgent"),
        ("two", "j1", "mail.urgent"),
    ]


def test_libraries_are_heard_from_warning_on_and_our_rooms_from_the_chosen_level(lines: Lines) -> None:
    for name in ("arq.worker", "asyncio", "uvicorn.error"):
        logging.getLogger(name).info("library whispers")
        logging.getLogger(name).warning("library warns")
    logging.getLogger("worker.mail").info("room speaks")
    logging.getLogger("worker.mail").debug("room whispers")
    structlog.get_logger().debug("whisper")
    assert [line["event"] for line in lines()] == ["library warns"] * 3 + ["room speaks"]


@pytest.mark.parametrize("name", sorted(log.PRIVATE))
def test_a_private_field_loses_its_value_at_any_depth(lines: Lines, name: str) -> None:
    secret = "canary-value"  # noqa: S105  made up
    structlog.get_logger().info("x", **{name: secret, f"mail_{name}": secret}, deep=[{"mail": {name: secret}}])
    (line,) = lines()
    assert line[name] == line[f"mail_{name}"] == line["deep"][0]["mail"][name] == log.REDACTED
    assert secret not in json.dumps(line)


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        f"550 5.1.1 <{CANARY}>: no such user",
        f'"canary.q4711q of us"@private.example and {CANARY},{CANARY}',
        f"https://x.example/?who={CANARY.replace('@', '%40')}",
        f"mailto:{CANARY};to={CANARY}",
        "redis://user:canary.q4711q@private.example:6379/0",
        "postgresql://canary.q4711q:p@db/x",
        CANARY.encode(),
        {"nested": [CANARY, {CANARY: CANARY}]},
        ValueError(CANARY),
        (CANARY,),
    ],
)
def test_no_address_and_no_credential_survives_in_any_value(lines: Lines, text: object) -> None:
    structlog.get_logger().info(f"about {text!r}", detail=text)
    logging.getLogger("arq").warning("about %s", text, extra={"detail": text})
    assert len(lines()) == 2
    assert "q4711q" not in json.dumps(lines())


def _refuse() -> None:
    try:
        raise OSError(5, "secret words", "secret file")
    except OSError as error:
        raise ExceptionGroup("secret", [ValueError(f"secret {CANARY}"), KeyError("secret")]) from error


def test_a_traceback_says_where_and_of_which_types_without_their_words(lines: Lines) -> None:
    try:
        _refuse()
    except ExceptionGroup:
        structlog.get_logger().exception("mail.failed")
        logging.getLogger("asyncio").exception("mail.failed")
    assert len(lines()) == 2
    for line in lines():
        assert line["exception"].startswith("Traceback")
        for word in ("in _refuse", "OSError 5", "ExceptionGroup", "ValueError", "KeyError"):
            assert word in line["exception"]
        assert "q4711q" not in json.dumps(line)


FAILING = """
import asyncio, gc, sys, threading
import log

class Held:
    def __init__(self, text): self.text = text
    def __repr__(self): return self.text
    def __del__(self): raise ValueError(self.text)

async def fail(text):
    raise ValueError(text)

def call(held): raise KeyError(held)

async def main():
    text = "".join(["can", "ary"])
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = 60  # else asyncio logs each slow step of a busy machine
    task = asyncio.create_task(fail(text), name=text)
    loop.call_soon(call, Held(text))
    thread = threading.Thread(target=call, args=(text,))
    thread.start()
    thread.join()
    await asyncio.sleep(0)
    del task
    gc.collect()
    raise RuntimeError(text)

log.set_up("json")
asyncio.run(log.run_watched(main()), debug=sys.argv[1] == "debug")
"""


@pytest.mark.parametrize("mode", ["debug", "plain"])
def test_what_fails_unseen_is_logged_with_its_place_and_without_what_it_held(mode: str) -> None:
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", FAILING, mode], cwd=root, capture_output=True, text=True, check=False
    )
    told = [json.loads(line) for line in ran.stderr.splitlines()]
    assert ran.returncode == 1
    assert {one["where"] for one in told} >= {
        "the program",
        "a thread",
        "a finalizer",
        "asyncio: Exception in callback call",
        "asyncio: Task exception was never retrieved",
    }
    assert all("Traceback" in one["exception"] for one in told)
    assert "canary" not in ran.stderr


def test_plain_words_and_numbers_are_left_alone(lines: Lines) -> None:
    structlog.get_logger().info(
        "3 jobs @ 10:00", seconds=0.5, host="127.0.0.1:25", worker="w@", ok=True, none=None
    )
    (line,) = lines()
    del line["timestamp"], line["level"]
    assert line == {
        "event": "3 jobs @ 10:00",
        "seconds": 0.5,
        "host": "127.0.0.1:25",
        "worker": "w@",
        "ok": True,
        "none": None,
    }


def test_a_megabyte_without_a_space_is_masked_in_linear_time() -> None:
    long = "a" * 1_000_000  # tried from each of its characters, this would outlast the test's time limit
    assert log.mask_addresses(f"{long}@x.example {long}") == f"{log.REDACTED} {long}"


def test_a_terminal_gets_readable_lines_and_a_pipe_gets_json() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        log.set_up("auto", "info", stream=stream)
        structlog.get_logger().info("hello", job="j1")
    assert json.loads(pipe.getvalue())["event"] == "hello"
    assert "hello" in terminal.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(terminal.getvalue())


def test_console_lines_are_redacted_as_well() -> None:
    stream = io.StringIO()
    log.set_up("console", "info", stream=stream)
    structlog.get_logger().info("hello", to="x", detail=CANARY)
    assert "q4711q" not in stream.getvalue()
    assert stream.getvalue().count(log.REDACTED) == 2


def test_stdout_stays_clean() -> None:
    program = "import log, logging; log.set_up(); logging.getLogger('arq').warning('x'); print('answer')"
    root = Path(log.__file__).parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "answer\n"
    assert json.loads(done.stderr)["event"] == "x"


def test_uvicorns_own_lines_join_ours(lines: Lines) -> None:
    uvicorn.Config(lambda: None, log_config=None)
    logging.getLogger("uvicorn.error").warning("server warns")
    assert [line["event"] for line in lines()] == ["server warns"]
