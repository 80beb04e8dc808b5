"""The Flask application as its own tests see it: with the plugin's fixtures, without Redis."""

import flask_shop as shop
import pytest
from flask import Flask
from momentus_client.flask import Momentus, NotInstalled, current_visit
from momentus_client.sessions import InsecureCookieRefused


@pytest.fixture
def app(momentus_in_memory):
    app = shop.create_app()
    app.testing = True
    momentus_in_memory(app)
    return app


@pytest.fixture
def client(app):
    return app.test_client()


def log_in(client, user="u-17", root=0):
    response = client.post(f"/login?user={user}&root={root}")
    assert response.status_code == 200, response.text
    return response


def test_a_user_logs_in_is_known_and_logs_out(client, momentus_sync_sessions):
    assert client.get("/visitor").text == "nobody"
    log_in(client)
    assert client.get("/me").text == client.get("/visitor").text == client.get("/async").text == "u-17"
    assert client.get("/devices").json == ["test"]
    assert momentus_sync_sessions.users == ["u-17"]
    client.post("/logout")
    assert momentus_sync_sessions.users == []
    assert client.get("/me").status_code == 401


def test_a_response_that_used_the_session_is_kept_from_caches(client):
    log_in(client)
    response = client.get("/me")
    assert (response.headers["Vary"], response.headers["Cache-Control"]) == ("Cookie", "no-store")
    assert client.get("/cached").headers["Cache-Control"] == "max-age=60, private"


def test_without_a_session_the_response_is_401_and_without_the_right_403(client):
    assert client.get("/management").status_code == client.get("/async").status_code == 401
    log_in(client)
    response = client.get("/management")
    assert (response.status_code, "managers only" in response.text) == (403, True)
    log_in(client, root=17)
    assert client.get("/management").text == "u-17"


def test_a_mail_is_recorded_once_however_often_it_is_sent(client, momentus_sync_producer):
    log_in(client)
    assert [client.post("/tasks/42/assign").json["state"] for _ in range(2)] == ["queued", "duplicate"]
    momentus_sync_producer.assert_sent(to="ana@example.com", key="task:42:assigned", count=1)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example.net"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site"}, 200),
    ],
)
def test_a_page_of_another_site_changes_nothing(client, momentus_sync_producer, fields, status):
    log_in(client)
    assert client.post("/tasks/42/assign", headers=fields).status_code == status
    assert len(momentus_sync_producer.sent) == (status == 200)


def test_without_redis_the_response_is_503_and_tells_nothing(client, momentus_sync_sessions):
    log_in(client)
    momentus_sync_sessions.available = False
    response = client.get("/me")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert "redis" not in response.text.lower()


def test_the_insecure_cookie_is_refused_for_other_hosts_and_behind_a_proxy(client):
    with pytest.raises(InsecureCookieRefused, match=r"insecure_cookie: the host is 'shop\.example\.com'"):
        client.get("/visitor", base_url="http://shop.example.com")
    with pytest.raises(InsecureCookieRefused, match="x-forwarded-for"):
        client.get("/visitor", headers={"X-Forwarded-For": "192.0.2.7"})


def test_over_https_the_cookie_is_the_strict_one(client):
    response = client.post("/login?user=u-17", base_url="https://shop.example.com")
    assert response.headers["Set-Cookie"].startswith("__Host-momentus=ms1.")
    assert client.get("/me", base_url="https://shop.example.com").text == "u-17"


def test_an_application_without_an_address_is_told_so():
    with pytest.raises(NotInstalled, match=r"MOMENTUS_REDIS_URL: app\.config has none"):
        Momentus(Flask("bare"))
    with Flask("bare").test_request_context(), pytest.raises(NotInstalled, match="init_app"):
        current_visit()


def test_a_password_is_not_told():
    app = Flask("other")
    Momentus(app, url="redis://:geheim@127.0.0.1:6379/0")
    assert "geheim" not in repr(app.extensions["momentus"])
    with pytest.raises(ValueError, match="url") as refused:
        Momentus(Flask("other"), url="http://:geheim@h")
    assert "geheim" not in str(refused.value)


def test_two_applications_have_producers_of_their_own():
    one, other = shop.create_app(), shop.create_app()
    with one.app_context():
        first = shop.momentus.producer
    with other.app_context():
        assert shop.momentus.producer is not first
