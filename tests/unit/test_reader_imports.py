"""What a reader process can do at all is decided by what it has loaded."""

import json
import subprocess
import sys

FORBIDDEN = {"uvicorn", "asyncpg", "arq", "aiosmtplib", "jinja2", "worker", "ops"}
CONNECTION = {"link", "rights"}
"""All that it has of the producers: how to reach Redis, and nothing that could queue a job."""


def test_a_reader_process_has_no_way_to_reach_postgres_or_the_queue() -> None:
    script = "import reader.__main__, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    names = json.loads(loaded.stdout)
    modules = {name.partition(".")[0] for name in names}
    assert {name.split(".")[1] for name in names if name.startswith("producers.")} <= CONNECTION
    assert {"reader", "sessions", "httptools"} <= modules, "the list is the one we mean"
    assert not FORBIDDEN & modules
