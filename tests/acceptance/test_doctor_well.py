"""An installation in which all is well has no finding: mails, reports, triggers and a ledger of one worker."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

from jobs import Mail
from local.sink.smtp import MailSink
from local.supervisor.supervisor import Supervisor
from producers import Producer
from tests.boards import shop
from tests.command_line import run_ops
from tests.doctoring import depth_code, findings
from tests.ledgers import ledger_of
from tests.report_worker import sales_worker, shows
from tests.support import OwnValkey, eventually


async def test_nothing_is_found_where_all_is_well(
    own_valkey: Callable[..., Awaitable[OwnValkey]], database: str, smtp_sink: MailSink, tmp_path: Path
) -> None:
    valkey = await own_valkey("--maxmemory", "512mb", "--maxmemory-policy", "noeviction", "--appendonly", "yes")
    mail = {"MAIL__HOST": "127.0.0.1", "MAIL__PORT": str(smtp_sink.port), "MAIL__TLS": "off"}
    worker = sales_worker(valkey.url, database, tmp_path, **mail)
    settings = {name.removeprefix("MOMENTUS_"): value for name, value in worker.environment.items()}
    async with (
        shop(database, valkey.url) as it,
        ledger_of(database) as ledger,
        Producer.connect(valkey.url, budget=5) as producer,
    ):
        role = f"reader_{database.rpartition('_')[2]}"
        await it.install()
        await it.order(5)
        await ledger.execute(
            f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA shop TO {role};"
            f"GRANT SELECT ON ALL TABLES IN SCHEMA shop TO {role}"
        )
        try:
            await run_ops("reports", "install", "--role", role, **settings)
            await run_ops("db", "install", "--worker", role, **settings)
            reading = settings | {"POSTGRES_DSN": f"postgresql://{role}:x@{database.rpartition('@')[2]}"}
            async with Supervisor([sales_worker(valkey.url, reading["POSTGRES_DSN"], tmp_path, **mail)]):
                await eventually(lambda: shows(it, 5))
                await producer.send(Mail(to="ana@example.com", subject="Hola", text="Buenos días"))
                await eventually(lambda: smtp_sink.mailbox.mails)
                assert await findings(**reading) == {}
                assert await depth_code(**reading) == 0
                assert (await run_ops("reports", "status", **reading))[0] == 0
        finally:
            await drop_role(ledger, role)


async def drop_role(connection: asyncpg.Connection, role: str) -> None:
    await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
