"""A backend in Node, written from docs/sessions.md alone, shares the sessions of one in Python."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sessions import Sessions

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not on this machine")


@pytest.fixture
async def sessions(valkey_url: str) -> AsyncIterator[Sessions]:
    it = Sessions.connect(valkey_url, deadline=timedelta(seconds=10))
    yield it
    await it.close()


async def node(valkey_url: str, *words: str) -> Any:
    port = str(urlsplit(valkey_url).port)
    script = str(ROOT / "tests/session_node.mjs")
    running = await asyncio.create_subprocess_exec(
        "node", script, port, str(ROOT / "sessions"), *words, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await running.communicate()
    assert running.returncode == 0
    return json.loads(said)


async def test_what_node_creates_python_loads_and_the_other_way_round(sessions: Sessions, valkey_url: str) -> None:
    made = await node(valkey_url, "create", "josé", '{"roots":[17],"nombre":"ñ"}')
    found = await sessions.load(made["token"])
    assert found is not None
    assert (found.user, found.data, found.label) == ("josé", {"roots": [17], "nombre": "ñ"}, "node")
    token, session = await sessions.create("josé", {"roots": [18]})
    record = await node(valkey_url, "load", token)
    assert json.loads(record[8]) == {"roots": [18]}
    assert record[9] == session.place.digest
    assert {one.label for one in await sessions.sessions_of("josé")} == {"node", ""}


async def test_of_two_saves_without_a_call_the_second_is_a_conflict(sessions: Sessions, valkey_url: str) -> None:
    token, _ = await sessions.create("u-17", {"n": 1})
    assert (await node(valkey_url, "late-save", token, "1", '{"n":2}'))[0] == "saved"
    assert (await node(valkey_url, "late-save", token, "1", '{"n":2}'))[0] == "conflict"


async def test_what_node_saves_and_rotates_is_seen_by_python(sessions: Sessions, valkey_url: str) -> None:
    token, _ = await sessions.create("u-17", {"n": 1})
    assert (await node(valkey_url, "save", token, '{"n":2}'))[0] == "saved"
    rotated = await node(valkey_url, "rotate", token)
    assert rotated["verdict"] == "rotated"
    found = await sessions.load(rotated["token"])
    assert found is not None
    assert found.data == {"n": 2}


async def test_a_log_out_in_node_is_one_in_python(sessions: Sessions, valkey_url: str) -> None:
    token, _ = await sessions.create("u-17", {})
    assert await node(valkey_url, "revoke", token) == 1
    assert await sessions.load(token) is None
    assert await node(valkey_url, "load", token) is None
    assert await node(valkey_url, "load", "not a token") is None


async def test_what_node_loaded_before_a_rotation_it_saves_and_ends_after_it(
    sessions: Sessions, valkey_url: str
) -> None:
    token, loaded = await sessions.create("u-17", {"n": 1})
    rotated = await sessions.rotate(token)
    assert rotated is not None
    saved = await node(valkey_url, "late-save", token, str(loaded.version), '{"n":2}')
    assert (saved[0], saved[10]) == ("saved", rotated[1].place.digest)
    assert (await node(valkey_url, "rotate", token))["verdict"] == "already"
    assert await node(valkey_url, "revoke", token) == 1
    assert await sessions.load(rotated[0]) is None
    assert (await node(valkey_url, "rotate", token))["verdict"] == "gone"
