"""Who may do what on the console, by real requests to a real process: roles, forms, and the audit log."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlencode

import pytest
from redis.asyncio import Redis

from ops.audit.log import AUDIT_LOG, begin_entry, list_entries, note_entry
from ops.console.access import COOKIE, ServiceToken, write_cookie
from ops.console.actions import ACTIONS
from ops.depth.read import read_depth
from ops.lanes.hold import Hold
from producers.keys import LaneKeys, catalogue
from sessions import Sessions
from sessions.cookie import SECURE
from tests.command_line import run_ops
from tests.console_process import Reply, Running, running

LANE = "mail.bulk"
TOKENS = {
    "view": "v" * 24,
    "operate": "o" * 24,
    "admin": "a" * 24,
}
SETTINGS = {
    "CONSOLE__LOCAL": "off",
    "CONSOLE__TOKENS": "\n".join(f"{role}-bot:{role}:{token}" for role, token in TOKENS.items()),
    "CONSOLE__PROXIES": "127.0.0.0/8",
    "CONSOLE__PROXY_HEADER": "X-Forwarded-User",
    "CONSOLE__VIEWERS": "* vera",
    "CONSOLE__OPERATORS": "oscar",
    "CONSOLE__ADMINS": "ana",
    "CONSOLE__ALLOWED_HOSTS": "console.example",
}
HOLD = {"lane": LANE, "why": "wrong figures in the digest"}


@pytest.fixture(scope="module")
def consoles() -> Iterator[dict[tuple[str, str], Running]]:
    """Consoles that the tests of this file share."""
    with ExitStack() as stack:

        class Known(dict[tuple[str, str], Running]):
            def __missing__(self, key: tuple[str, str]) -> Running:
                url, kind = key
                self[key] = stack.enter_context(running(url, **(SETTINGS if kind == "guarded" else {})))
                return self[key]

        yield Known()


@pytest.fixture
def console(consoles: dict[tuple[str, str], Running], valkey_url: str) -> Running:
    """A console with no settings."""
    return consoles[valkey_url, "plain"]


@pytest.fixture
def guarded(consoles: dict[tuple[str, str], Running], valkey_url: str) -> Running:
    """A console with roles for tokens, a proxy's users and sessions."""
    return consoles[valkey_url, "guarded"]


def bearer(role: str) -> dict[str, str]:
    return {"authorization": f"Bearer {TOKENS[role]}"}


async def hold_of(redis: Redis) -> Hold | None:
    lane = (await read_depth(redis, tenant="default")).lane(LANE)
    assert lane is not None
    return lane.held


async def test_an_operator_at_this_machine_needs_no_log_in(console: Running, redis: Redis) -> None:
    reply = await console.post("/actions/pause-lane", HOLD, page=f"/lanes/{LANE}")
    assert (reply.status, "Pause the lane: done" in reply.text) == (200, True)
    held = await hold_of(redis)
    assert held is not None
    assert held.reason == HOLD["why"]


async def test_every_change_is_noted_with_who_and_why(console: Running, redis: Redis, valkey_url: str) -> None:
    await console.post("/actions/pause-lane", HOLD, page=f"/lanes/{LANE}")
    (entry,) = await list_entries(redis, limit=10)
    assert (entry.who, entry.role, entry.way) == ("local", "operate", "local")
    assert (entry.action, entry.target, entry.why, entry.outcome) == ("pause-lane", LANE, HOLD["why"], "done")
    begun, ended = await redis.lrange(AUDIT_LOG, 0, -1)
    assert b'"begun"' in begun
    assert b'"done"' in ended
    page = await console.get("/audit")
    assert HOLD["why"] in page.text
    code, said, _ = await run_ops("audit", REDIS_URL=valkey_url)
    assert (code, HOLD["why"] in said) == (0, True)


