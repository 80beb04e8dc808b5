"""Commands of ``ops sessions``. They never show a person's token: only the browser has it."""

import argparse

from ops.command import Command, CommandRefused, CommandResult, Group, Tools
from ops.sessions.arguments import SHOWN, open_sessions, time_text
from ops.sessions.tokens import TOKENS
from ops.sessions.words import SESSION_HEADS, WORDS
from ops.table import printable, table
from sessions import Session


async def _list(tools: Tools, args: argparse.Namespace) -> CommandResult:
    with open_sessions(tools) as sessions:
        found = await sessions.sessions_of(args.user)
    words = WORDS[tools.language]
    facts = {"user": args.user, "sessions": [_facts(one) for one in found]}
    if not found:
        return CommandResult(words["no_session"], facts, done=False)
    rows = [
        [one.place.digest[:SHOWN], time_text(one.created_at), time_text(one.touched_at), printable(one.label)]
        for one in found
    ]
    return CommandResult(table(SESSION_HEADS[tools.language], rows, left={0, 1, 2, 3}), facts)


async def _revoke(tools: Tools, args: argparse.Namespace) -> CommandResult:
    facts = {"user": args.user}
    with open_sessions(tools) as sessions:
        if args.session is None:
            epoch = await sessions.revoke_user(args.user)
            return CommandResult(WORDS[tools.language]["all_ended"], facts | {"epoch": epoch})
        chosen = [
            one for one in await sessions.sessions_of(args.user) if one.place.digest.startswith(args.session)
        ]
        if len(chosen) != 1:
            raise CommandRefused(
                f"--session: {len(chosen)} sessions of this user begin with {args.session!r}; give the digits "
                "of exactly one"
            )
        ended = await sessions.revoke_listed(args.user, chosen[0].place.digest)
    return CommandResult(WORDS[tools.language]["ended"], facts | {"session": chosen[0].place.digest}, done=ended)


def _facts(session: Session) -> dict[str, object]:
    return {
        "session": session.place.digest,
        "label": session.label,
        "created_at": session.created_at,
        "touched_at": session.touched_at,
        "expires_at": session.expires_at,
    }


def _add_user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", help="the user's id, as the backend knows it")


def _add_session(parser: argparse.ArgumentParser) -> None:
    _add_user(parser)
    parser.add_argument(
        "--session", metavar="DIGITS", help="only this session: its first digits, as `list` shows them"
    )


SESSIONS = Group(
    "sessions",
    "list and end the sessions of users, and create tokens for machines",
    (
        Command("list", "list the live sessions of a user", "sessions list u-17", _add_user, _list),
        Command(
            "revoke", "end all sessions of a user, or one of them", "sessions revoke u-17", _add_session, _revoke
        ),
        *TOKENS,
    ),
)
