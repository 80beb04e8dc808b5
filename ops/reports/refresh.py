"""`ops reports refresh`: compute a report now, without waiting for its debounce."""

import argparse
from collections.abc import Mapping
from datetime import timedelta

from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.language import Language
from producers import InvalidRequest, NotEnqueued, Producer
from producers.compose import board_of, check_refresh
from producers.keys import catalogue

_ANSWER_SECONDS = 2.0
WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "queued": "{name} is queued; a worker computes it as soon as it has a slot.",
        "known": "{name} was already queued; it is computed as soon as a worker has a slot.",
    },
    "es": {
        "queued": "{name} está en la cola; un worker lo calcula en cuanto tenga un puesto.",
        "known": "{name} ya estaba en la cola; se calcula en cuanto un worker tenga un puesto.",
    },
}


async def _refresh(tools: Tools, args: argparse.Namespace) -> CommandResult:
    try:
        check_refresh(args.name, None)
    except InvalidRequest as refusal:
        raise CommandRefused(str(refusal)) from None
    entry = await tools.redis.hget(catalogue(tools.tenant), args.name)  # type: ignore[misc]  # typed for both clients
    if entry is None:
        raise CommandRefused(f"NAME: no worker declares a report {args.name!r}; see ./run ops reports status")
    producer = Producer(tools.redis, tenant=tools.tenant, budget=_ANSWER_SECONDS)
    try:
        receipt = await producer.request_refresh(args.name, scope=None, delay=timedelta(0), board=board_of(entry))
    except NotEnqueued as error:
        raise ConnectionError(str(error)) from error
    text = WORDS[tools.language]["queued" if receipt.state == "queued" else "known"].format(name=args.name)
    return CommandResult(text, {"report": args.name, "id": receipt.id, "state": receipt.state})


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a declared report")


COMMANDS = (Command("refresh", "compute a report now", "reports refresh management", _add_name, _refresh),)
