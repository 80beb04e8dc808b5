"""Promises of the mail backend, kept with what Django has for mails. The queue is read as a worker reads it."""

import json
import os
import unittest
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.mime.image import MIMEImage
from functools import partial
from typing import Any

import redis
from django.contrib.auth.models import User
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.utils.translation import gettext_lazy
from momentus_client.django import EmailBackend, send_on_commit
from momentus_client.jobs import InvalidAddress, InvalidPart, Mail, MailError, UnsafeHeader
from momentus_client.producers import KeyConflict, NotEnqueued
from shop.settings import MAIL

SERVER = redis.Redis.from_url(os.environ["SHOP_REDIS"])
OURS = override_settings(**MAIL)
"""Django's test runner puts a backend of its own in place."""
PNG = b"\x89PNG\r\n\x1a\n"


def waiting(lane: str = "normal") -> list[dict[str, Any]]:
    """The mails that wait in a lane, in their order."""
    ids = SERVER.zrange(f"arq:queue:{{mail}}:mail.{lane}", 0, -1)
    return [json.loads(SERVER.get(b"arq:job:" + one))["k"] for one in ids]


def message(**parts: Any) -> EmailMultiAlternatives:
    return EmailMultiAlternatives(**{"subject": "Hola", "body": "Buenos días", "to": ["ana@example.com"], **parts})


def refusal(**parts: Any) -> MailError:
    try:
        EmailBackend().send_messages([message(**parts)])
    except MailError as error:
        return error
    raise AssertionError("it was queued")


