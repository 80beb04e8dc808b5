"""Our queue and the others, side by side in one run on one private server.

Run: ./run bench queue [--jobs 20000] [--rounds 3] [--only arq,saq] [--what drain,enqueue] [--slow]

What is measured is in bench/queue_peers/measure.py, who in peers.py, and what a library's two scripts do in
contract.py. The first run fetches the libraries into a cache (`XDG_CACHE_HOME`, or ~/.cache), each into a place
of its own. Each round takes every library once, so that a disturbed minute hurts all alike. Progress goes to
stderr, the tables to stdout. A library that cannot be installed or fails has its reason in the table.

`crash` is taken of ours alone; with --slow of all, by their defaults, for up to 400 s each. `depth`, a million
jobs waiting, is taken only when it is asked for.
"""

import sys
from pathlib import Path

# A script's folder comes first on the path, where this file would hide the standard library's `queue`.
if sys.path[0] == str(Path(__file__).parent):
    sys.path.pop(0)

from bench.queue_peers.command import main

if __name__ == "__main__":
    main(__doc__ or "")
