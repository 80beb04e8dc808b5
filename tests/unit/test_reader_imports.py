"""What a reader process can do at all is decided by what it has loaded."""

import json
import subprocess
import sys

FORBIDDEN = {"asyncpg", "arq", "aiosmtplib", "jinja2", "worker", "producers", "ops"}


def test_a_reader_process_has_no_way_to_reach_postgres_or_the_queue() -> None:
    script = "import reader.__main__, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    modules = {name.partition(".")[0] for name in json.loads(loaded.stdout)}
    assert {"reader", "sessions", "granian"} <= modules, "the list is the one we mean"
    assert not FORBIDDEN & modules
