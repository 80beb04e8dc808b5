"""The shared connection: replies reach those who asked, and nobody waits behind a dead or stalled server."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.exceptions import ConnectionError as ConnectionLost, ResponseError

from jobs import Mail
from producers import Producer
from producers.link import Link
from tests.support import OwnValkey, eventually


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[Link]:
    one = Link(valkey_url)
    yield one
    await one.close()


async def test_commands_of_one_tick_get_their_own_replies_in_order(link: Link) -> None:
    replies = await asyncio.gather(*[link.call("ECHO", str(number)) for number in range(1000)])
    assert replies == [str(number).encode() for number in range(1000)]
    assert len(set(await asyncio.gather(*[link.call("CLIENT", "ID") for _ in range(20)]))) == 1


async def test_a_refusal_is_raised_for_its_command_alone(link: Link) -> None:
    with pytest.raises(ResponseError, match="unknown command"):
        await link.call("NO-SUCH-COMMAND")
    refused, fine = await link.call_many([("NO-SUCH-COMMAND",), ("ECHO", "fine")])
    assert isinstance(refused, ResponseError)
    assert fine == b"fine"


async def test_the_reply_of_a_caller_that_went_away_reaches_nobody_else(link: Link) -> None:
    chance = random.Random(7)  # noqa: S311  a repeatable order, not a secret

    async def ask(number: int) -> None:
        asking = asyncio.create_task(link.call("ECHO", str(number)))
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.5:
            asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            assert await asking == str(number).encode()

    await asyncio.gather(*[ask(number) for number in range(3000)])
    assert await link.call("ECHO", "last") == b"last"


async def test_a_lost_connection_is_told_to_all_who_wait_and_the_next_call_makes_another(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    link = Link(valkey.url)
    assert await link.call("PING") == b"PONG"
    waiting = [asyncio.create_task(link.call("BLPOP", f"nothing {number}", "0")) for number in range(5)]
    await asyncio.sleep(0)
    await valkey.kill()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, ConnectionLost | OSError) for one in told)
    with pytest.raises((ConnectionLost, OSError)):
        await link.call("PING")
    await valkey.start()
    assert await link.call("PING") == b"PONG"
    await link.close()


async def test_a_wrong_password_is_said_by_redis_and_never_repeated(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    first = Link(valkey.url)
    await first.call("CONFIG", "SET", "requirepass", "right")
    await first.close()
    with pytest.raises(ResponseError, match="WRONGPASS") as refusal:
        await Link(f"redis://:wrong-secret@127.0.0.1:{valkey.port}/0").call("PING")
    assert "wrong-secret" not in str(refusal.value)
    link = Link(f"redis://:right@127.0.0.1:{valkey.port}/3")
    assert b"db=3" in await link.call("CLIENT", "INFO")
    await link.close()


async def test_five_hundred_sends_at_once_are_all_taken(valkey_url: str) -> None:
    async with Producer.connect(valkey_url, budget=5) as producer:
        mails = [Mail(to="ana@example.com", subject=f"Mail {number}", text="Hola") for number in range(500)]
        receipts = await asyncio.gather(*[producer.send(mail) for mail in mails])
    assert len({receipt.id for receipt in receipts}) == 500


async def test_a_unix_socket_is_an_address_too(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> None:
    valkey = await own_valkey("--unixsocket", "valkey.sock")
    link = Link(f"unix://{valkey.directory}/valkey.sock")
    assert await eventually(lambda: link.call("PING")) == b"PONG"
    await link.close()