async def test_a_second_operator_who_does_the_same_is_told_that_there_was_nothing_to_do(
    console: Running, redis: Redis
) -> None:
    await console.post("/actions/pause-lane", HOLD, page=f"/lanes/{LANE}")
    again = await console.post("/actions/pause-lane", HOLD, page=f"/lanes/{LANE}", accept_language="es")
    assert "no había nada que hacer" in again.text
    assert [one.outcome for one in await list_entries(redis, limit=10)] == ["nothing", "done"]


async def test_a_change_that_cannot_be_noted_is_not_made(console: Running, redis: Redis) -> None:
    await redis.set(AUDIT_LOG, "another program's")
    reply = await console.post("/actions/pause-lane", HOLD, page=f"/lanes/{LANE}")
    assert reply.status == 503
    assert await hold_of(redis) is None


async def test_the_log_keeps_its_latest_entries_alone(redis: Redis) -> None:
    for number in range(5):
        entry = begin_entry(who="ana", way="token", role="admin", action="discard", target=str(number), why="")
        await note_entry(redis, entry, kept=3)
    assert [one.target for one in await list_entries(redis, limit=10)] == ["4", "3", "2"]


FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: "-".join(*headers.items()))
async def test_a_form_of_another_site_changes_nothing_even_with_the_right_token(
    console: Running, redis: Redis, headers: dict[str, str]
) -> None:
    token = (await console.get(f"/lanes/{LANE}")).form_token()
    reply = await console.send("/actions/pause-lane", urlencode({"form": token, **HOLD}).encode(), **headers)
    assert (reply.status, "does not come from a current page" in reply.text) == (403, True)
    assert await hold_of(redis) is None
    assert not await redis.exists(AUDIT_LOG)


@pytest.mark.parametrize("token", ["", "0" * 64, "ä"])
async def test_a_form_without_the_token_of_its_page_changes_nothing(
    console: Running, redis: Redis, token: str
) -> None:
    body = urlencode({"form": token, **HOLD}).encode()
    reply = await console.send("/actions/pause-lane", body, **{"sec-fetch-site": "same-origin"})
    assert reply.status == 403
    assert await hold_of(redis) is None


async def test_the_token_of_one_operator_is_none_of_another(guarded: Running, redis: Redis) -> None:
    ana, oscar = {"x-forwarded-user": "ana"}, {"x-forwarded-user": "oscar"}
    token = (await guarded.get(f"/lanes/{LANE}", **ana)).form_token()
    body = urlencode({"form": token, **HOLD}).encode()
    assert (await guarded.send("/actions/pause-lane", body, **oscar)).status == 403
    assert await hold_of(redis) is None


@pytest.mark.parametrize(
    ("role", "action", "status"),
    [
        ("view", "pause-lane", 403),
        ("operate", "pause-lane", 303),
        ("admin", "pause-lane", 303),
        ("operate", "acknowledge-loss", 403),
        ("admin", "acknowledge-loss", 303),
        ("operate", "revoke-session", 403),
        ("view", "refresh", 403),
    ],
)
async def test_a_token_may_do_what_its_role_allows(
    guarded: Running, redis: Redis, role: str, action: str, status: int
) -> None:
    reply = await guarded.send(f"/actions/{action}", urlencode(HOLD | {"user": "u-1"}).encode(), **bearer(role))
    assert reply.status == status
    assert bool(await redis.exists(AUDIT_LOG)) == (status == 303)


async def test_every_action_needs_more_than_the_role_that_looks() -> None:
    assert {action.role for action in ACTIONS.values()} == {"operate", "admin"}


async def test_who_shows_nothing_gets_the_log_in_and_no_number(guarded: Running) -> None:
    for path in ("/", f"/lanes/{LANE}", "/audit", "/nothing"):
        reply = await guarded.get(path)
        assert (reply.status, "<table" in reply.text) == (401, False)
        assert reply.headers["www-authenticate"].startswith("Bearer")
    assert (await guarded.get("/api/depth")).status == 401
    assert (await guarded.get("/healthz")).status == 200


