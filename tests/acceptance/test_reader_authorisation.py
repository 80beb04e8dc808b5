"""Who may read what: every pair of a session and a node, in any tree, against an oracle that knows no paths."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from redis.asyncio import Redis

from reader.cache import ReplyCache
from reader.connection import Connection
from reader.guard import Guard
from reader.handler import Reader
from reader.message import HeaderList, Request, Response
from reader.report import ReportResponder
from reader.store import StoredReports
from sessions import Sessions
from tests.reader_process import REPORT, document, meta
from tests.support import eventually

LONG = timedelta(seconds=20)
NEVER = 424_242
"""A node that is in no tree."""

Parents = Mapping[int | str, int | str | None]
"""Each node's parent; None at the top. Numbers and texts stand side by side, as no tree of a worker has them."""


# The oracle: downwards, by children, where the reader goes by the path from the top


def subtree(parents: Parents, root: int | str) -> set[int | str]:
    """The node and all below it; empty for what is no node."""
    if root not in parents:
        return set()
    children = [node for node, parent in parents.items() if parent == root]
    return {root}.union(*(subtree(parents, child) for child in children))


def may_read(parents: Parents, roots: Sequence[object]) -> set[int | str]:
    named = {str(root) for root in roots if isinstance(root, int | str) and not isinstance(root, bool)}
    return set().union(*(subtree(parents, node) for node in parents if str(node) in named))


# Any tree, any roots


@st.composite
def trees(draw: st.DrawFn, ids: Sequence[int | str]) -> dict[int | str, int | str | None]:
    """A forest of some of the nodes: each below one that was there before it, or at a top."""
    order = draw(st.permutations(ids))[: draw(st.integers(1, len(ids)))]
    above = [draw(st.sampled_from([None, *order[:place]])) for place in range(len(order))]
    return dict(zip(order, above, strict=True))


@st.composite
def organisations(draw: st.DrawFn) -> tuple[Parents, Parents, list[list[Any]]]:
    """A tree, what a re-organisation makes of it, and the roots of some sessions, as each language writes them."""
    texts = st.sampled_from(["ventas", "ventas.norte", "x", "_x", "~", "0b7f0c3e-1d6b-4a53-8a0e-0f3a4f1c9a55"])
    ids = draw(st.lists(st.integers(1, 60) | st.just(2**63 - 1) | texts, min_size=2, max_size=9, unique=True))
    root = st.sampled_from([*ids, NEVER])
    junk: st.SearchStrategy[Any] = st.sampled_from([None, True, "", "x", "-1", "1e3", "ventas/norte", "*", {}, []])
    roots = st.lists(st.lists(root | root.map(str) | junk, max_size=3), min_size=1, max_size=4)
    return draw(trees(ids)), draw(trees(ids)), draw(roots)


asked = st.fixed_dictionaries(
    {},
    optional={
        "if-none-match": st.sampled_from(["*", f'W/"{"0" * 16}"']),
        "cache-control": st.sampled_from(
            ["max-stale", "max-age=1, only-if-cached", "min-fresh=500, only-if-cached"]
        ),
        "accept": st.sampled_from(["text/html", "application/json"]),
        "accept-encoding": st.sampled_from(["gzip", "zstd, identity;q=0"]),
    },
)
"""Conditions, none of which may tell the forbidden from the absent."""


# The reader and what is stored


@dataclass
class House:
    """A reader, its Redis, and a backend's sessions."""

    reader: Reader
    redis: Redis
    sessions: Sessions

    async def publish(self, parents: Parents) -> None:
        """A whole new set, as the worker swaps it in: what is not in it any more is gone."""
        fields: dict[str, bytes] = dict(meta())
        for node in parents:
            fields |= document(node, path_of(parents, node), json.dumps({"scope": node}).encode())
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.delete(REPORT)
            pipe.hset(REPORT, mapping=fields)
            await pipe.execute()

    async def ask(self, token: str, node: int | str, method: str = "GET", **more: str) -> Response:
        headers = [("authorization", f"Bearer {token}"), *more.items()]
        path = f"/v1/reports/general/{node}"
        return await self.reader.response(Request(method=method, path=path, fields=HeaderList(headers)))

    async def readable(self, token: str, nodes: Sequence[int | str]) -> set[int | str]:
        """Which nodes a session is shown; each must be shown as itself."""
        answers = await asyncio.gather(*(self.ask(token, node) for node in nodes))
        shown = {node: answer for node, answer in zip(nodes, answers, strict=True) if answer.status == 200}
        assert all(json.loads(answer.body) == {"scope": node} for node, answer in shown.items())
        assert {answer.status for answer in answers} <= {200, 404}
        return set(shown)


