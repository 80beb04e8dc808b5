"""The same answer by three Python stacks: the document of a path, as it is stored, with redis-py.

Started by uvicorn in an environment of their own: ``uvicorn bench.reader_peers.apps:raw``.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio as aioredis
from fastapi import FastAPI, Response as FastResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_redis = aioredis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
_JSON = "application/json"

fast = FastAPI()


@fast.get("/{name}")  # type: ignore[untyped-decorator]  # measured in an environment of its own
async def fast_document(name: str) -> FastResponse:
    """One document."""
    return FastResponse(await _redis.get(name), media_type=_JSON)


async def _document(request: Request) -> Response:
    return Response(await _redis.get(request.path_params["name"]), media_type=_JSON)


star = Starlette(routes=[Route("/{name}", _document)])


async def raw(scope: dict[str, Any], receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """One document, without a framework."""
    del receive
    if scope["type"] != "http":
        return
    body = await _redis.get(scope["path"][1:])
    length = (b"content-length", b"%d" % len(body))
    headers = [(b"content-type", b"application/json"), length]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
