"""One peer in its own environment: send mails through Django as an application does, and print what it took.

python send.py momentus|post_office|celery MAILS     with BENCH_REDIS and BENCH_POSTGRES in the environment
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

PEER, MAILS = sys.argv[1], int(sys.argv[2])
REDIS, POSTGRES = os.environ["BENCH_REDIS"], urlsplit(os.environ["BENCH_POSTGRES"])
WARM = 50
BACKENDS: dict[str, dict[str, Any]] = {
    "momentus": {"EMAIL_BACKEND": "momentus_client.django.EmailBackend", "MOMENTUS": {"URL": REDIS, "BUDGET": 5}},
    "post_office": {
        "EMAIL_BACKEND": "post_office.EmailBackend",
        "INSTALLED_APPS": ["post_office"],
        "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
    },
    "celery": {},
}
BODY = "Mañana toca cerrar la tarea del mes, y ya está.\n" * 20


def configure() -> None:
    """Set Django up for the peer."""
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": POSTGRES.path.lstrip("/"),
        "USER": POSTGRES.username,
        "PASSWORD": POSTGRES.password,
        "HOST": POSTGRES.hostname,
        "PORT": POSTGRES.port,
        "CONN_MAX_AGE": None,
    }
    uses_database = {"DATABASES": {"default": database}} if PEER == "post_office" else {}
    settings.configure(SECRET_KEY="bench", USE_TZ=True, **uses_database, **BACKENDS[PEER])  # noqa: S106  of no use
    django.setup()
    if PEER == "post_office":
        from django.core.management import call_command  # noqa: PLC0415  after setup

        call_command("migrate", verbosity=0)


def sender() -> Callable[[int], object]:
    """Return the peer's way to send one mail."""
    from django.core.mail import send_mail  # noqa: PLC0415  after setup

    def send(number: int) -> object:
        return send_mail(f"Aviso {number}", BODY, "shop@example.com", [f"u{number}@example.com"])

    if PEER != "celery":
        return send
    from celery import Celery  # noqa: PLC0415  in its environment only

    application = Celery("bench", broker=REDIS)
    task = application.task(send_mail, name="bench.send_mail")
    return lambda number: task.delay(f"Aviso {number}", BODY, "shop@example.com", [f"u{number}@example.com"])


def many() -> Callable[[int], object] | None:
    """Return the peer's way to send a hundred mails in one call of Django; Celery has none."""
    if PEER == "celery":
        return None
    from django.core.mail import EmailMessage, get_connection  # noqa: PLC0415  after setup

    def send(first: int) -> object:
        numbers = range(first, first + 100)
        return get_connection().send_messages(
            [EmailMessage(f"Aviso {one}", BODY, "shop@example.com", [f"u{one}@example.com"]) for one in numbers]
        )

    return send


def main() -> None:
    """Measure and print."""
    configure()
    send, together = sender(), many()
    for number in range(WARM):
        send(number)
    taken = []
    for number in range(MAILS):
        begun = time.perf_counter()
        send(number)
        taken.append(time.perf_counter() - begun)
    figures = {"p50_ms": statistics.median(taken) * 1000, "per_second": MAILS / sum(taken)}
    if together is not None:
        begun = time.perf_counter()
        for first in range(0, MAILS, 100):
            together(first)
        figures["per_second_in_hundreds"] = MAILS / (time.perf_counter() - begun)
    print(json.dumps(figures))


main()
