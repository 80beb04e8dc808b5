"""Promises of the session engine, kept in the shop."""

import os
from datetime import timedelta

from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import UpdateError
from django.test import Client, TestCase, override_settings
from momentus_client.django.sessions import SessionStore
from momentus_client.sessions import Session, SyncSessions

OTHERS = SyncSessions.connect(os.environ["SHOP_REDIS"])
"""Another backend on the same sessions."""
COOKIE = "__Host-momentus"


def token(client: Client) -> str:
    return client.cookies[COOKIE].value


def record(key: str) -> Session:
    store = SessionStore(key)
    store.load()
    return store._record


class VisitorPromises(TestCase):
    def test_a_visitors_basket_is_kept(self) -> None:
        self.client.get("/basket?item=tea")
        self.assertEqual(self.client.get("/basket?item=cup").json(), {"basket": ["tea", "cup"]})

    def test_async_views_share_the_basket(self) -> None:
        self.client.get("/basket?item=tea")
        self.assertEqual(self.client.get("/async-basket?item=cup").json(), {"basket": ["tea", "cup"]})
        self.assertEqual(self.client.get("/basket?item=pot").json(), {"basket": ["tea", "cup", "pot"]})

    def test_a_visitor_is_nobody_for_other_backends(self) -> None:
        self.client.get("/basket?item=tea")
        self.assertTrue(token(self.client).startswith("ma1."))
        self.assertIsNone(OTHERS.load(token(self.client)))

    def test_a_page_that_reads_nothing_sets_no_cookie(self) -> None:
        self.client.get("/who")
        self.assertNotIn(COOKIE, self.client.cookies)

    def test_the_cookie_is_for_this_host_and_no_script(self) -> None:
        self.client.get("/basket?item=tea")
        cookie = self.client.cookies[COOKIE]
        flags = (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"])
        self.assertEqual(flags, (True, True, "Lax", "/", ""))


class LoginPromises(TestCase):
    def setUp(self) -> None:
        self.user = User.objects.create_user("ana", password="secret")

    def enter(self) -> None:
        self.client.post("/enter", {"name": "ana", "password": "secret"})

    def test_other_backends_read_who_is_logged_in_and_what_they_may_read(self) -> None:
        self.enter()
        session = OTHERS.load(token(self.client))
        self.assertEqual((session.user, session.data["roots"]), (str(self.user.pk), [17]))

    def test_a_log_in_keeps_the_basket_and_ends_the_visitors_token(self) -> None:
        self.client.get("/basket?item=tea")
        before = token(self.client)
        self.enter()
        self.assertEqual(self.client.get("/basket?item=cup").json(), {"basket": ["tea", "cup"]})
        self.assertFalse(SessionStore().exists(before))

    def test_a_log_out_here_ends_the_session_everywhere(self) -> None:
        self.enter()
        before = token(self.client)
        self.client.post("/leave")
        self.assertIsNone(OTHERS.load(before))
        self.assertEqual(self.client.get("/who").json()["user"], None)

    def test_a_log_out_elsewhere_ends_the_session_here(self) -> None:
        self.enter()
        OTHERS.revoke_user(str(self.user.pk))
        self.assertIsNone(self.client.get("/who").json()["user"])

    def test_a_changed_password_gives_a_new_token_and_ends_the_old_one(self) -> None:
        self.enter()
        before = token(self.client)
        self.client.post("/password", {"password": "new"})
        self.assertEqual(self.client.get("/who").json()["user"], self.user.pk)
        self.assertNotEqual(token(self.client), before)
        self.assertIsNone(OTHERS.load(before))

    def test_a_second_user_on_the_same_browser_gets_nothing_of_the_first(self) -> None:
        self.enter()
        self.client.get("/basket?item=tea")
        User.objects.create_user("luis", password="secret")
        self.client.post("/enter", {"name": "luis", "password": "secret"})
        self.assertEqual(self.client.get("/basket?item=cup").json(), {"basket": ["cup"]})

    def test_a_log_in_at_another_backend_is_seen_as_the_sessions_owner(self) -> None:
        self.client.cookies[COOKIE] = OTHERS.create(str(self.user.pk), {"roots": [3]})[0]
        self.assertEqual(self.client.get("/who").json()["owner"], str(self.user.pk))
        self.client.get("/basket?item=tea")
        self.assertEqual(OTHERS.load(token(self.client)).data, {"roots": [3], "basket": ["tea"]})

    def test_a_machines_token_opens_no_session(self) -> None:
        self.client.cookies[COOKIE] = OTHERS.create_service("wall", [17], lasts=timedelta(days=1))[0]
        self.assertIsNone(self.client.get("/who").json()["owner"])


class StorePromises(TestCase):
    def saved(self, **data: object) -> SessionStore:
        store = SessionStore()
        store.update(data)
        store.save()
        return store

    def test_two_requests_that_save_at_once_lose_nothing(self) -> None:
        key = self.saved(kept=1).session_key
        one, other = SessionStore(key), SessionStore(key)
        one["a"], other["b"] = 1, 2
        del other["kept"]
        one.save()
        other.save()
        self.assertEqual(dict(SessionStore(key).items()), {"a": 1, "b": 2})
        self.assertEqual(dict(other.items()), {"a": 1, "b": 2})

    def test_a_save_after_a_log_out_restores_nothing(self) -> None:
        store = self.saved(a=1)
        SessionStore(store.session_key).flush()
        for change in ({"a": 2}, {"_session_expiry": 60}, {}):
            store.update(change)
            with self.assertRaises(UpdateError):
                store.save()
            self.assertFalse(SessionStore().exists(store.session_key))

    def test_a_session_ends_when_set_expiry_says_so(self) -> None:
        store = self.saved(a=1)
        store.set_expiry(300)
        store.save()
        self.assertEqual(store._record.idle.total_seconds(), 300)
        before = store.session_key
        store.set_expiry(-1)
        store.save()
        self.assertEqual(dict(SessionStore(store.session_key).items()), {})
        self.assertFalse(SessionStore().exists(before))

    def test_a_session_ends_at_the_latest_after_its_absolute_limit(self) -> None:
        record = self.saved(a=1)._record
        self.assertEqual((record.expires_at - record.created_at).days, 30)

    @override_settings(MOMENTUS={"URL": os.environ["SHOP_REDIS"], "SESSION_ABSOLUTE": 60}, SESSION_COOKIE_AGE=20)
    def test_the_absolute_limit_is_a_setting(self) -> None:
        record = self.saved(a=1)._record
        self.assertEqual((record.expires_at - record.created_at).seconds, 60)

    def test_what_is_no_json_is_refused_and_the_stored_session_stays(self) -> None:
        store = self.saved(a=1)
        store["a"] = {1, 2}
        with self.assertRaises(TypeError):
            store.save()
        self.assertEqual(dict(SessionStore(store.session_key).items()), {"a": 1})

    def test_a_key_of_another_form_is_no_session(self) -> None:
        for text in ("", "1", "x" * 40, "ms1.00000000." + "A" * 43, "é" * 60):
            self.assertEqual(dict(SessionStore(text).items()), {}, text)
            self.assertFalse(SessionStore().exists(text))

    @override_settings(SESSION_SAVE_EVERY_REQUEST=True)
    def test_saving_at_every_request_writes_nothing_that_did_not_change(self) -> None:
        self.client.get("/basket?item=tea")
        before = record(token(self.client)).version
        self.client.get("/who")
        self.assertIn(COOKIE, self.client.cookies, "the cookie's life is extended")
        self.assertEqual(record(token(self.client)).version, before)
