"""Django's own tests of a mail backend, from its source distribution, on the letters that a worker would send.

`EXCEPTIONS` has each test that cannot hold here, with the reason.
"""

import json
import os
from email import message_from_bytes, policy
from email.message import EmailMessage
from unittest import SkipTest

import redis
from django.test import SimpleTestCase
from momentus_client.django import EmailBackend

from jobs.mail.letter import LetterSender, write_letter

try:
    from mail.test_backends import SharedEmailBackendTests as Suite  # from Django 6.1 on
except ImportError:
    from mail.tests import BaseEmailBackendTests as Suite

SERVER = redis.Redis.from_url(os.environ["SHOP_REDIS"])
QUEUE = "arq:queue:{mail}:mail.normal"
SENDER = LetterSender("worker@example.com")

EMPTY = "a mail without a subject or a body is refused, by name of the field"
NO_DOMAIN = "an address without a domain is refused: a worker at another machine could not deliver it"
ENCODING = "non-ASCII text is written as base64, not as quoted-printable; the decoded text is the same"
EXCEPTIONS = {
    "test_send_many": EMPTY,
    "test_send_verbose_name": EMPTY,
    "test_idn_send": EMPTY,
    "test_recipient_without_domain": NO_DOMAIN,
    "test_lazy_addresses": NO_DOMAIN,
    "test_send_unicode": ENCODING,
    "test_send_long_lines": ENCODING,
    "test_fail_silently_arg_accepted": "fail_silently is supported, so nothing warns of it",
    "test_unknown_kwargs_ignored": "an unknown option is refused without an alias too",
}


class MomentusMailTests(Suite, SimpleTestCase):
    email_backend = "momentus_client.django.EmailBackend"
    backend_class = EmailBackend

    def setUp(self) -> None:
        if reason := EXCEPTIONS.get(self._testMethodName):
            raise SkipTest(reason)
        super().setUp()
        self.flush_mailbox()

    def flush_mailbox(self) -> None:
        SERVER.flushall()

    def get_mailbox_content(self) -> list[EmailMessage]:
        mails = [json.loads(SERVER.get(b"arq:job:" + one))["k"] for one in SERVER.zrange(QUEUE, 0, -1)]
        letters = [write_letter(one, default_sender=SENDER).content for one in mails]
        return [in_plain(message_from_bytes(one, policy=policy.default)) for one in letters]


def in_plain(message: EmailMessage) -> EmailMessage:
    """Write ASCII texts without base64: some tests read a payload without decoding it."""
    for part in message.walk():
        if part.get_content_maintype() == "text" and (text := part.get_content()).isascii():
            part.replace_header("Content-Transfer-Encoding", "7bit")
            part.set_payload(text.replace("\r\n", "\n"))
    return message
