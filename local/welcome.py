"""Lines that `./run up` prints once everything is ready: pages, a token, and the next steps."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from local.installation import GENERAL_MANAGER, Installation
from local.texts import WORDS
from ops.language import Language
from sessions import SessionError, Sessions

_NAME = "up"
_LASTS = timedelta(days=1)
_ROOT = 1
"""The node of the invented organisation that is above all others."""


@asynccontextmanager
async def print_welcome(
    installation: Installation, language: Language, say: Callable[[str], None]
) -> AsyncIterator[None]:
    """Print the next steps; a token is created for as long as this runs.

    Only a run whose Redis and Postgres are both embedded prints it, and the address of its queue, because their
    data is invented: credentials for real data do not belong in a terminal or a log unasked.
    """
    async with _token(installation) as token:
        queue = installation.redis_url if token else ""
        for line in welcome_lines(installation.links, token, language, queue=queue):
            say(line)
        yield


def welcome_lines(links: Mapping[str, str], token: str, language: Language, *, queue: str = "") -> Iterator[str]:
    """Yield the lines; without a token, the command that creates one takes its place.

    Args:
        queue: the address of the queue with its password, for the user's own code; empty to leave it out.

    >>> next(welcome_lines({"console": "http://127.0.0.1:8711/"}, "", "en"))
    'Everything runs. Pages:'
    """
    texts = WORDS[language]
    yield texts["running"]
    yield from (f"  {name:>8}  {link}" for name, link in links.items())
    if token:
        yield texts["token"]
        yield f"  {token}"
        yield texts["manager"]
        yield f"  {links['page']}{GENERAL_MANAGER}&token={token}"
    if queue:
        yield texts["queue"]
        yield f"  export MOMENTUS_REDIS_URL={queue}"
    yield texts["next"]
    if not token:
        yield from _step("./run ops sessions token wallboard --roots 1", texts["own_token"])
    bearer = token or "$TOKEN"
    yield from _step(f'curl -i {links["reader"]} -H "Authorization: Bearer {bearer}"', texts["read"])
    yield from _step("./run ops depth --watch", texts["depth"])
    yield from _step("./run ops reports status", texts["status"])
    yield from _step("./run ops doctor", texts["check"])


def _step(command: str, meaning: str) -> Iterator[str]:
    yield f"  {command}"
    yield f"      {meaning}"


@asynccontextmanager
async def _token(installation: Installation) -> AsyncIterator[str]:
    plan = installation.plan
    if plan.redis_url is not None or plan.postgres_dsn is not None:
        yield ""
        return
    sessions = Sessions.connect(installation.redis_url)
    token = ""
    try:
        with suppress(SessionError):  # a hundred tokens, or a slow machine: the steps name the command instead
            token, _ = await sessions.create_service(_NAME, [_ROOT], lasts=_LASTS)
        yield token
    finally:
        with suppress(SessionError):  # it ends after a day
            await sessions.revoke(token)
        await sessions.close()
