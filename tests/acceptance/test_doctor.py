"""The doctor on real servers: a Valkey, a Postgres, mail servers with and without TLS, and a name server."""

import argparse
import asyncio
import base64
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from redis.asyncio import Redis

from jobs.mail.account import Account
from jobs.mail.dkim import load_signer
from local.sink.smtp import MailSink
from ops.command import CommandResult, Tools
from ops.doctor import texts as words
from ops.doctor.checks_mail import judge_server
from ops.doctor.commands import DOCTOR
from ops.doctor.credentials import Credentials, credentials_of
from ops.doctor.dns import Resolver
from ops.doctor.finding import DoctorFinding
from ops.doctor.smtp import gather_server
from tests.name_server import name_server
from tests.scripted_smtp import ScriptedSmtp
from tests.support import OwnValkey


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that vouches for itself, and its key: two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=90))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, none))
    return folder / "certificate.pem", folder / "key.pem"


@asynccontextmanager
async def mail_server(certificate: Path | None = None, key: Path | None = None) -> AsyncIterator[int]:
    """The port of a mail server; with a certificate it offers STARTTLS, and AUTH after it."""
    context = None
    if certificate is not None and key is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()

    def speak() -> SMTP:
        return SMTP(
            object(),
            hostname="localhost",
            loop=loop,
            tls_context=context,
            authenticator=lambda *_: AuthResult(success=False),
            data_size_limit=35_000_000,
        )

    server = await loop.create_server(speak, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def looked_at(account: Account) -> set[str]:
    return {one.code for one in judge_server(await gather_server(account), now=datetime.now(UTC))}


async def test_a_mail_server_is_asked_for_tls_login_and_size(authority: tuple[Path, Path]) -> None:
    async with mail_server(*authority) as port:
        account = Account(name="main", host="127.0.0.1", port=port, username="me", ca_file=str(authority[0]))
        assert await looked_at(account) == {"smtp.ehlo", "smtp.tls", "smtp.auth", "smtp.size"}
        stranger = Account(name="main", host="127.0.0.1", port=port, username="me")
        assert await looked_at(stranger) == {"smtp.tls_failed"}, "nobody vouches for it"
    assert await looked_at(account) == {"smtp.away"}


async def test_a_server_without_starttls_is_found_out(smtp_sink: MailSink) -> None:
    assert await looked_at(Account(name="main", host="127.0.0.1", port=smtp_sink.port)) == {"smtp.no_starttls"}
    plain = Account(name="main", host="127.0.0.1", port=smtp_sink.port, tls="off")
    assert await looked_at(plain) == {"smtp.ehlo", "smtp.plain", "smtp.no_login", "smtp.size"}


PASSWORD = "s3cret-canary"  # noqa: S105  made up
REFUSED = "535 5.7.8 Username and Password not accepted"


async def test_an_exim_is_known_by_its_greeting_and_told_of_unless_the_account_heeds_it() -> None:
    async with ScriptedSmtp(replies={"greeting": ["220 mx.example ESMTP Exim 4.96"] * 2}) as server:
        assert "smtp.exim" in await looked_at(an_account(server))
        assert "smtp.exim" not in await looked_at(an_account(server, preset="exim", messages=10))


def an_account(server: ScriptedSmtp, **more: Any) -> Account:
    return Account(name="main", host="127.0.0.1", port=server.port, tls="off", username="me", **more)


async def logged_in(server: ScriptedSmtp, credentials: Credentials, **more: Any) -> DoctorFinding:
    """What is said of the log-in."""
    server.connections.clear()
    facts = await gather_server(an_account(server, **more), credentials)
    (*_, found, _) = judge_server(facts, now=datetime.now(UTC))
    return found


def auth_commands(server: ScriptedSmtp) -> list[str]:
    return [line for line in server.commands if line.startswith("AUTH")]


@pytest.mark.parametrize(
    ("reply", "code", "todo"),
    [
        ("235 2.7.0 Accepted", "smtp.login", ""),
        (REFUSED, "smtp.login_refused", "fix username and password_file of [accounts.main]"),
        (
            "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect. [X.eurprd.example]",
            "smtp.login_refused",
            "fix username and password_file of [accounts.main]",
        ),
        (
            "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [X.eurprd.example]",
            "smtp.basic_off",
            'XOAUTH2: auth = "microsoft"',
        ),
        ("550 5.7.30 Basic authentication is not supported for Client Submission.", "smtp.basic_off", "XOAUTH2"),
        (
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
            "smtp.client_off",
            "SmtpClientAuthenticationDisabled $false",
        ),
        ("534-5.7.9 Application-specific password required.\n534 5.7.9 help", "smtp.app_password", "app password"),
        ("454 4.7.0 Too many login attempts, please try again later.", "smtp.login_later", "run this again"),
        ("421 4.7.0 Try again later, closing connection.", "smtp.login_later", "run this again"),
    ],
)
async def test_a_log_in_is_tried_once_and_its_answer_told_with_what_to_mend(
    reply: str, code: str, todo: str
) -> None:
    credentials = Credentials(password=PASSWORD, setting="username and password_file of [accounts.main]")
    for mechanisms in ("PLAIN LOGIN XOAUTH2", "LOGIN"):
        async with ScriptedSmtp(offers=(f"AUTH {mechanisms}", "SIZE 35882577")) as server:
            server.replies["auth"] = [reply] if "PLAIN" in mechanisms else ["334 UGFzc3dvcmQ6"]
            server.replies["rset"] = [reply]  # to the password, which is no verb
            found = await logged_in(server, credentials)
        assert found.code == code
        assert todo in words.remedy_text(found)
        assert PASSWORD not in words.cause_text(found) + words.remedy_text(found)
        assert len(auth_commands(server)) == 1
        assert len(server.connections) == 1
        assert not server.mails


async def test_a_token_is_shown_where_the_account_has_one_and_a_refusal_is_told() -> None:
    credentials = Credentials(token="bearer-canary", setting="tenant, client_id and password_file")
    shown = base64.b64encode(b"user=me\x01auth=Bearer bearer-canary\x01\x01").decode()
    async with ScriptedSmtp(offers=("AUTH PLAIN XOAUTH2",)) as server:
        server.replies["auth"] = ["235 2.7.0 ok"]
        assert (await logged_in(server, credentials, auth="microsoft")).code == "smtp.login"
        assert auth_commands(server) == [f"AUTH XOAUTH2 {shown}"]
        server.replies["auth"] = ["334 eyJzdGF0dXMiOiI0MDEifQ=="]
        server.replies["rset"] = ["535 5.7.3 Authentication unsuccessful"]
        refused = await logged_in(server, credentials, auth="microsoft")
    assert refused.code == "smtp.login_refused"
    assert words.remedy_text(refused).startswith("fix tenant, client_id and password_file")


@pytest.mark.parametrize(
    ("offers", "more", "code"),
    [
        ((), {}, "smtp.no_auth"),
        (("AUTH NTLM",), {}, "smtp.no_password"),
        (("AUTH PLAIN",), {"auth": "google"}, "smtp.no_xoauth2"),
    ],
)
async def test_a_server_that_has_no_log_in_for_the_account_is_shown_nothing(
    offers: tuple[str, ...], more: dict[str, Any], code: str
) -> None:
    async with ScriptedSmtp(offers=offers) as server:
        assert (await logged_in(server, Credentials(password=PASSWORD), **more)).code == code
        assert not auth_commands(server)


async def test_where_tls_fails_nothing_is_shown(authority: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority)
    async with ScriptedSmtp(offers=("STARTTLS", "AUTH PLAIN"), context=context) as server:
        account = replace(an_account(server), tls="required")
        facts = await gather_server(account, Credentials(password=PASSWORD))
        assert {one.code for one in judge_server(facts, now=datetime.now(UTC))} == {"smtp.tls_failed"}
        assert not auth_commands(server)
    async with ScriptedSmtp(offers=("AUTH PLAIN",)) as server:
        account = replace(an_account(server), tls="required")
        facts = await gather_server(account, Credentials(password=PASSWORD))
        assert {one.code for one in judge_server(facts, now=datetime.now(UTC))} == {"smtp.no_starttls"}
        assert not auth_commands(server)


async def test_the_command_logs_in_at_every_account_unless_it_is_told_not_to(
    valkey_url: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    secret.chmod(0o600)
    async with ScriptedSmtp(offers=("AUTH PLAIN",)) as server, Redis.from_url(valkey_url) as redis:
        lines = ['host = "127.0.0.1"', f"port = {server.port}", 'tls = "off"', 'username = "me"']
        lines.append('sender_domains = ["example.com"]')
        accounts = tmp_path / "accounts.toml"
        files = (f'password_file = "{secret}"', f'password_file = "{tmp_path / "gone"}"')
        named = zip(("main", "spare"), files, strict=True)
        accounts.write_text("\n".join(line for name, one in named for line in (f"[accounts.{name}]", *lines, one)))
        mail = {"mode": "live", "sender": "x@other.example", "accounts": accounts}
        tools = Tools(redis=redis, redis_url=valkey_url, mail=mail)
        server.replies["auth"] = [REFUSED]
        answer = await examined(tools)
        assert len(auth_commands(server)) == 1
        told = severities(answer)
        assert (told["smtp.login_refused"], told["smtp.no_secret"]) == ("wrong", "wrong")
        assert "fix username and password_file of [accounts.main]" in answer.text
        assert "fix username and password_file of [accounts.spare]" in answer.text
        assert told["mail.sender"] == "wrong"
        assert PASSWORD not in answer.text
        without = severities(await examined(tools, "--no-login"))
        assert len(auth_commands(server)) == 1
        assert not {"smtp.login", "smtp.login_refused", "smtp.no_secret"} & without.keys()


def test_a_secret_that_workers_would_refuse_is_told_as_they_tell_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    account = Account(name="main", host="127.0.0.1", username="me", password_file=str(secret))
    for text, mode, complaint in (("", 0o600, "is empty"), ("open", 0o604, "chmod o-r")):
        secret.write_text(text)
        secret.chmod(mode)
        found = asyncio.run(credentials_of(account, {"accounts": "accounts.toml"}))
        assert complaint in found.fault
        assert not found.known


ZONE = {
    ("good.example", "TXT"): ['"v=spf1 include:_spf.google.com " "~all"', '"other text"'],
    ("_spf.google.com", "TXT"): ['"v=spf1 include:_netblocks.google.com ~all"'],
    ("_netblocks.google.com", "TXT"): ['"v=spf1 ip4:192.0.2.0/24 ~all"'],
    ("google._domainkey.good.example", "TXT"): ['"v=DKIM1; k=rsa; p=MIIB" "IjAN"'],
    ("_dmarc.good.example", "TXT"): ['"v=DMARC1; p=reject"'],
    ("good.example", "MX"): ["10 mx.good.example."],
    ("mx.good.example", "A"): ["192.0.2.7"],
    ("7.2.0.192.in-addr.arpa", "PTR"): ["mx.good.example."],
    ("news.good.example", "TXT"): ['"v=spf1 mx -all"'],
    ("null.example", "MX"): ["0 ."],
}


async def test_the_dns_of_a_domain_is_read_as_it_is() -> None:
    async with name_server(ZONE) as server:
        resolver = Resolver(server)
        good = await resolver.domain("good.example", ["google", "absent"])
        below = await resolver.domain("news.good.example", [])
        null = await resolver.domain("null.example", [])
        host = await resolver.host("mx.good.example")
    assert good.spf == ("v=spf1 include:_spf.google.com ~all",)
    assert set(good.spf_included) == {"_spf.google.com", "_netblocks.google.com"}
    assert good.dkim == {"google": "v=DKIM1; k=rsa; p=MIIBIjAN"}
    assert good.dmarc == below.dmarc == ("v=DMARC1; p=reject",)
    assert (good.mail_servers, null.mail_servers) == (("mx.good.example",), ("",))
    assert good.unanswered == ()
    assert dict(host.names) == {"192.0.2.7": ("mx.good.example",)}
    assert host.confirmed == {"192.0.2.7"}


async def test_a_name_server_that_does_not_answer_is_not_taken_for_an_empty_domain() -> None:
    async with name_server(ZONE) as server:
        pass  # nobody listens there any more
    resolver = Resolver(server)
    resolver._resolver.lifetime = 0.2
    facts = await resolver.domain("good.example", [])
    assert "TXT good.example" in facts.unanswered


async def examined(tools: Tools, *words: str) -> CommandResult:
    parser = argparse.ArgumentParser()
    DOCTOR.arguments(parser)
    return await DOCTOR.act(tools, parser.parse_args(words))


def severities(answer: CommandResult) -> Mapping[str, str]:
    return {one["code"]: one["severity"] for one in answer.facts["findings"]}


async def test_everything_is_looked_at_in_one_go(valkey_url: str, postgres_dsn: str, smtp_sink: MailSink) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, pkcs8, none).decode()
    record = load_signer(pem, domain="good.example", selector="s1").public_text
    zone = {**ZONE, ("s1._domainkey.good.example", "TXT"): [f'"{record}"']}
    server_of = {"mode": "live", "host": "127.0.0.1", "port": smtp_sink.port, "tls": "off"}
    signing = {"sender": "x@good.example", "dkim_domain": "good.example", "dkim_selector": "s1", "dkim_key": pem}
    mail: dict[str, Any] = server_of | signing
    async with Redis.from_url(valkey_url) as redis, name_server(zone) as server:
        tools = Tools(redis=redis, redis_url=valkey_url, postgres_dsn=postgres_dsn, mail=mail)
        answer = await examined(tools, "--nameserver", server, "--domain", "good.example")
    found = severities(answer)
    right = {
        "redis.noeviction",
        "redis.aof",
        "postgres.right",
        "mail.live",
        "smtp.plain",
        "spf.right",
        "dkim.right",
    }
    assert {code: found.get(code) for code in right} == dict.fromkeys(right, "fine")
    assert found["workers.none"] == "wrong"
    assert not answer.done
    assert "-> start one: ./run worker" in answer.text


async def test_a_redis_that_may_lose_jobs_is_told_with_the_command_that_mends_it(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    async with Redis.from_url(valkey.url) as redis:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        await redis.config_set("appendonly", "no")
        answer = await examined(Tools(redis=redis, redis_url=valkey.url))
    found = severities(answer)
    assert (found["redis.eviction"], found["redis.no_aof"]) == ("wrong", "wrong")
    assert "CONFIG SET maxmemory-policy noeviction" in answer.text


async def test_the_command_says_by_its_exit_code_that_something_is_wrong(valkey_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops", "doctor", "--json"),
        env={"MOMENTUS_REDIS_URL": valkey_url, "MOMENTUS_POSTGRES_DSN": "postgresql://x:canary@127.0.0.1:1/x"},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    assert process.returncode == 1
    codes = {one["code"] for one in orjson.loads(told)["findings"]}
    assert {"postgres.away", "mail.sink", "workers.none"} <= codes
    assert b"canary" not in told


async def test_the_greeting_is_the_workers_and_a_server_that_refuses_it_is_told() -> None:
    async with ScriptedSmtp() as server:
        named = replace(an_account(server), username="", ehlo_name="app.example.com")
        facts = await gather_server(named)
        assert server.commands[0].lower() == "ehlo app.example.com"
        assert "smtp.ehlo" in {one.code for one in judge_server(facts, now=datetime.now(UTC))}
        server.replies["ehlo"] = ["504 5.5.2 <app>: Helo command rejected: need fully-qualified hostname"]
        (found,) = judge_server(await gather_server(named), now=datetime.now(UTC))
    assert found.code == "smtp.ehlo_refused"
    assert "MOMENTUS_MAIL__EHLO_NAME" in words.remedy_text(found)
    facts = replace(facts, account=replace(named, ehlo_name=""), ehlo_name="[192.0.2.1]")
    assert "smtp.ehlo_address" in {one.code for one in judge_server(facts, now=datetime.now(UTC))}
