"""Command `python -m local.sink`: the catch-all mail server and its page, until SIGTERM or Ctrl-C.

Exit codes: 0 after a requested stop, 2 for a wrong argument or a port in use.
Prints one line once both ports listen.
"""

import argparse
import asyncio
import socket
import sys
from collections.abc import Sequence
from datetime import timedelta

from local.embedded.ports import require_free
from local.errors import PortInUse
from local.sink.mailbox import Mailbox
from local.sink.page import page_response
from local.sink.smtp import MailSink, SinkFaults
from ops.console.exchange import PageRequest, PageResponse
from ops.console.server import listen, serve
from ops.stop_signal import until_stopped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with these arguments and return the exit code."""
    asked = parser().parse_args(arguments)
    try:
        require_free(asked.smtp_port, server="the mail sink", setting="--smtp-port")
        listener = listen_for_page(asked.http_port)
    except PortInUse as error:
        print(error, file=sys.stderr)
        return 2
    asyncio.run(until_stopped(serve_sink(asked, listener)))
    return 0


def listen_for_page(number: int) -> socket.socket:
    """Listen on the port of the page.

    Raises:
        PortInUse: the port is in use; the message names the argument.
    """
    try:
        return listen("127.0.0.1", number)
    except OSError:
        raise PortInUse(number, server="the mail sink's page", setting="--http-port") from None


async def serve_sink(asked: argparse.Namespace, listener: socket.socket) -> None:
    """Serve mail and page in one event loop until a signal asks to stop."""
    mailbox = Mailbox(keep=asked.keep)

    async def page(request: PageRequest) -> PageResponse:
        return page_response(mailbox, request)

    async with MailSink(mailbox, sink_faults(asked), port=asked.smtp_port):
        announce_sink(asked)
        await serve(page, listener)


def announce_sink(asked: argparse.Namespace) -> None:
    """Print the one line of output."""
    print(
        f"Catching mail on 127.0.0.1:{asked.smtp_port}, page on http://127.0.0.1:{asked.http_port}/",
        flush=True,
    )


def sink_faults(asked: argparse.Namespace) -> SinkFaults:
    """Return the faults of the arguments."""
    return SinkFaults(
        delay_min=timedelta(seconds=asked.delay_min),
        delay_max=timedelta(seconds=asked.delay_max),
        temporary_share=asked.temporary_share,
        recipient_replies={address.lower(): "550 5.1.1 No such user" for address in asked.refuse},
        seed=asked.seed,
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments, with their limits."""
    it = argparse.ArgumentParser(
        prog="python -m local.sink",
        description="A mail server for demos: accepts every mail, delivers none, shows them on a page.",
        epilog="Example: python -m local.sink --delay-min 2 --delay-max 3   (a slow provider)",
    )
    it.add_argument("--smtp-port", type=port, default=1025, help="SMTP port on 127.0.0.1 (default 1025)")
    it.add_argument("--http-port", type=port, default=8025, help="port of the page (default 8025)")
    it.add_argument("--keep", type=whole, default=1000, help="how many mails are kept (default 1000)")
    it.add_argument("--delay-min", type=seconds, default=0, help="shortest reply to a mail, in seconds")
    it.add_argument("--delay-max", type=seconds, default=0, help="longest reply to a mail, in seconds")
    it.add_argument("--temporary-share", type=share, default=0, help="share of mails answered 451, 0 to 1")
    it.add_argument(
        "--refuse", action="append", default=[], metavar="ADDRESS", help="answer 550 to this recipient"
    )
    it.add_argument("--seed", type=int, default=0, help="of the random delays and refusals")
    return it


def port(text: str) -> int:
    """Return a TCP port."""
    return int(number_between(text, 1, 65535, whole_only=True))


def whole(text: str) -> int:
    """Return a whole number, at least 1."""
    return int(number_between(text, 1, 1_000_000, whole_only=True))


def seconds(text: str) -> float:
    """Return a delay of at most an hour."""
    return number_between(text, 0, 3600)


def share(text: str) -> float:
    """Return a share, from 0 to 1."""
    return number_between(text, 0, 1)


def number_between(text: str, lowest: float, highest: float, *, whole_only: bool = False) -> float:
    """Return the number in the text.

    Raises:
        argparse.ArgumentTypeError: the text is not a number, or is outside the limits.
    """
    try:
        number = int(text) if whole_only else float(text)
    except ValueError:
        number = float("nan")
    if not lowest <= number <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest} to {highest}")
    return number


if __name__ == "__main__":
    sys.exit(main())