@pytest.mark.parametrize("header", ["Bearer wrong", "Basic YTpi", "Bearer", f"Bearer {TOKENS['admin']}x"])
async def test_a_wrong_token_is_refused_even_where_none_is_needed(console: Running, header: str) -> None:
    assert (await console.get(authorization=header)).status == 401


async def log_in(console: Running, token: str) -> Reply:
    return await console.send("/login", urlencode({"token": token, "back": f"/lanes/{LANE}"}).encode())


async def test_a_browser_logs_in_with_a_token_and_out_again(guarded: Running, redis: Redis) -> None:
    reply = await log_in(guarded, TOKENS["operate"])
    assert (reply.status, reply.headers["location"]) == (303, f"/lanes/{LANE}")
    cookie = reply.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/"))
    assert TOKENS["operate"] not in cookie
    kept = {"cookie": cookie.partition(";")[0]}
    await guarded.post("/actions/pause-lane", HOLD, page=f"/lanes/{LANE}", **kept)
    (entry,) = await list_entries(redis, limit=2)
    assert (entry.who, entry.way) == ("operate-bot", "token")
    token = (await guarded.get(**kept)).form_token()
    out = await guarded.send("/logout", urlencode({"form": token}).encode(), **kept)
    assert out.headers["set-cookie"].startswith(f"{COOKIE}=; Max-Age=0")


async def test_a_wrong_token_logs_nobody_in(guarded: Running) -> None:
    reply = await log_in(guarded, "x" * 24)
    assert (reply.status, "set-cookie" in reply.headers) == (403, False)
    assert "This token is unknown" in reply.text


@pytest.mark.parametrize(
    "change", ["over", "another token", "another name", "a later end", "an end of thousands of digits"]
)
async def test_a_cookie_that_was_not_given_lets_nobody_in(guarded: Running, change: str) -> None:
    until = int(time.time()) + (-1 if change == "over" else 1000)
    token = "y" * 24 if change == "another token" else TOKENS["admin"]
    value = write_cookie(ServiceToken("admin-bot", "admin", token), until_s=until)
    value = {
        "another name": value.replace("admin-bot", "view-bot"),
        "a later end": value.replace(str(until), str(until + 1)),
        "an end of thousands of digits": value.replace(str(until), "9" * 5000),
    }.get(change, value)
    assert (await guarded.get(cookie=f"{COOKIE}={value}")).status == 401


async def test_the_cookie_is_secure_under_a_name_of_the_network(guarded: Running) -> None:
    body = urlencode({"token": TOKENS["view"]}).encode()
    reply = await guarded.send("/login", body, host="console.example")
    assert reply.headers["set-cookie"].endswith("; Secure")


async def test_a_log_in_goes_back_to_this_server_alone(guarded: Running) -> None:
    for back in ("https://evil.example/", "//evil.example", "/\\evil.example", "x"):
        reply = await guarded.send("/login", urlencode({"token": TOKENS["view"], "back": back}).encode())
        assert reply.headers["location"] == "/"


@pytest.mark.parametrize(
    ("user", "role"), [("ana", "admin"), ("oscar", "operate"), ("vera", "view"), ("somebody else", "view")]
)
async def test_a_trusted_proxy_names_the_user(guarded: Running, user: str, role: str) -> None:
    page = await guarded.get(**{"x-forwarded-user": user, "x-forwarded-for": "10.0.0.7"})
    assert f"{user} · {role}" in page.words()


async def test_an_address_that_is_no_proxy_cannot_name_a_user(valkey_url: str) -> None:
    away = SETTINGS | {"CONSOLE__PROXIES": "10.0.0.0/8"}
    with running(valkey_url, **away) as console:
        assert (await console.get(**{"x-forwarded-user": "ana"})).status == 401


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip", "via"])
async def test_what_came_through_a_proxy_is_not_from_this_machine(console: Running, header: str) -> None:
    assert (await console.get(**{header: "127.0.0.1"})).status == 401