@OURS
class MailPromises(SimpleTestCase):
    def setUp(self) -> None:
        SERVER.flushall()

    def test_send_mail_queues_one_job_and_returns_its_number(self) -> None:
        sent = mail.send_mail("Hola", "Buenos días", None, ["ana@example.com"])
        (one,) = waiting()
        self.assertEqual(
            (sent, one["to"], one["subject"], one["text"]), (1, "ana@example.com", "Hola", "Buenos días")
        )
        self.assertEqual((one["sender"], one["sender_name"]), ("shop@example.com", "Shop"))

    def test_every_recipient_field_is_carried(self) -> None:
        message(
            to=["Ana Ruiz <ana@example.com>", "luis@example.com"],
            cc=['"Ruiz, Eva" <eva@example.com>'],
            bcc=["jefe@example.com"],
            reply_to=["Ventas <ventas@example.com>"],
        ).send()
        (one,) = waiting()
        self.assertEqual(
            one["to"], [{"address": "ana@example.com", "name": "Ana Ruiz"}, {"address": "luis@example.com"}]
        )
        self.assertEqual(one["cc"], [{"address": "eva@example.com", "name": "Ruiz, Eva"}])
        self.assertEqual(one["bcc"], [{"address": "jefe@example.com"}])
        self.assertEqual(one["reply_to"], [{"address": "ventas@example.com", "name": "Ventas"}])

    def test_html_calendar_and_further_forms_are_bodies(self) -> None:
        letter = message()
        invitation = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
        letter.attach_alternative("<p>Buenos días</p>", "text/html")
        letter.attach_alternative("# Buenos días", "text/markdown")
        letter.attach_alternative(invitation, "text/calendar; method=REQUEST")
        letter.send()
        (one,) = waiting()
        self.assertEqual((one["text"], one["html"]), ("Buenos días", "<p>Buenos días</p>"))
        self.assertIn("METHOD:REQUEST", one["calendar"])
        self.assertEqual(one["alternatives"], [{"type": "text/markdown", "content": "# Buenos días"}])

    def test_a_body_of_html_gets_its_text(self) -> None:
        letter = message(body="<p>Buenos <b>días</b></p>")
        letter.content_subtype = "html"
        letter.send()
        self.assertEqual(waiting()[0]["text"].strip(), "Buenos días")

    def test_files_of_every_form_are_attached(self) -> None:
        letter = message(body='<img src="cid:logo">')
        letter.content_subtype = "html"
        letter.attach("aviso.txt", "Mañana", "text/plain")
        letter.attach("datos.bin", b"\x00\x01")
        letter.attach(None, b"%PDF-1.4", "application/pdf")
        image = MIMEImage(PNG, _subtype="png")
        image.add_header("Content-ID", "<logo>")
        letter.attachments.append(image)
        letter.send()
        found = [(one["name"], one["type"], one["size"], one.get("cid")) for one in waiting()[0]["attachments"]]
        self.assertEqual(
            found,
            [
                ("aviso.txt", "text/plain", 7, None),
                ("datos.bin", "application/octet-stream", 2, None),
                ("attachment-2.pdf", "application/pdf", 8, None),
                ("attachment-3.png", "image/png", 8, "logo"),
            ],
        )

    def test_lazy_texts_are_taken_as_texts(self) -> None:
        message(subject=gettext_lazy("Hola"), to=[gettext_lazy("ana@example.com")]).send()
        self.assertEqual(waiting()[0]["to"], "ana@example.com")

    @override_settings(ADMINS=["ana@example.com"] if "MAILERS" in MAIL else [("Ana", "ana@example.com")])
    def test_the_worker_has_its_own_sender_where_no_project_set_one(self) -> None:
        message(from_email="webmaster@localhost").send()
        mail.mail_admins("Error", "500")
        self.assertEqual([one["sender"] for one in waiting()], [None, None])

    def test_headers_are_carried_and_one_click_becomes_the_button(self) -> None:
        headers = {
            "X-Origin": "shop",
            "Auto-Submitted": "auto-generated",
            "List-Unsubscribe": "<https://example.com/u/7>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "Reply-To": "ventas@example.com",
        }
        message(headers=headers).send()
        (one,) = waiting()
        self.assertEqual(one["headers"], {"X-Origin": "shop"})
        self.assertEqual((one["unsubscribe"], one["reply_to"]), ("https://example.com/u/7", "ventas@example.com"))

    def test_nothing_that_says_how_to_send_leaves_as_a_header(self) -> None:
        message(
            headers={"X-Momentus-Urgency": "urgent", "x-momentus-stream": "code", "X-Momentus-Key": "a"}
        ).send()
        (one,) = waiting("urgent")
        self.assertEqual((one["stream"], one.get("headers")), ("code", None))

    def test_a_key_queues_a_message_once(self) -> None:
        for _ in range(2):
            letter = message()
            letter.momentus = {"key": "task:42", "delay": timedelta(minutes=5)}
            self.assertEqual(letter.send(), 1)
        self.assertEqual(len(waiting()), 1)
        with self.assertRaises(KeyConflict):
            message(subject="Otra", headers={"X-Momentus-Key": "task:42"}).send()

    def test_many_messages_are_one_job_each_and_all_or_none(self) -> None:
        count = EmailBackend().send_messages([message(to=[f"u{place}@example.com"]) for place in range(50)])
        self.assertEqual((count, len(waiting())), (50, 50))
        for options in ({}, {"momentus": {"delay": timedelta(seconds=5)}}):
            letters = [message(), message(to=["no address"])]
            letters[0].__dict__.update(options)
            with self.assertRaises(InvalidAddress) as raised:
                EmailBackend().send_messages(letters)
            self.assertEqual(raised.exception.index, 1)
            self.assertEqual(len(waiting()), 50, "none of the two")

    def test_a_message_to_nobody_is_left_out(self) -> None:
        self.assertEqual(EmailBackend().send_messages([message(to=[]), message(to=[""]), message()]), 1)
        self.assertEqual((EmailBackend().send_messages([]), EmailBackend().send_messages(None)), (0, 0))

    def test_a_refusal_names_the_field_by_djangos_name(self) -> None:
        many = [f"u{place}@example.com" for place in range(300)]
        cases = {
            "to": {"to": many},
            "bcc": {"bcc": many},
            "cc[1]": {"cc": ["eva@example.com", "no address"]},
            "from_email": {"from_email": "nobody"},
            "body": {"body": ""},
            "subject": {"subject": ""},
            "headers.Received": {"headers": {"Received": "by me"}},
            "headers.To": {"headers": {"To": "list@example.com"}},
            "headers.X-Momentus-Urgencia": {"headers": {"X-Momentus-Urgencia": "urgent"}},
            "attachments[0].name": {"attachments": [("run.exe", b"MZ", "application/octet-stream")]},
            "attachments[0].content": {"attachments": [("big.bin", b"x" * 70_000, "application/octet-stream")]},
            "alternatives[0]": {"alternatives": [("{}", "application/json")]},
        }
        self.assertEqual(
            {field: refusal(**parts).field for field, parts in cases.items()}, dict(zip(cases, cases, strict=True))
        )
        self.assertEqual(waiting(), [])

    def test_no_text_of_a_user_becomes_a_header_or_a_recipient(self) -> None:
        for parts in (
            {"subject": "Hola\r\nBcc: eve@example.org"},
            {"from_email": "Ana\r\nBcc eve <ana@example.com>"},
            {"to": ["Ana\nBcc x <ana@example.com>"]},
            {"headers": {"X-Origin": "a\nBcc: eve@example.org"}},
        ):
            self.assertIsInstance(refusal(**parts), UnsafeHeader, parts)
        for address in (
            "ana@example.com, eve@example.org",
            "<a@example.com> <eve@example.org>",
            "Ana, Eva <a@b.c>",
        ):
            self.assertIsInstance(refusal(to=[address]), InvalidAddress, address)

    def test_redis_away_is_an_error_or_a_line_in_the_log(self) -> None:
        with override_settings(MOMENTUS={"URL": "redis://127.0.0.1:1/0"}):
            with self.assertRaises(NotEnqueued):
                EmailBackend().send_messages([message()])
            with self.assertLogs("momentus_client.django", "WARNING") as logged:
                self.assertEqual(EmailBackend(fail_silently=True).send_messages([message()]), 0)
            self.assertNotIn("ana@example.com", "".join(logged.output))

    def test_a_process_that_was_forked_has_connections_of_its_own(self) -> None:
        message().send()
        with warnings.catch_warnings(action="ignore"):  # of threads at a fork, since Python 3.12
            child = os.fork()
        if child == 0:
            try:
                os._exit(message().send() - 1)
            finally:
                os._exit(2)
        message().send()
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(len(waiting()), 3)

    def test_threads_send_at_once(self) -> None:
        with ThreadPoolExecutor(8) as threads:
            self.assertEqual(sum(threads.map(lambda _: message().send(), range(40))), 40)
        self.assertEqual(len(waiting()), 40)

    def test_a_connection_has_options_of_its_own(self) -> None:
        EmailBackend(urgency="bulk", stream="notice").send_messages([message()])
        self.assertEqual(waiting("bulk")[0]["stream"], "notice")
        with self.assertRaisesMessage(ImproperlyConfigured, "host: is an SMTP option"):
            EmailBackend(host="smtp.example.com")
        with self.assertRaisesMessage(ImproperlyConfigured, "urgancy: is not an option"):
            EmailBackend(urgancy="bulk")

    @unittest.skipUnless("MAILERS" in MAIL, "from Django 6.1 on")
    def test_mailers_have_options_of_their_own(self) -> None:
        mail.send_mail("Hola", "Buenos días", None, ["ana@example.com"], using="bulk")
        self.assertEqual((len(waiting("bulk")), len(waiting())), (1, 0))

    def test_a_wrong_setting_is_named(self) -> None:
        url = {"URL": "redis://127.0.0.1:1/0"}
        for given, text in {
            "none": "MOMENTUS: is missing",
            "redis://": "MOMENTUS: must be a dict",
        }.items():
            with override_settings(MOMENTUS=None if given == "none" else given):
                self.assertRaisesMessage(ImproperlyConfigured, text, EmailBackend)
        for options, text in (
            ({}, "MOMENTUS['URL']: is missing"),
            ({"URL": "http://x"}, "MOMENTUS['URL']"),
            ({**url, "URGENT": 1}, "MOMENTUS['URGENT']: is not an option; did you mean 'URGENCY'?"),
            ({**url, "URGENCY": "high"}, "MOMENTUS['URGENCY']: must be urgent, normal or bulk"),
            ({**url, "ON_COMMIT": "other"}, "MOMENTUS['ON_COMMIT']: 'other' is not an alias in DATABASES"),
            ({**url, "BUDGET": "1"}, "MOMENTUS['BUDGET']: must be a number of seconds"),
            ({**url, "PRIVATE_DOMAINS": "local"}, "MOMENTUS['PRIVATE_DOMAINS']: must be a list"),
            ({**url, "SESSION_ABSOLUTE": 0}, "MOMENTUS['SESSION_ABSOLUTE']: must be more than 0"),
        ):
            with override_settings(MOMENTUS=options), self.assertRaisesMessage(ImproperlyConfigured, text):
                EmailBackend().send_messages([message()])


