"""An application on Django: python by_django.py DSN REDIS commit|rollback. DEBUG is on, as during development."""

import sys
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import django
from django.conf import settings
from django.db import connection, connections, transaction
from momentus_client.jobs import Mail
from momentus_client.producers import InvalidRequest, SyncProducer

dsn, redis, ending = sys.argv[1:]
url = urlsplit(dsn)
options: dict[str, Any] = {
    "OPTIONS": dict(parse_qsl(url.query)),
    "NAME": url.path[1:],
    "USER": unquote(url.username or ""),
}
options |= {"HOST": url.hostname or "", "PORT": url.port or "", "PASSWORD": unquote(url.password or "")}
other = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
databases = {"default": {"ENGINE": "django.db.backends.postgresql", **options}, "other": other}
settings.configure(DATABASES=databases, DEBUG=True)
django.setup()


def assign(producer: SyncProducer, database: Any) -> None:
    """Assign the task, as a view would."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO tasks (name) VALUES ('Cierre')")
        mail = Mail(to="ana@example.com", subject="Tarea asignada", text="Secreto")
        producer.send(mail, key="task:1:assigned", level="ledger", connection=database)
        transaction.set_rollback(ending == "rollback")


def refusal(producer: SyncProducer, database: Any) -> str:
    """Return the words of a refusal."""
    try:
        producer.send(Mail(to="ana@example.com", subject="Aviso", text="Ya"), level="ledger", connection=database)
    except InvalidRequest as error:
        return str(error)
    return ""


def refusal_of_a_failed_transaction(producer: SyncProducer) -> str:
    """Return the words of the refusal within a transaction that Django has marked."""
    with transaction.atomic():
        transaction.set_rollback(True)
        return refusal(producer, "default")


with SyncProducer.connect(redis, budget=10) as producer:
    for database in ("default", connection, connections["default"]):
        assign(producer, database)
    for database in ("default", "nowhere", "other", connections):
        print(refusal(producer, database))
    print(refusal_of_a_failed_transaction(producer))
assert "tasks" in str(connection.queries), "Django keeps what the application does"
assert "Secreto" not in str(connection.queries)
assert "momentus_ledger" not in str(connection.queries)
