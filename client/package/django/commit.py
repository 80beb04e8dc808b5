"""Mails that wait for a commit, so that none reports something that was rolled back.

A message is checked when it is given, so that a refusal is raised inside the transaction, and queued right after
the commit; a process that dies in between loses the mail. With ``LEVEL`` ``ledger`` it is a row of the
transaction.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from django.core.mail import EmailMessage
from django.db import transaction
from momentus_client.django.configuration import Configuration, configuration
from momentus_client.django.connections import producer
from momentus_client.django.requests import SEND_OPTIONS, MailRequest, known_option, mail_request
from momentus_client.jobs import Mail
from momentus_client.producers import Message, PayloadTooLarge
from momentus_client.producers.compose import Composer
from momentus_client.producers.send_options import SendOptions


def send_on_commit(message: EmailMessage | Mail, *, using: str | None = None, **options: Any) -> None:  # noqa: ANN401  of send
    """Send one mail if the current transaction commits, or at once without a transaction; respects ``LEVEL``.

    Args:
        message: Django's message, or a `Mail` with a template.
        using: alias of the transaction's database; by default ``default``, at level ``ledger`` ``DATABASE``.
        options: those of ``send``: ``key``, ``delay``, ``at``, ``expires``, ``limit``.

    Raises:
        MailError: the mail cannot be sent as it is, or an option is unknown.
        InvalidRequest: an option is invalid.
        NotEnqueued: there is no transaction, and the mail was not taken.
        LedgerUnavailable: level ``ledger``, and the database has none.

    Example:
        with transaction.atomic():
            task.save()
            send_on_commit(Mail(to=task.email, template="task_assigned", values=task.facts), key=f"task:{task.id}")
    """
    for name in options:
        known_option(name, name, SEND_OPTIONS)
    own = configuration()
    request = mail_request(message, own) if isinstance(message, EmailMessage) else MailRequest(message)
    request = MailRequest(request.mail, {**request.options, **options})
    if own.level == "ledger":
        own = replace(own, database=using or own.database)
        with transaction_of_mails(own):
            _send(request, own)
    else:
        after_commit([request], lambda _: _send(request, own), using=using)


def transaction_of_mails(own: Configuration) -> AbstractContextManager[Any]:
    """Return a transaction for rows that are to commit at once, or nothing if one is open or none is needed."""
    is_alone = own.level == "ledger" and transaction.get_autocommit(using=own.database)
    return transaction.atomic(using=own.database) if is_alone else nullcontext()


def after_commit(
    requests: Sequence[MailRequest], send: Callable[[Sequence[MailRequest]], int], *, using: str | None
) -> int:
    """Check requests now and send them after the commit; return their number. Raises as :func:`check_mails`."""
    if not transaction.get_connection(using).in_atomic_block:
        return send(requests)
    check_mails(requests)

    def send_momentus_mails() -> None:  # Django logs this name; a partial has none, and it raises
        send(requests)

    transaction.on_commit(send_momentus_mails, using=using, robust=True)
    return len(requests)


def check_mails(requests: Sequence[MailRequest]) -> None:
    """Check every mail and its options. Raises as :func:`check_send`, with the position in ``index``."""
    for place, one in enumerate(requests):
        try:
            check_send(one.mail, **one.options)
        except (ValueError, PayloadTooLarge) as refusal:
            refusal.index = place  # type: ignore[union-attr]  # a refusal of a mail or a call has it
            raise


def check_send(message: Message, *, key: str | None = None, **options: Any) -> None:  # noqa: ANN401  of send
    """Check a message as `send` does, except for what only Redis can decide."""
    Composer("").entry(message, key, SendOptions(**options))


def _send(request: MailRequest, own: Configuration) -> int:
    producer(own).send(request.mail, **request.options, **own.place)
    return 1
