"""Commands that create, list and revoke tokens for machines.

A token is shown once, when it is created, and stored nowhere.
"""

import argparse
import re
from datetime import timedelta

from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.sessions.arguments import SHOWN, open_sessions, time_text
from ops.sessions.words import TOKEN_HEADS, WORDS
from ops.table import printable, table
from sessions import SERVICE_USER, Session
from sessions.node_ids import is_id_text

_NUMBER = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_DAYS = 90
_DAYS_LIMIT = 3660


async def _make(tools: Tools, args: argparse.Namespace) -> CommandResult:
    with open_sessions(tools) as sessions:
        token, made = await sessions.create_service(args.name, args.roots, lasts=timedelta(days=args.expires))
    ends = time_text(made.expires_at)
    text = WORDS[tools.language]["made"].format(token=token, ends=ends)
    return CommandResult(text, _facts(made) | {"token": token})


async def _list(tools: Tools, _args: argparse.Namespace) -> CommandResult:
    with open_sessions(tools) as sessions:
        found = await sessions.sessions_of(SERVICE_USER)
    facts = {"tokens": [_facts(one) for one in found]}
    if not found:
        return CommandResult(WORDS[tools.language]["no_token"], facts, done=False)
    rows = [_row(one) for one in sorted(found, key=lambda one: (one.label, one.created_at))]
    heads = TOKEN_HEADS[tools.language]
    return CommandResult(table(heads, rows, left=set(range(len(heads)))), facts)


async def _revoke(tools: Tools, args: argparse.Namespace) -> CommandResult:
    with open_sessions(tools) as sessions:
        chosen = _chosen(await sessions.sessions_of(SERVICE_USER), args.name, args.token)
        ended = [one for one in chosen if await sessions.revoke_listed(SERVICE_USER, one.place.digest)]
    digests = [one.place.digest for one in ended]
    facts, words = {"name": args.name, "revoked": digests}, WORDS[tools.language]
    if not digests:
        return CommandResult(words["no_such_token"].format(name=args.name), facts, done=False)
    return CommandResult(words["revoked"].format(tokens=", ".join(digest[:SHOWN] for digest in digests)), facts)


def _chosen(known: list[Session], name: str, digits: str | None) -> list[Session]:
    """Return all tokens of a name, or the one among them with a digest that begins with these digits."""
    named = [one for one in known if one.label == name]
    if digits is None:
        return named
    chosen = [one for one in named if one.place.digest.startswith(digits)]
    if len(chosen) != 1:
        raise CommandRefused(
            f"--token: {len(chosen)} tokens of {name!r} begin with {digits!r}; give the digits of exactly one"
        )
    return chosen


def _row(token: Session) -> list[str]:
    moments = [time_text(one) for one in (token.created_at, token.touched_at, token.expires_at)]
    roots = ",".join(map(str, token.data.get("roots", [])))
    return [printable(token.label), token.place.digest[:SHOWN], *moments, printable(roots)]


def _facts(token: Session) -> dict[str, object]:
    return {
        "name": token.label,
        "digest": token.place.digest,
        "roots": token.data.get("roots", []),
        "created_at": token.created_at,
        "touched_at": token.touched_at,
        "expires_at": token.expires_at,
    }


def _node_ids(text: str) -> list[int | str]:
    ids = text.split(",")
    if not all(map(is_id_text, ids)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of node ids; give them with commas, like 1,2")
    return [int(one) if _NUMBER.fullmatch(one) else one for one in ids]


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _DAYS_LIMIT):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of days; give a whole number from 1 to {_DAYS_LIMIT}"
        )
    return int(text)


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the name of the machine")


def _add_terms(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument(
        "--roots",
        type=_node_ids,
        required=True,
        metavar="IDS",
        help="the roots of the subtrees that it may read, like 1,2",
    )
    parser.add_argument(
        "--expires",
        type=_days,
        default=_DAYS,
        metavar="DAYS",
        help=f"days until it expires, used or not (default {_DAYS})",
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument(
        "--token", metavar="DIGITS", help="only this token: its first digits, as `tokens` shows them"
    )


def _add_nothing(_parser: argparse.ArgumentParser) -> None: ...


TOKENS = (
    Command("token", "create a token for a machine", "sessions token wallboard --roots 1,2", _add_terms, _make),
    Command("tokens", "list the live tokens of machines", "sessions tokens", _add_nothing, _list),
    Command("revoke-token", "revoke a machine's tokens", "sessions revoke-token wallboard", _add_choice, _revoke),
)
