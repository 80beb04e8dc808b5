"""What a process can do at all, and how soon it starts, is decided by what it has loaded."""

import json
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
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


def test_depth_loads_no_other_command_and_no_report_file() -> None:
    names = loaded_by("import ops.__main__ as ops; ops._parser('depth')")
    assert "ops.depth.read" in names, "the list is the one we mean"
    assert not {"ops.jobs.commands", "ops.limits.commands", "reports.catalogue", "reports.definition"} & names


def test_run_starts_a_process_without_what_redis_py_needs_for_tokens_only(tmp_path: Path) -> None:
    lines = [
        "import sys, redis.asyncio, jwt",
        "print({'jwt.api_jwt', 'cryptography.x509'} & {*sys.modules})",
        "print(jwt.decode(jwt.encode({'a': 1}, 'k' * 32), 'k' * 32, ['HS256']))",
    ]
    assert started_by_run(lines, tmp_path) == ["set()", "{'a': 1}"]


def started_by_run(lines: list[str], folder: Path) -> list[str]:
    """What a module of these lines prints that is started as `./run` starts the product's."""
    (folder / "probe.py").write_text("\n".join(lines))
    start = [sys.executable, "-S", "-P", str(_ROOT / "ops" / "quiet_start.py"), "probe"]
    done = subprocess.run(start, env={"PYTHONPATH": str(folder)}, capture_output=True, check=True, text=True)
    return done.stdout.splitlines()


def test_a_command_collects_garbage_once_it_is_loaded() -> None:
    words = ["ops", "settings", "--json"]
    assert collects_at_its_end("ops", words) == "True"


def test_a_process_that_imports_the_entry_points_keeps_its_own_collector() -> None:
    lines = "import gc, ops.__main__, reader.__main__, worker.__main__; print(gc.isenabled())"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "True"


def collects_at_its_end(module: str, words: list[str]) -> str:
    """Whether Python's collector runs when a process of the product ends; it has none of its own to say so."""
    lines = [
        "import gc, runpy, sys",
        f"sys.argv = {words!r}",
        "try:",
        f"    runpy.run_module({module!r}, run_name='__main__')",
        "finally:",
        "    sys.stderr.write(str(gc.isenabled()))",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, check=True, text=True)
    return done.stderr
