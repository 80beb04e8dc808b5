"""The commands of ``ops sessions``. No token is ever shown: nobody but the browser has it."""

import argparse
from datetime import timedelta

from ops.command import Answer, Command, Group, Refused, Tools
from ops.depth_table import printable, table
from sessions import Session, SessionRefused, Sessions, SessionsUnavailable

_DEADLINE = timedelta(seconds=2)
_SHOWN = 12
"""Digits of a digest that people read; enough to tell a user's sessions apart."""


async def _list(tools: Tools, asked: argparse.Namespace) -> Answer:
    try:
        found = await _sessions(tools).sessions_of(asked.user)
    except SessionRefused as refusal:
        raise Refused(str(refusal)) from refusal
    except SessionsUnavailable as error:
        raise ConnectionError(str(error)) from error
    facts = {"user": asked.user, "sessions": [_facts(one) for one in found]}
    if not found:
        return Answer("no session", facts, done=False)
    rows = [
        [one.place.digest[:_SHOWN], _at(one.created_at), _at(one.touched_at), printable(one.label)]
        for one in found
    ]
    return Answer(
        table(("SESSION", "LOGGED IN (UTC)", "LAST USED (UTC)", "LABEL"), rows, left={0, 1, 2, 3}), facts
    )


async def _revoke(tools: Tools, asked: argparse.Namespace) -> Answer:
    sessions = _sessions(tools)
    facts = {"user": asked.user}
    try:
        if asked.session is None:
            epoch = await sessions.revoke_user(asked.user)
            return Answer("all sessions of this user have ended", facts | {"epoch": epoch})
        chosen = [
            one for one in await sessions.sessions_of(asked.user) if one.place.digest.startswith(asked.session)
        ]
        if len(chosen) != 1:
            raise Refused(f"{len(chosen)} sessions of this user begin with {asked.session!r}: name exactly one")
        ended = await sessions.revoke_listed(asked.user, chosen[0].place.digest)
    except SessionRefused as refusal:
        raise Refused(str(refusal)) from refusal
    except SessionsUnavailable as error:
        raise ConnectionError(str(error)) from error
    return Answer("the session has ended", facts | {"session": chosen[0].place.digest}, done=ended)


def _sessions(tools: Tools) -> Sessions:
    return Sessions(tools.redis, deadline=_DEADLINE)


def _facts(session: Session) -> dict[str, object]:
    return {
        "session": session.place.digest,
        "label": session.label,
        "created_at": session.created_at,
        "touched_at": session.touched_at,
        "expires_at": session.expires_at,
    }


def _at(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _takes_user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", help="the user's id, as the backend knows it")


def _takes_session(parser: argparse.ArgumentParser) -> None:
    _takes_user(parser)
    parser.add_argument("--session", metavar="DIGITS", help="only this one: the first digits that `list` shows")


SESSIONS = Group(
    "sessions",
    "who is logged in where, and log them out",
    (
        Command("list", "the living sessions of a user", "sessions list u-17", _takes_user, _list),
        Command("revoke", "end all sessions of a user, or one", "sessions revoke u-17", _takes_session, _revoke),
    ),
)
