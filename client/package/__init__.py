"""Client of Momentus Jobs: queues mails and report refreshes, and shares sessions between backends.

- `momentus_client.jobs`: requests to send: mails, attachments, templates, refreshes;
- `momentus_client.jobs.mail.seal`: keys that hide a mail's content from Redis;
- `momentus_client.producers`: sends requests, with and without asyncio;
- `momentus_client.producers.limits`: limits that a module of jobs declares;
- `momentus_client.producers.suppression`: the addresses that get no mail, and why;
- `momentus_client.producers.testing`: producers for the tests of a backend, without Redis;
- `momentus_client.sessions`: logged-in users, shared by all backend servers;
- `momentus_client.sessions.epochs_postgres`: ends of sessions that outlive a Redis restored from a backup;
- `momentus_client.sessions.testing`: sessions for the tests of a backend, without Redis;
- `momentus_client.fastapi`, `momentus_client.flask`: both in an application of these frameworks, with
  `momentus_client.pytest_plugin`, whose fixtures pytest finds by itself.

Example:
    from momentus_client.jobs import Mail
    from momentus_client.producers import Producer

    async with Producer.connect("redis://127.0.0.1:6379/0") as producer:
        await producer.send(Mail(to="ana@example.com", subject="Cierre", text="Hoy"), key="task:42:assigned:7")
"""

__version__ = "0.1.0"
