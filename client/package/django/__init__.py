"""Django on Momentus Jobs: mails, shared sessions, tasks, and mails that wait for a commit.

    MOMENTUS = {"URL": "redis://127.0.0.1:6379/0"}
    EMAIL_BACKEND = "momentus_client.django.EmailBackend"
    SESSION_ENGINE = "momentus_client.django.sessions"
    TASKS = {"default": {"BACKEND": "momentus_client.django.tasks.TaskBackend"}}

The options of ``MOMENTUS`` are described in :mod:`.configuration`. Nothing connects before its first call, and
each process has its own connections, so the settings suit gunicorn with ``--preload``.
"""

from momentus_client.django.backend import EmailBackend as EmailBackend
from momentus_client.django.commit import send_on_commit as send_on_commit
