"""Django's own tests of a session engine, all of them: `SessionTestsMixin` of its source distribution."""

from django.test import SimpleTestCase
from momentus_client.django.sessions import SessionStore
from sessions_tests.tests import SessionTestsMixin


class MomentusSessionTests(SessionTestsMixin, SimpleTestCase):
    backend = SessionStore
