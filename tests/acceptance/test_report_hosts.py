"""An address of several hosts: the first that answers and is in the wanted state is used."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from reports import connection_postgres
from reports.connection_postgres import NoAnswer, connect
from reports.source_postgres import is_unreached
from tests.faulty_proxy import FaultyProxy
from tests.pooler import PGBOUNCER, disguised, pooler


@pytest.fixture(autouse=True)
def _short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_postgres, "_SECONDS", 1.0)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word, as a frozen machine's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    "wanted",
    [
        "primary",
        pytest.param("prefer-standby", marks=pytest.mark.long),
        pytest.param("any", marks=pytest.mark.long),
        pytest.param("read-write", marks=pytest.mark.long),
    ],
)
async def test_a_silent_host_does_not_keep_the_next_from_being_used(
    postgres_dsn: str, silent: int, wanted: str
) -> None:
    assert await works(several(silent, postgres_dsn, wanted))


@pytest.mark.parametrize("form", ["?host=127.0.0.1,127.0.0.1&port={away},{port}", "?host=127.0.0.1,127.0.0.1"])
async def test_hosts_may_be_parameters_of_the_address(postgres_dsn: str, unused_tcp_port: int, form: str) -> None:
    it = urlsplit(postgres_dsn)
    user, path = it.netloc.rpartition("@")[0], it.path
    ports = "" if "&port" in form else f"&port={it.port}"
    assert await works(f"postgresql://{user}@{path}{form.format(away=unused_tcp_port, port=it.port)}{ports}")


async def test_a_pooler_among_the_hosts_is_detected_and_used(postgres_dsn: str, unused_tcp_port: int) -> None:
    async with disguised(postgres_dsn) as through:
        connection = await connect(several(unused_tcp_port, through, "any"), application="momentus-test")
        assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
        await connection.close()


async def test_hosts_none_of_which_is_in_the_wanted_state_are_told_apart_from_hosts_that_are_away(
    postgres_dsn: str, silent: int
) -> None:
    with pytest.raises(NoAnswer, match=r"the database did not answer within 0\.5 s") as away:
        await works(several(silent, postgres_dsn, "standby"))
    port = urlsplit(postgres_dsn).port or 0
    with pytest.raises(asyncpg.TargetServerAttributeNotMatched) as other:
        await works(several(port, postgres_dsn, "standby"))
    assert is_unreached(away.value)
    assert is_unreached(other.value), "a promotion may come at any moment, so it is tried again soon"


@pytest.mark.skipif(PGBOUNCER is None, reason="no PgBouncer here")
async def test_a_pooler_without_a_server_is_a_database_that_is_away_and_is_tried_again_soon(
    postgres_dsn: str,
) -> None:
    it = urlsplit(postgres_dsn)
    async with FaultyProxy(it.port or 0) as way:
        behind = it._replace(netloc=f"{it.netloc.rpartition('@')[0]}@127.0.0.1:{way.port}").geturl()
        async with pooler(behind) as through:
            assert await works(through)
            await way.refuse()
            said = ""
            while "server login has been failing" not in said:  # until then it lets us wait
                with pytest.raises(NoAnswer) as away:
                    await works(through)
                assert is_unreached(away.value)
                said = str(away.value)


async def test_a_password_that_is_wrong_is_told_at_once(postgres_dsn: str, unused_tcp_port: int) -> None:
    it = urlsplit(several(unused_tcp_port, postgres_dsn, "any"))
    wrong = it._replace(netloc=f"momentus:wrong@{it.netloc.rpartition('@')[2]}").geturl()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await works(wrong)


def several(first: int, second: str, wanted: str) -> str:
    """The address of a port on this machine and of a server."""
    it = urlsplit(second)
    hosts = f"{it.netloc.rpartition('@')[0]}@127.0.0.1:{first},127.0.0.1:{it.port}"
    return it._replace(netloc=hosts, query=f"target_session_attrs={wanted}").geturl()


async def works(dsn: str) -> bool:
    """Whether a query is answered at an address."""
    connection = await connect(dsn, application="momentus-test")
    try:
        return bool(await connection.fetchval("SELECT 1"))
    finally:
        await connection.close()