@OURS
class CommitPromises(TransactionTestCase):
    def setUp(self) -> None:
        SERVER.flushall()

    def order(self, name: str, *, fails: bool = False) -> None:
        with transaction.atomic():
            User.objects.create(username=name)
            send_on_commit(message(to=[f"{name}@example.com"]), key=f"order:{name}")
            self.assertEqual(waiting(), [], "not before the commit")
            if fails:
                raise ZeroDivisionError

    def test_a_mail_is_queued_when_its_transaction_is_committed(self) -> None:
        self.order("ana")
        self.assertEqual([one["to"] for one in waiting()], ["ana@example.com"])

    def test_no_mail_tells_of_what_was_rolled_back(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            self.order("ana", fails=True)
        self.assertEqual(waiting(), [])

    def test_a_refusal_is_raised_inside_the_transaction(self) -> None:
        with self.assertRaises(InvalidAddress), transaction.atomic():
            User.objects.create(username="ana")
            send_on_commit(message(to=["no address"]))
        self.assertFalse(User.objects.exists())

    @override_settings(MOMENTUS={"URL": os.environ["SHOP_REDIS"], "BUDGET": 5, "ON_COMMIT": True})
    def test_an_option_that_would_be_refused_after_the_commit_is_refused_before_it(self) -> None:
        late = message()
        late.momentus = {"delay": 5}
        cases = [
            ("delay: must be a timedelta", late.send),
            ("delay: must be a timedelta", partial(send_on_commit, message(), delay=5)),
            ("key: must be a string", partial(send_on_commit, message(), key="")),
            ("kye: is not an option; did you mean 'key'?", partial(send_on_commit, message(), kye="a")),
            ("message: must be a Mail", partial(send_on_commit, "Hola")),
        ]
        for told, call in cases:
            with self.assertRaisesMessage(ValueError, told), transaction.atomic():
                call()
        self.assertEqual(waiting(), [])

    def test_without_a_transaction_a_mail_is_queued_at_once(self) -> None:
        send_on_commit(Mail(to="ana@example.com", template="task_assigned", values={"task": "a", "due": "b"}))
        self.assertEqual(len(waiting()), 1)

    def test_redis_away_after_a_commit_is_logged_and_the_request_goes_on(self) -> None:
        with (
            override_settings(MOMENTUS={"URL": "redis://127.0.0.1:1/0"}),
            self.assertLogs("django.db.backends.base"),
        ):
            self.order("ana")
        self.assertTrue(User.objects.exists())

    @override_settings(MOMENTUS={"URL": os.environ["SHOP_REDIS"], "BUDGET": 5, "ON_COMMIT": True})
    def test_every_mail_of_the_backend_waits_for_the_commit_by_a_setting(self) -> None:
        with transaction.atomic():
            self.assertEqual(message().send(), 1)
            self.assertRaises(InvalidPart, message(headers={"To": "x"}).send)
            self.assertRaises(InvalidAddress, message(to=["no address"]).send)
            self.assertEqual(waiting(), [])
        self.assertEqual(len(waiting()), 1)
        message().send()
        self.assertEqual(len(waiting()), 2)
