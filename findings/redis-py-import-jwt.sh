#!/bin/sh
# `import redis.asyncio` of redis-py 5.3 loads PyJWT, its HTTP client and much of cryptography; 5.2 and 6.x do not.
#
# Public: redis-py 5.2.1, 5.3.1 and 6.4.0, PyJWT 2.10.1, cryptography 46.0.3, Python 3.11.7, Linux.
# Input:  `import redis.asyncio`, with nothing else loaded, of each version beside the same PyJWT.
# Seen:   5.3.1 loads 11 modules of PyJWT and 32 of cryptography, as its class for tokens of Entra ID imports jwt at the
#         head of its module, and PyJWT in turn its algorithms and, for key sets, urllib.request. 5.2.1 and 6.4.0 load
#         no PyJWT and 2 modules of cryptography. PyJWT is a requirement of every 5.3, and an extra of 6.0 and later.
# Means:  each start of a process that uses redis-py 5.3 pays for log-ins that it does not use: about a seventh of the
#         processor time that our worker needs for its imports. arq asks for a redis-py below 6, so we run 5.2.
# Ends with 0 while that is so, with 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > loaded.py <<'PYTHON'
import sys

import redis.asyncio

roots = [name.partition(".")[0] for name in sys.modules]
print(redis.__version__, roots.count("jwt"), roots.count("cryptography"))
PYTHON
python3 -m venv made
for version in 5.2.1 5.3.1 6.4.0; do
    made/bin/pip install -q --disable-pip-version-check "redis==$version" PyJWT==2.10.1 cryptography==46.0.3
    made/bin/python loaded.py
done | tee seen
awk '
    $1 == "5.3.1" && $2 > 5 && $3 > 20 { loads = 1 }
    $1 != "5.3.1" && $2 == 0 && $3 < 5 { spared++ }
    END { exit !(loads && spared == 2) }
' seen
