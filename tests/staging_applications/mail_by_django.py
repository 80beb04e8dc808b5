"""Django's mails at levels: python mail_by_django.py DSN REDIS LEVEL commit|rollback|alone."""

import sys
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, get_connection, send_mail, send_mass_mail
from django.db import connection, transaction

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
    DATABASES={"default": database},
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
print(refusal(level="sometimes"))
print(refusal(level="ledger", on_commit="default"))
