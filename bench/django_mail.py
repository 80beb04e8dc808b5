"""What a mail costs a Django application until it is handed over: ours, django-post_office, Django with Celery.

Run: ./run bench django_mail [--mails 1000] [--rounds 3] [--json]

Each peer runs in an environment of its own, in its ordinary configuration, one process after the other in each
round, on one Valkey (append-only file on) and one Postgres (durable): ours and Celery queue in Valkey,
django-post_office in Postgres. Delivery is not measured: no worker runs.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from local.embedded.postgres import Postgres
from local.embedded.valkey import Valkey
from tests.django_environment import CLIENT_NEEDS, pins
from tests.environments import client_site, environment
from tests.support import Servers

DJANGO = "django==5.2.19"
PEERS = {
    "momentus": ("django", DJANGO, *pins(*CLIENT_NEEDS)),
    "post_office": ("django-post-office", DJANGO, "django-post_office==3.12.0", "psycopg[binary]==3.3.2"),
    "celery": ("django-celery", DJANGO, "celery[redis]==5.7.0"),
}
"""The environment of each: its name and what is in it."""
SCRIPT = Path(__file__).with_name("django_peers") / "send.py"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    pythons = {name: environment(*needs) for name, needs in PEERS.items()}
    scratch = Path(tempfile.mkdtemp(prefix="momentus-bench-"))
    scratch.chmod(0o755)
    site = client_site(scratch / "wheel")
    valkey = Valkey.in_directory(scratch / "valkey", protected=False)
    postgres = Postgres.in_directory(scratch / "postgres")
    with Servers([valkey.process(), postgres.process()], scratch):
        variables = {"BENCH_REDIS": valkey.url, "BENCH_POSTGRES": postgres.dsn, "PYTHONPATH": str(site)}
        rounds = [
            {name: measure(python, name, asked.mails, variables) for name, python in pythons.items()}
            for _ in range(asked.rounds)
        ]
    keys = {name: list(rounds[0][name]) for name in PEERS}
    figures = {
        name: {key: statistics.median(one[name][key] for one in rounds) for key in keys[name]} for name in PEERS
    }
    print(json.dumps(figures) if asked.json else table(figures))


def measure(python: Path, peer: str, mails: int, variables: dict[str, str]) -> dict[str, float]:
    """Run one peer once."""
    command = [str(python), str(SCRIPT), peer, str(mails)]
    where = {**os.environ, **variables}
    done = subprocess.run(command, env=where, capture_output=True, text=True, check=False)  # noqa: S603  fixed
    if done.returncode:
        raise RuntimeError(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def table(figures: dict[str, dict[str, float]]) -> str:
    """Return the figures for people."""
    lines = ["| peer | one mail, p50 | one by one | in hundreds |", "|---|---|---|---|"]
    for name, one in figures.items():
        hundreds = f"{one['per_second_in_hundreds']:,.0f}/s" if "per_second_in_hundreds" in one else ""
        lines.append(f"| {name} | {one['p50_ms']:.2f} ms | {one['per_second']:,.0f}/s | {hundreds} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
