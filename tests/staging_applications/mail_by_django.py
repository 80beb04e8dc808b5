"""Django's mails at levels: python mail_by_django.py DSN REDIS LEVEL commit|rollback|alone."""

import sys
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, get_connection, send_mail, send_mass_mail
from django.db import connection, transaction
from momentus_client.django import send_on_commit

dsn, redis, level, ending = sys.argv[1:]
url = urlsplit(dsn)
database: dict[str, Any] = {
    "ENGINE": "django.db.backends.postgresql",
    "OPTIONS": dict(parse_qsl(url.query)),
    "NAME": url.path[1:],
    "USER": unquote(url.username or ""),
    "HOST": url.hostname or "",
    "PORT": url.port or "",
    "PASSWORD": unquote(url.password or ""),
}
settings.configure(
    DATABASES={"default": database, "second": database},
    EMAIL_BACKEND="momentus_client.django.EmailBackend",
    MOMENTUS={"URL": redis, "BUDGET": 2, "LEVEL": level},
)
django.setup()


def assign() -> None:
    """Assign tasks, as a view does: one mail, two mails at once, and one with a key."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO tasks (name) VALUES ('Cierre')")
    send_mail("Tarea", "Cierre", None, ["ana@example.com"])
    assert send_mass_mail([("Tarea", "Cierre", None, [f"{name}@example.com"]) for name in ("eva", "leo")]) == 2
    EmailMessage("Tarea", "Cierre", to=["ana@example.com"], headers={"X-Momentus-Key": "task:1"}).send()
    before = staged()
    send_on_commit(EmailMessage("Tarea", "Cierre", to=["zoe@example.com"]), key="task:2")
    print(staged() - before)


def staged() -> int:
    """Return the number of rows that this connection sees."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM momentus_ledger.jobs")
        return int(cursor.fetchone()[0])


def assign_in_second_database() -> None:
    """Send a mail of the transaction of another database; at level ``ledger`` that of the first is undone."""
    with transaction.atomic():
        transaction.set_rollback(level == "ledger")
        with transaction.atomic(using="second"):
            send_on_commit(EmailMessage("Tarea", "Cierre", to=["noa@example.com"]), using="second")
            transaction.set_rollback(ending == "rollback", using="second")


def refusal(**options: str) -> str:
    """Return the words by which a connection is refused."""
    try:
        get_connection(**options)
    except ImproperlyConfigured as error:
        return str(error)
    return ""


if ending == "alone":
    assign()
else:
    with transaction.atomic():
        assign()
        transaction.set_rollback(ending == "rollback")
assign_in_second_database()
print(refusal(level="sometimes"))
print(refusal(level="ledger", on_commit="default"))
