"""Our mail worker and other senders, side by side in one run, into Postfix's smtp-sink.

Run: ./run bench mail [--mails 20000] [--rounds 3] [--connections 1,10,50] [--only momentus,nodemailer]
                      [--what rate,slow,distance]

    rate      mails a second at a server that takes them at once, by the number of connections
    slow      at a server that takes 2 s for each: what share of connections / 2 s is reached
    distance  at a server 50 ms away: round trips per mail on one kept connection

Every sender builds the MIME of each mail (about 5 KiB of HTML, and text) unless its name says that it sends
ready bytes. Ours is the whole way: mails wait in Valkey with its append-only file on, one worker process with the
engine's leases, marks, outcomes and results takes them; it logs warnings only. Each round takes every sender
once, so that a disturbed minute hurts all alike. nodemailer is fetched into a cache at the first run
(`XDG_CACHE_HOME`, or ~/.cache). Progress goes to stderr, the tables to stdout. A sender that is not on this
machine has its reason in the table.
"""

import sys
from pathlib import Path

# A script's folder comes first on the path, where this file's neighbours would hide the standard library's.
if sys.path[0] == str(Path(__file__).parent):
    sys.path.pop(0)

from bench.mail_peers.command import main

if __name__ == "__main__":
    main(__doc__ or "")
