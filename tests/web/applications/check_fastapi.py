"""The FastAPI application as its own tests see it: with the plugin's fixtures, without Redis."""

import asyncio

import fastapi_shop as shop
import pytest
from fastapi.testclient import TestClient
from momentus_client.fastapi import NotInstalled
from momentus_client.sessions import InsecureCookieRefused
from starlette.websockets import WebSocketDisconnect

LOCAL = "http://127.0.0.1"


@pytest.fixture
def client(momentus_in_memory):
    momentus_in_memory(shop.momentus)
    shop.events.clear()
    with TestClient(shop.app, base_url=LOCAL) as client:
        yield client


def log_in(client, user="u-17", root=0):
    response = client.post("/login", params={"user": user, "root": root})
    assert response.status_code == 200, response.text
    return response


def test_a_user_logs_in_is_known_and_logs_out(client, momentus_sessions):
    assert client.get("/visitor").json() == "nobody"
    log_in(client)
    assert client.get("/me").json() == client.get("/visitor").json() == "u-17"
    assert client.get("/devices").json() == ["test"]
    assert momentus_sessions.users == ["u-17"]
    client.post("/logout")
    assert momentus_sessions.users == []
    assert client.get("/me").status_code == 401


def test_a_response_that_used_the_session_is_kept_from_caches(client):
    log_in(client)
    response = client.get("/me")
    assert (response.headers["vary"], response.headers["cache-control"]) == ("Cookie", "no-store")


def test_without_a_session_the_response_is_401_and_without_the_right_403(client):
    response = client.get("/me")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Cookie realm="momentus"')
    log_in(client)
    response = client.get("/management")
    assert (response.status_code, response.json()) == (403, {"detail": "managers only"})
    log_in(client, root=17)
    assert client.get("/management").json() == "u-17"


def test_a_mail_is_recorded_once_however_often_it_is_sent(client, momentus_producer):
    log_in(client)
    states = [client.post("/tasks/42/assign").json()["state"] for _ in range(2)]
    assert states == ["queued", "duplicate"]
    (sent,) = momentus_producer.assert_sent(to="ana@example.com", key="task:42:assigned", count=1)
    assert sent.payload["subject"] == "Tarea 42"


def test_the_lifespans_of_the_application_and_a_router_run_too(client):
    assert sorted(shop.events) == ["begin", "router begins"]


def test_a_mounted_application_and_a_websocket_know_the_session(client):
    log_in(client)
    assert client.get("/admin/me").json() == "admin u-17"
    with client.websocket_connect("ws://127.0.0.1/ws") as socket:
        assert socket.receive_text() == "u-17"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example.net"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"origin": LOCAL}, 200),
        ({"sec-fetch-site": "cross-site", "origin": "https://app.example.com"}, 200),
        ({}, 200),
    ],
)
def test_a_page_of_another_site_changes_nothing(client, momentus_producer, fields, status):
    log_in(client)
    assert client.post("/tasks/42/assign", headers=fields).status_code == status
    assert len(momentus_producer.sent) == (status == 200)
    assert client.get("/me", headers=fields).status_code == 200, "reading is not changed by it"


def test_a_websocket_of_another_site_is_not_opened(client):
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/ws", headers={"origin": "https://evil.example.net"}),
    ):
        pass


def test_without_redis_the_response_is_503_and_tells_nothing(client, momentus_sessions):
    log_in(client)
    momentus_sessions.available = False
    response = client.get("/me")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "redis" not in response.text.lower()


@pytest.mark.parametrize("host", ["shop.example.com", "192.0.2.7", "127.0.0.1.example.com"])
def test_the_insecure_cookie_is_refused_for_other_hosts(momentus_in_memory, host):
    momentus_in_memory(shop.momentus)
    client = TestClient(shop.app, base_url=f"http://{host}")
    with pytest.raises(InsecureCookieRefused, match=f"insecure_cookie: the host is '{host}'"):
        client.get("/visitor")


def test_the_insecure_cookie_is_refused_behind_a_proxy(client):
    with pytest.raises(InsecureCookieRefused, match="x-forwarded-for"):
        client.get("/visitor", headers={"x-forwarded-for": "192.0.2.7"})


def test_over_https_and_without_the_switch_the_cookie_is_the_strict_one(momentus_in_memory, monkeypatch):
    momentus_in_memory(shop.momentus)
    secure = TestClient(shop.app, base_url="https://shop.example.com")
    assert log_in(secure).headers["set-cookie"].startswith("__Host-momentus=")
    assert secure.get("/me").json() == "u-17"
    monkeypatch.setattr(shop.momentus, "insecure_cookie", False)
    plain = TestClient(shop.app, base_url=LOCAL)
    assert "Secure" in log_in(plain).headers["set-cookie"]
    assert plain.get("/me").status_code == 401, "clients send it over https only"


def test_an_application_that_forgot_to_install_is_told_so():
    with pytest.raises(NotInstalled, match=r"momentus\.install\(app\)"):
        TestClient(shop.bare).get("/me")


def test_an_address_is_refused_where_it_is_given_and_its_password_is_not_told():
    with pytest.raises(ValueError, match="url") as refused:
        shop.Momentus.connect("http://:geheim@127.0.0.1:6379/0")
    assert "geheim" not in str(refused.value)
    assert "geheim" not in repr(shop.Momentus.connect("redis://:geheim@127.0.0.1:6379/0").__dict__)


def test_the_cookie_is_described_in_openapi(client):
    described = client.get("/openapi.json").json()
    assert described["components"]["securitySchemes"]["session"]["name"] == "__Host-momentus"
    assert described["paths"]["/me"]["get"]["security"] == [{"session": []}]


def test_the_recording_fixtures_serve_several_event_loops_and_sync_code(
    momentus_producer, momentus_sessions, momentus_sync_sessions
):
    token, _ = momentus_sync_sessions.create("u-18", {})

    async def work():
        await momentus_producer.send(shop.Mail(to="a@example.com", subject="a", text="b"))
        return (await momentus_sessions.load(token)).user

    assert [asyncio.run(work()) for _ in range(3)] == ["u-18"] * 3
    assert len(momentus_producer.sent) == 3
