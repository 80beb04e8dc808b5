"""An application on psycopg: python by_psycopg.py DSN REDIS commit|rollback."""

import sys

import psycopg
from momentus_client.jobs import Mail
from momentus_client.producers import SyncProducer

dsn, redis, ending = sys.argv[1:]
with SyncProducer.connect(redis, budget=10) as producer, psycopg.connect(dsn) as connection:
    connection.execute("INSERT INTO tasks (name) VALUES ('Cierre')")
    mail = Mail(to="ana@example.com", subject="Tarea asignada", text="Cierre")
    producer.send(mail, key="task:1:assigned", level="ledger", connection=connection)
    getattr(connection, ending)()
