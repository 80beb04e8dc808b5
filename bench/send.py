"""What the client costs a backend beside each redis-py: its import, and one `send` with asyncio and in a thread.

Run: ./run bench send [--mails 2000] [--rounds 5] [--redis 5.3.1,8.1.0] [--beside FOLDER] [--json]

Each version of redis-py has an environment of its own with the client's wheel and what it needs. All are measured
in turn in each round, and the least of the rounds is printed, because other work on the machine only adds; of an
import, the least of ten fresh processes in each, above that of an empty program. `--beside` adds the wheel of
another checkout to each round.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from client.wheel import build_wheel
from local.embedded.valkey import Valkey
from tests.django_environment import pins
from tests.environments import environment, unpack_wheel
from tests.support import Servers

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = Path(__file__).with_name("client_peers") / "send.py"
IMPORTS = {
    "producers": "from momentus_client.producers import Producer, SyncProducer",
    "both": "from momentus_client.producers import Producer, SyncProducer; from momentus_client.jobs import Mail",
}
NEEDED = ("email-validator", "hiredis", "jinja2", "orjson", "pybase64")
"""What the client needs besides redis-py; pybase64 for earlier checkouts."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--redis", default="5.3.1,8.1.0")
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="momentus-bench-"))
    scratch.chmod(0o755)
    sites = {"here": installed(ROOT, scratch / "here")}
    if asked.beside:
        sites["beside"] = installed(asked.beside.resolve(), scratch / "beside")
    pythons = {one: environment("client", f"redis=={one}", *pins(*NEEDED)) for one in asked.redis.split(",")}
    valkey = Valkey.in_directory(scratch / "valkey", protected=False)
    with Servers([valkey.process()], scratch):
        rounds = [
            {
                f"{name}, redis-py {version}": measure(python, site, valkey.url, asked.mails)
                for version, python in pythons.items()
                for name, site in sites.items()
            }
            for _ in range(asked.rounds)
        ]
    figures = {
        name: {key: min(one[name][key] for one in rounds) for key in first} for name, first in rounds[0].items()
    }
    print(json.dumps(figures) if asked.json else table(figures))


def installed(checkout: Path, folder: Path) -> Path:
    """Build the wheel of a checkout, and return a folder for PYTHONPATH with it, compiled as pip would."""
    site = unpack_wheel(build_wheel(checkout, folder).file, folder / "site")
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(site)], check=True)  # noqa: S603  fixed
    return site


def measure(python: Path, site: Path, url: str, mails: int) -> dict[str, float]:
    """Measure one wheel beside one redis-py, once."""
    where = {**os.environ, "PYTHONPATH": str(site), "BENCH_REDIS": url}
    found = {f"import_{name}_ms": import_ms(python, where, code) for name, code in IMPORTS.items()}
    for place in ("asyncio", "threads"):
        command = [str(python), str(SCRIPT), place, str(mails)]
        done = subprocess.run(command, env=where, capture_output=True, text=True, check=True)  # noqa: S603  fixed
        found |= {f"{place}_{key}": value for key, value in json.loads(done.stdout).items()}
    return found


def import_ms(python: Path, where: dict[str, str], code: str) -> float:
    """Milliseconds that an import adds to an empty program; the minimum of ten runs."""
    return 1e3 * (least(python, where, code) - least(python, where, "pass"))


def least(python: Path, where: dict[str, str], code: str) -> float:
    """Seconds of the fastest of ten processes."""
    spent = []
    for _ in range(10):
        start = time.perf_counter()
        subprocess.run([str(python), "-c", code], env=where, check=True)  # noqa: S603  fixed
        spent.append(time.perf_counter() - start)
    return min(spent)


def table(figures: dict[str, dict[str, float]]) -> str:
    """Return the figures for people."""
    lines = [
        "| client | import of producers | with Mail | asyncio: p50, CPU | threads: p50, CPU | first mail |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in figures.items():
        places = ("asyncio", "threads")
        sends = [f"{one[f'{place}_p50_us']:.0f} µs, {one[f'{place}_cpu_us']:.0f} µs" for place in places]
        imports = [f"{one[f'import_{part}_ms']:.0f} ms" for part in IMPORTS]
        lines.append(f"| {' | '.join([name, *imports, *sends])} | {one['asyncio_first_ms']:.0f} ms |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