async def test_a_session_of_the_product_has_the_role_of_its_user(
    guarded: Running, redis: Redis, valkey_url: str
) -> None:
    async with Redis.from_url(valkey_url) as client:
        sessions = Sessions(client)
        for user, role in (("ana", "admin"), ("oscar", "operate"), ("u-17", "view")):
            token, _ = await sessions.create(user, {"roots": [1]})
            for headers in ({"cookie": f"{SECURE.name}={token}"}, {"authorization": f"Bearer {token}"}):
                assert f"{user} · {role}" in (await guarded.get(**headers)).words()
            await sessions.revoke_user(user)
            assert (await guarded.get(cookie=f"{SECURE.name}={token}")).status == 401
    assert redis


async def test_a_listed_host_is_served_and_a_foreign_one_refused(guarded: Running) -> None:
    assert (await guarded.get(host="console.example", **bearer("view"))).status == 200
    for path in ("/", "/login", "/actions/pause-lane"):
        assert (await guarded.send(path, b"", host="evil.example", **bearer("admin"))).status == 421


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lane": "mail.nothing"}, "is not a lane"),
        ({"lane": ""}, "is not a lane"),
        ({"lane": LANE, "why": "x" * 201}, "at most 200 characters"),
        ({"lane": LANE, "why": "two\nlines\x1b[2J"}, "one printable line"),
        ({}, "is not a lane"),
        ({"lane": "<script>alert(1)</script>"}, "&lt;script&gt;"),
        ({"lane": "--reason=x"}, "is not a lane"),
    ],
)
async def test_a_wrong_field_is_told_of_and_nothing_is_done(
    console: Running, redis: Redis, fields: dict[str, str], said: str
) -> None:
    reply = await console.post("/actions/pause-lane", fields, page=f"/lanes/{LANE}")
    assert reply.status in {200, 400}
    assert said in reply.text
    assert "Traceback" not in reply.text
    assert await hold_of(redis) is None


@pytest.mark.parametrize("body", [b"\xff\xfe%zz=1", b"&" * 5000, b"form=1&form=2", b"{}"])
async def test_what_is_no_form_is_refused(console: Running, body: bytes) -> None:
    assert (await console.send("/actions/pause-lane", body)).status == 403


async def test_a_body_that_is_too_long_is_refused(console: Running) -> None:
    assert (await console.send("/actions/pause-lane", b"x" * (1 << 20))).status == 413


async def test_an_unknown_action_is_a_page_that_says_so(console: Running) -> None:
    assert (await console.post("/actions/flush-all", {}, page=f"/lanes/{LANE}")).status == 404
    assert (await console.get("/actions/pause-lane")).status == 405


async def test_the_language_is_chosen_and_kept(console: Running) -> None:
    reply = await console.get("/language/es?back=/audit", accept_language="en")
    assert (reply.status, reply.headers["location"]) == (303, "/audit")
    page = await console.get("/audit", accept_language="en", cookie=reply.headers["set-cookie"].partition(";")[0])
    assert '<html lang="es">' in page.text


async def test_a_report_is_refreshed_now(console: Running, redis: Redis) -> None:
    await redis.hset(catalogue("default"), "management", '{"board":"one","debounce_ms":60000}')
    reply = await console.post("/actions/refresh", {"report": "management"}, page=f"/lanes/{LANE}")
    assert "management is queued" in reply.text
    assert await redis.zcard(LaneKeys("reports").queue) == 1
    again = await console.post("/actions/refresh", {"report": "management"}, page=f"/lanes/{LANE}")
    assert "already queued" in again.text
    unknown = await console.post("/actions/refresh", {"report": "nothing"}, page=f"/lanes/{LANE}")
    assert "no worker declares" in unknown.text