def path_of(parents: Parents, node: int | str) -> list[int | str]:
    """From the top of the tree down to the node."""
    parent = parents[node]
    return [*([] if parent is None else path_of(parents, parent)), node]


@asynccontextmanager
async def house(url: str, copy: ReplyCache | None = None) -> AsyncIterator[House]:
    connection = Connection(url, deadline=LONG, copy=copy)
    guard, store = Guard(connection, copy), StoredReports(connection, tenant="default", copy=copy)
    sessions = Sessions.connect(url, deadline=LONG)
    async with Redis.from_url(url) as redis:
        yield House(Reader(store, ReportResponder(store, guard), guard), redis, sessions)
    await sessions.close()
    await connection.close()


def examples(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


# The promises


async def every_pair(url: str, found: tuple[Parents, Parents, list[list[Any]]]) -> None:
    before, after, principals = found
    nodes = [*{*before, *after}, NEVER]
    async with house(url) as one:
        tokens = [(await one.sessions.create("u-17", {"roots": roots}))[0] for roots in principals]
        for parents in (before, after, before):
            await one.publish(parents)
            for token, roots in zip(tokens, principals, strict=True):
                assert await one.readable(token, nodes) == may_read(parents, roots)


@examples(25)
@given(organisations())
async def test_a_session_reads_the_subtrees_of_its_roots_and_a_reorganisation_counts_at_the_next_read(
    valkey_url: str, found: tuple[Parents, Parents, list[list[Any]]]
) -> None:
    await every_pair(valkey_url, found)


@pytest.mark.long
@pytest.mark.timeout(1200)
@examples(2000)
@given(organisations())
async def test_every_pair_of_a_session_and_a_node_in_very_many_trees(
    valkey_url: str, found: tuple[Parents, Parents, list[list[Any]]]
) -> None:
    await every_pair(valkey_url, found)


@examples(25)
@given(organisations(), asked, st.sampled_from(["GET", "HEAD"]), st.sampled_from([0, 60, 400]))
async def test_the_absent_and_the_forbidden_are_one_answer_octet_by_octet(
    valkey_url: str,
    found: tuple[Parents, Parents, list[list[Any]]],
    headers: dict[str, str],
    method: str,
    age_s: float,
) -> None:
    parents, _, principals = found
    async with house(valkey_url) as one:
        await one.publish(parents)
        await one.redis.hset(REPORT, mapping=meta(age_s=age_s))
        for roots in principals:
            token, _ = await one.sessions.create("u-17", {"roots": roots})
            absent = await one.ask(token, NEVER, method, **headers)
            assert absent.status == 404
            for node in parents.keys() - may_read(parents, roots):
                forbidden = await one.ask(token, node, method, **headers)
                assert (forbidden.status, forbidden.headers, forbidden.body) == (
                    absent.status,
                    absent.headers,
                    absent.body,
                )


async def test_a_reorganisation_reaches_a_reader_that_keeps_a_copy(valkey_url: str) -> None:
    copy = ReplyCache(limit=1_000_000)
    async with house(valkey_url, copy) as one:
        token, _ = await one.sessions.create("u-17", {"roots": [2]})
        trees: list[Parents] = [{1: None, 2: 1, 3: 2}, {1: None, 2: 1, 3: 1}, {2: None, 1: 2, 3: 1}]
        for parents in trees * 10:
            await one.publish(parents)

            async def agrees(parents: Parents = parents) -> bool:
                return await one.readable(token, [1, 2, 3]) == may_read(parents, [2])

            assert await eventually(agrees, every=0)


def test_the_oracle_knows_a_tree_when_it_sees_one() -> None:
    parents: Parents = {1: None, 4: 1, 9: 4, 5: 1, 7: None}
    assert may_read(parents, [4]) == {4, 9}
    assert may_read(parents, ["1", 7, None]) == {1, 4, 5, 7, 9}
    assert may_read(parents, [NEVER, "x"]) == set()
