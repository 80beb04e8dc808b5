"""EMAIL_BACKEND: one job for each message, queued or staged when the call returns.

A worker sends it later, so an address that the mail server refuses raises nothing here. Raised at once, with
nothing queued: `MailError`, by the message's field, and `NotEnqueued`. With ``ON_COMMIT`` a message is checked at
once and queued after the commit. With ``LEVEL`` it is a row of the open transaction, or of one of its own.
"""

import logging
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from momentus_client.django.commit import after_commit, check_mails, transaction_of_mails
from momentus_client.django.configuration import NAMES, with_options
from momentus_client.django.connections import producer
from momentus_client.django.requests import MailRequest, mail_request
from momentus_client.jobs import MailError
from momentus_client.producers import NotEnqueued, SyncProducer

LOGGER = logging.getLogger("momentus_client.django")
OF_SMTP = frozenset({"host", "port", "username", "password", "use_tls", "use_ssl"}) | frozenset(
    {"timeout", "ssl_keyfile", "ssl_certfile"}
)
"""Options of Django's SMTP backend: the worker's accounts have them."""
DJANGO_NAMES = {"sender": "from_email", "sender_name": "from_email", "text": "body"}


class EmailBackend(BaseEmailBackend):
    """Queue mails instead of sending them.

    Args:
        fail_silently: True to log a mail that Redis did not take. A message that is refused raises.
        alias: name in MAILERS, from Django 6.1 on.
        options: those of ``MOMENTUS``, in lower case, for this connection alone: ``urgency="bulk"``.

    Raises:
        ImproperlyConfigured: an option or a setting is invalid.
    """

    def __init__(self, fail_silently: bool = False, *, alias: str | None = None, **options: Any) -> None:  # noqa: ANN401, FBT001, FBT002  Django's signature
        unknown = {
            name: value for name, value in options.items() if name.upper() not in NAMES and name not in OF_SMTP
        }
        super().__init__(
            **({} if alias is None else {"alias": alias, **unknown})
        )  # which refuses them by the alias
        self.fail_silently = fail_silently
        self._configuration = own = with_options(_own_options(options))
        if own.level == "ledger" and own.on_commit:
            raise ImproperlyConfigured("ON_COMMIT: leave it out; mails of LEVEL 'ledger' wait for the commit")

    def send_messages(self, email_messages: Sequence[EmailMessage] | None) -> int:
        """Queue messages and return their number; all or none of each thousand are queued.

        Messages without recipients are skipped, as in Django's own backends.

        Raises:
            MailError: a message cannot be sent as it is; none was queued. ``index`` is its place.
            NotEnqueued: Redis did not take them; with ``fail_silently`` it is logged.
        """
        messages = [one for one in email_messages or () if one.recipients()]
        requests = [self._request(place, one) for place, one in enumerate(messages)]
        if not requests:
            return 0
        if self._configuration.on_commit is not None:
            return after_commit(requests, self._hand_over, using=self._configuration.on_commit)
        with transaction_of_mails(self._configuration):
            return self._hand_over(requests)

    def _request(self, place: int, message: EmailMessage) -> MailRequest:
        try:
            return mail_request(message, self._configuration)
        except MailError as refusal:
            raise _in_django_names(refusal, place) from None

    def _hand_over(self, requests: Sequence[MailRequest]) -> int:
        try:
            return hand_over(requests, producer(self._configuration), **self._configuration.place)
        except NotEnqueued as error:
            if not self.fail_silently:
                raise
            queued = len(error.receipts)
            LOGGER.warning("%d of %d mails were not queued: %s", len(requests) - queued, len(requests), error)
            return queued


def hand_over(requests: Sequence[MailRequest], to: SyncProducer, **place: Any) -> int:  # noqa: ANN401  of send
    """Queue or stage requests and return their number. Raises MailError, in Django's names, and ProducerError."""
    try:
        if len(requests) == 1 or any(one.options.keys() - {"key"} for one in requests):
            _one_by_one(requests, to, place)
        else:
            _all_at_once(requests, to, place)
    except MailError as refusal:
        raise _in_django_names(refusal, refusal.index) from None
    return len(requests)


def _all_at_once(requests: Sequence[MailRequest], to: SyncProducer, place: dict[str, Any]) -> None:
    keys: Any = [one.key for one in requests]  # None for a message without a key
    to.send_many([one.mail for one in requests], keys=keys, **place)


def _one_by_one(requests: Sequence[MailRequest], to: SyncProducer, place: dict[str, Any]) -> None:
    if len(requests) > 1:
        check_mails(requests)  # all of them before the first is queued
    for one in requests:
        to.send(one.mail, **one.options, **place)


def _in_django_names(refusal: MailError, place: int | None) -> MailError:
    named = type(refusal)(DJANGO_NAMES.get(refusal.field, refusal.field), refusal.reason)
    named.index = place
    return named


def _is_known(name: str) -> bool:
    return name.upper() in NAMES or name in OF_SMTP


def _own_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return a connection's options by the names of the setting."""
    given = {name: value for name, value in options.items() if name not in OF_SMTP or value}
    for name in given:
        if name in OF_SMTP:
            raise ImproperlyConfigured(
                f"{name}: is an SMTP option; set it on the worker's mail account, which account= names"
            )
        if not _is_known(name):
            raise ImproperlyConfigured(f"{name}: is not an option; the options are {', '.join(NAMES).lower()}")
    return {name.upper(): value for name, value in given.items()}
