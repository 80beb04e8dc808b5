"""Bearer tokens: one for the whole fleet, sealed in Redis, asked of the authorities' own protocols."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from redis.asyncio import Redis

from producers.link import Link
from tests.certificates import Certificates, make_certificates
from worker.mail.accounts.shared_token import SharedTokens, token_key
from worker.mail.accounts.token_google import GoogleTokens
from worker.mail.accounts.token_microsoft import MicrosoftTokens
from worker.mail.smtp.token import Token, TokenRefused, TokenUnavailable

Worker = Callable[..., SharedTokens]
GIVEN = "s3cret"


class Source:
    """An authority in this process: counts, and answers when it is allowed to."""

    def __init__(self, life: float = 3600) -> None:
        self.asked = 0
        self.life = life
        self.answers = asyncio.Event()
        self.answers.set()
        self.failure: Exception | None = None

    async def token(self) -> Token:
        self.asked += 1
        number = self.asked
        await self.answers.wait()
        if self.failure:
            raise self.failure
        return Token(f"token-{number}", time.time() + self.life)


@pytest.fixture
async def worker(valkey_url: str) -> AsyncIterator[Worker]:
    """Makes one worker's view of the account's token, with a link of its own."""
    async with AsyncExitStack() as stack:

        def make(source: Source, *, secret: str = GIVEN, account: str = "main") -> SharedTokens:
            link = Link(valkey_url)
            stack.push_async_callback(link.close)
            return SharedTokens(source, link, account=account, secret=secret)

        yield make


async def test_a_fleet_asks_once_for_one_expiry(worker: Worker) -> None:
    source = Source()
    fleet = [worker(source) for _ in range(5)]
    tokens = await asyncio.gather(*[one.token() for one in fleet for _ in range(10)])
    assert {token.value for token in tokens} == {"token-1"}
    assert source.asked == 1


async def test_a_token_that_is_due_is_renewed_once_while_the_old_one_is_used(worker: Worker) -> None:
    source = Source()
    fleet = [worker(source) for _ in range(3)]
    for one in fleet:
        await one.token()
    old = fleet[0]._known
    assert old is not None
    due = Token(old.value, old.expires_at, renew_at=time.time())
    await fleet[0]._call("SET", token_key("main"), fleet[0]._encrypt(due))
    for one in fleet:
        one._known = due
    source.answers.clear()
    first = asyncio.create_task(fleet[0].token())
    while source.asked < 2:  # noqa: ASYNC110  the event is a call to the fake
        await asyncio.sleep(0.01)
    assert [(await one.token()).value for one in fleet[1:]] == ["token-1", "token-1"]
    source.answers.set()
    assert (await first).value == "token-2"
    assert [(await one.token()).value for one in fleet[1:]] == ["token-2", "token-2"]
    assert source.asked == 2


async def test_whoever_reads_redis_cannot_log_in(worker: Worker, valkey_url: str) -> None:
    source = Source()
    await worker(source).token()
    async with Redis.from_url(valkey_url) as redis:
        stored = await redis.get(token_key("main"))
        life = await redis.pttl(token_key("main"))
        await redis.rename(token_key("main"), token_key("other"))
    assert b"token-1" not in stored
    assert 0 < life <= 3_600_000
    assert (await worker(source, account="other").token()).value == "token-2"


async def test_a_new_client_secret_cannot_read_the_old_token_and_asks_for_its_own(worker: Worker) -> None:
    source = Source()
    await worker(source).token()
    assert (await worker(source, secret="another").token()).value == "token-2"


async def test_a_refused_token_is_renewed_once_for_the_fleet_and_not_a_second_time(worker: Worker) -> None:
    source = Source()
    fleet = [worker(source) for _ in range(3)]
    old = await fleet[0].token()
    newer = await asyncio.gather(*[one.renewed(old) for one in fleet])
    assert [token and token.value for token in newer] == ["token-2"] * 3
    assert source.asked == 2
    refused_again = newer[0]
    assert refused_again is not None
    assert [await one.renewed(refused_again) for one in fleet] == [None] * 3
    assert source.asked == 2


async def test_an_authority_that_says_no_is_heard_by_each_who_asks(worker: Worker) -> None:
    source = Source()
    source.failure = TokenRefused("invalid_client")
    tokens = worker(source)
    for _ in range(2):
        with pytest.raises(TokenRefused, match="invalid_client"):
            await tokens.token()
    source.failure = None
    assert (await tokens.token()).value == "token-3"


async def test_without_redis_there_is_no_token() -> None:
    tokens = SharedTokens(Source(), Link("redis://127.0.0.1:1"), account="main", secret="s3cret")
    with pytest.raises(TokenUnavailable, match="Redis"):
        await tokens.token()


def test_a_token_is_not_shown() -> None:
    assert "s3cret" not in repr(Token("s3cret", 0))


# The vendors' libraries, against an authority of our own


@dataclass
class Authority:
    """An HTTP server on 127.0.0.1 that gives tokens as both vendors' do.

    Attributes:
        answer: status and JSON of the next answers.
        asked: the forms it was sent.
    """

    context: ssl.SSLContext | None = None
    answer: tuple[int, dict[str, Any]] = (200, {"access_token": "abc", "expires_in": 3600, "token_type": "Bearer"})
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self.context else ''}://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
        form = (await reader.readexactly(length)).decode()
        if length:
            self.asked.append(parse_qs(form))
            status, content = self.answer
        else:
            endpoints = {"authorization_endpoint": f"{self.url}/a", "token_endpoint": f"{self.url}/t"}
            status, content = 200, {**endpoints, "issuer": f"{self.url}/tenant"}
        body = json.dumps(content).encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        writer.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path)


async def test_microsoft_gives_a_token_for_client_credentials(certificates: Certificates) -> None:
    async with Authority(certificates.server) as authority:
        source = MicrosoftTokens(
            tenant="tenant", client_id="id", secret="s3cret", authority=authority.url, ca_file=certificates.ca_file
        )
        token = await source.token()
        await source.token()
    assert token.value == "abc"
    assert 3500 < token.expires_at - time.time() <= 3600
    assert len(authority.asked) == 2
    assert authority.asked[0]["grant_type"] == ["client_credentials"]
    assert authority.asked[0]["scope"] == ["https://outlook.office365.com/.default"]


@pytest.mark.parametrize(
    ("error", "kind"), [("invalid_client", TokenRefused), ("temporarily_unavailable", TokenUnavailable)]
)
async def test_microsofts_refusal_is_told_without_the_secret(
    certificates: Certificates, error: str, kind: type[Exception]
) -> None:
    answer = (400, {"error": error, "error_description": "AADSTS1: x"})
    async with Authority(certificates.server, answer) as authority:
        source = MicrosoftTokens(
            tenant="tenant", client_id="id", secret="s3cret", authority=authority.url, ca_file=certificates.ca_file
        )
        with pytest.raises(kind, match=error) as failure:
            await source.token()
    assert "s3cret" not in str(failure.value)


async def test_microsoft_that_is_not_who_it_says_is_not_asked(certificates: Certificates) -> None:
    async with Authority(certificates.server) as authority:
        source = MicrosoftTokens(tenant="tenant", client_id="id", secret="s3cret", authority=authority.url)
        with pytest.raises(TokenUnavailable):
            await source.token()
    assert not authority.asked


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def google(private_key: str, url: str) -> GoogleTokens:
    key = {"type": "service_account", "client_email": "sa@example.com", "token_uri": url}
    return GoogleTokens(key=json.dumps(key | {"private_key": private_key}), mailbox="tasks@example.com")


async def test_google_gives_a_token_for_a_service_account(private_key: str) -> None:
    async with Authority() as authority:
        token = await google(private_key, f"{authority.url}/token").token()
    assert token.value == "abc"
    assert 3500 < token.expires_at - time.time() <= 3600
    assert authority.asked[0]["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


async def test_googles_refusal_and_absence_are_told_apart(private_key: str) -> None:
    async with Authority(answer=(401, {"error": "unauthorized_client", "error_description": "no"})) as authority:
        with pytest.raises(TokenRefused, match="unauthorized_client"):
            await google(private_key, f"{authority.url}/token").token()
    with pytest.raises(TokenUnavailable):
        await google(private_key, "http://127.0.0.1:1/token").token()


def test_what_is_no_key_file_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="is not the JSON key file") as failure:
        GoogleTokens(key="my-password", mailbox="tasks@example.com")
    assert "my-password" not in str(failure.value)
