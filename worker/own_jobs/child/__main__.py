"""The program of a child: `python -m worker.own_jobs.child MODULES LOG_FORMAT LOG_LEVEL SOCKET`.

It talks over the socket; what its functions print and log goes where the worker's goes. It ends when the worker
closes the socket or dies. Signals that reach a whole group of processes (Ctrl-C, a service manager's SIGTERM) are
for the worker: it lets jobs finish, and kills this process.
"""

import os
import signal
import socket
import sys
from typing import BinaryIO, cast

import log
from worker.own_jobs.child.serve import serve_jobs
from worker.own_jobs.modules import import_module, marked_handlers
from worker.own_jobs.parent_death import signal_at_parents_death


def main(arguments: list[str]) -> None:
    """Run jobs until the worker closes the socket."""
    modules, log_format, log_level, number = arguments
    _ignore_signals_to_the_group()
    signal_at_parents_death(signal.SIGKILL)  # while it computes it would not see the closed socket
    log.set_up(cast("log.Format", log_format), log_level)
    imported = [import_module(name, "job module") for name in modules.split(",")]
    handlers = {one.job.kind: one for module in imported for one in marked_handlers(module)}
    connection = socket.socket(fileno=int(number))
    serve_jobs(handlers, cast("BinaryIO", connection.makefile("rwb")))


def _ignore_signals_to_the_group() -> None:
    """Handle signals by doing nothing: the children of this process would inherit SIG_IGN."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that a function left behind keep no child
