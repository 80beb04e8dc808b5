"""An application on SQLAlchemy: python by_sqlalchemy.py DSN REDIS commit|rollback."""

import sys

from momentus_client.jobs import Mail
from momentus_client.producers import SyncProducer
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


dsn, redis, ending = sys.argv[1:]
engine = create_engine(dsn.replace("postgresql", "postgresql+psycopg", 1))
with SyncProducer.connect(redis, budget=10) as producer, Session(engine) as session:
    session.add(Task(name="Cierre"))
    mail = Mail(to="ana@example.com", subject="Tarea asignada", text="Cierre")
    producer.send(mail, key="task:1:assigned", level="ledger", connection=session)
    getattr(session, ending)()
