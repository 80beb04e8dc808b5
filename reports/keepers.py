"""Leases of boards: the worker that keeps the last sets of each, to which its next refresh goes.

A worker that refreshed a board keeps what it stored (`reports.last_set`) and queries only changed nodes; any other
would compute the whole, and this one would do so the next time. So each board has one worker in Redis, by a lease
that the worker renews each second. When it dies the lease lapses, and the next worker that claims a refresh of the
board computes the whole once.
"""

import secrets
from contextlib import suppress
from datetime import timedelta

from redis.asyncio import Redis
from redis.exceptions import RedisError

from reports.keys import keeper

_LASTING = timedelta(seconds=5)
_TAKE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] and ARGV[3] == '0' then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"


class Keepers:
    """The boards of a tenant that this worker keeps."""

    def __init__(self, redis: Redis, *, tenant: str) -> None:
        self._tenant = tenant
        self._me = secrets.token_hex(8)
        self._take = redis.register_script(_TAKE)
        self._release = redis.register_script(_RELEASE)
        self._boards: set[str] = set()

    async def take_board(self, board: str, *, by_force: bool = False) -> bool:
        """Take or renew the lease of a board; return False if another worker has it.

        Args:
            by_force: take it from another worker as well.
        """
        lasting_ms = _LASTING // timedelta(milliseconds=1)
        keys = [keeper(self._tenant, board)]
        mine = bool(await self._take(keys=keys, args=[self._me, lasting_ms, int(by_force)]))
        (self._boards.add if mine else self._boards.discard)(board)
        return mine

    async def renew_leases(self) -> None:
        """Renew the leases of all boards that this worker keeps."""
        for board in list(self._boards):
            await self.take_board(board)

    async def release_boards(self) -> None:
        """Give the boards back, so that the next worker need not wait until the leases lapse."""
        boards, self._boards = self._boards, set()
        with suppress(RedisError):  # then they lapse
            for board in boards:
                await self._release(keys=[keeper(self._tenant, board)], args=[self._me])
