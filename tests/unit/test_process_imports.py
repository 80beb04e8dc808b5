"""What a process can do at all, and how soon it starts, is decided by what it has loaded."""

import json
import subprocess
import sys

FORBIDDEN = {"uvicorn", "asyncpg", "arq", "aiosmtplib", "jinja2", "worker", "ops"}
CONNECTION = {"link", "rights"}
"""All that it has of the producers: how to reach Redis, and nothing that could queue a job."""


def loaded_by(script: str) -> set[str]:
    """The modules that a process has loaded after these lines."""
    lines = f"{script}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, check=True, text=True)
    return set(json.loads(done.stdout))


def test_a_reader_process_has_no_way_to_reach_postgres_or_the_queue() -> None:
    names = loaded_by("import reader.__main__")
    modules = {name.partition(".")[0] for name in names}
    assert {name.split(".")[1] for name in names if name.startswith("producers.")} <= CONNECTION
    assert {"reader", "sessions", "httptools"} <= modules, "the list is the one we mean"
    assert not FORBIDDEN & modules


def test_a_command_that_asks_redis_loads_nothing_of_postgres() -> None:
    words = ["depth", "why", "limit", "sessions", "acl"]
    names = loaded_by(f"import ops.__main__ as ops; [ops._parser(word) for word in {words}]")
    assert {"ops.jobs.commands", "ops.limits.commands"} <= names, "the list is the one we mean"
    assert not {"asyncpg", "ops.reports.commands", "ops.doctor.commands", "uvicorn"} & names
