"""A console without a process or a socket: requests go straight to its page, and a fault of it fails the test."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from redis.asyncio import Redis

from ops.command import Tools
from ops.console.access import AccessRules, Role
from ops.console.exchange import PageRequest
from ops.console.page import ConsolePage
from tests.console_process import Reply


@dataclass(frozen=True, slots=True)
class Inside:
    """A console as an operator at this machine meets it."""

    page: ConsolePage

    async def get(self, path: str = "/", **headers: str) -> Reply:
        """Ask for a page; a `_` in a header's name stands for a hyphen."""
        return await self._ask("GET", path, b"", headers)

    async def send(self, path: str, body: bytes, **headers: str) -> Reply:
        """Send a form as it is."""
        return await self._ask("POST", path, body, headers)

    async def post(self, path: str, fields: Mapping[str, str], *, page: str = "/", **headers: str) -> Reply:
        """Send the form of a page, as a browser does, and return what follows on the redirect."""
        token = (await self.get(page, **headers)).form_token()
        reply = await self.send(path, urlencode({"form": token, **fields}).encode(), **headers)
        return await self.get(reply.headers["location"], **headers) if reply.status == 303 else reply

    async def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        where, _, query = path.partition("?")
        names = {"host": "127.0.0.1", **{name.replace("_", "-"): it for name, it in headers.items()}}
        response = await self.page.respond(
            PageRequest(
                method=method,
                path=where,
                query=query,
                host=names["host"],
                accept_language=names.get("accept-language", ""),
                headers=names,
                body=body,
                peer="127.0.0.1",
            )
        )
        return Reply(response.status, dict(response.all_headers), response.body.decode())


def inside(redis: Redis, role: Role = "operate", **tools: object) -> Inside:
    """A console on this Redis, with this role for operators at this machine."""
    known = Tools(redis=redis, redis_url="", **tools)  # type: ignore[arg-type]  # those of Tools
    rules = AccessRules(local=role, shown_fields=frozenset({"subject"}))
    return Inside(ConsolePage(redis, tenant="default", named="MOMENTUS_REDIS_URL", tools=known, rules=rules))
