"""Opening a connection: encrypted or not at all, one mechanism, and nothing learnt before TLS is believed."""

import asyncio
import base64
import contextlib
import ssl
from pathlib import Path

import pytest

from jobs.mail.octets import Letter
from tests.certificates import Certificates, make_certificates
from tests.scripted_smtp import ScriptedSmtp, Talk
from worker.mail.connection import Connection
from worker.mail.errors import Broken, Refused
from worker.mail.server import Server
from worker.mail.token import Token, TokenRefused, TokenUnavailable

LETTER = Letter("no-reply@momentus.example", ("ana@example.com",), b"Subject: Hola\r\n\r\nUno\r\n")
PLAIN = ("PIPELINING", "AUTH PLAIN LOGIN CRAM-MD5")
XOAUTH2 = ("AUTH PLAIN LOGIN XOAUTH2",)


async def mark() -> bool:
    return True


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path)


def auths(server: ScriptedSmtp) -> list[str]:
    return [line for line in server.commands if line.startswith("AUTH")]


async def test_a_server_that_offers_no_encryption_hears_no_password_and_no_mail() -> None:
    async with ScriptedSmtp(offers=PLAIN) as server:
        connection = Connection(Server("127.0.0.1", server.port, "required", "me", "secret"))
        with pytest.raises(Broken, match="at connect"):
            await connection.open()
    assert [line.split(" ")[0] for line in server.commands] == ["EHLO"]


async def test_a_mail_goes_out_encrypted_to_a_server_whose_certificate_is_good(certificates: Certificates) -> None:
    async with ScriptedSmtp(offers=(*PLAIN, "STARTTLS"), context=certificates.server) as server:
        where = Server("127.0.0.1", server.port, "required", "me", "secret", ca_file=certificates.ca_file)
        connection = Connection(where)
        await connection.open()
        await connection.send(LETTER, mark)
        await connection.quit()
    assert [line.split(" ")[0] for line in server.commands[:4]] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]
    assert len(server.mails) == 1


async def test_tls_from_the_first_octet(certificates: Certificates) -> None:
    async with ScriptedSmtp(offers=PLAIN, context=certificates.server, implicit=True) as server:
        where = Server("127.0.0.1", server.port, "implicit", "me", "secret", ca_file=certificates.ca_file)
        connection = Connection(where)
        await connection.open()
        await connection.send(LETTER, mark)
        await connection.quit()
    assert len(server.mails) == 1


async def test_a_certificate_that_nobody_vouches_for_ends_it(certificates: Certificates) -> None:
    async with ScriptedSmtp(offers=(*PLAIN, "STARTTLS"), context=certificates.server) as server:
        connection = Connection(Server("127.0.0.1", server.port, "required", "me", "secret"))
        with pytest.raises(Broken, match="SSLCertVerificationError at connect"):
            await connection.open()
    assert not auths(server)


async def test_a_certificate_for_another_name_ends_it(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path, names=("mail.example.com",))
    async with ScriptedSmtp(offers=(*PLAIN, "STARTTLS"), context=certificates.server) as server:
        where = Server("127.0.0.1", server.port, "required", "me", "secret", ca_file=certificates.ca_file)
        with pytest.raises(Broken, match="SSLCertVerificationError at connect"):
            await Connection(where).open()
    assert not auths(server)


def test_nothing_older_than_tls_1_2_is_spoken() -> None:
    context = Server("mail.example.com", 587, "required").context
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


async def test_what_was_slipped_in_before_tls_is_not_believed(certificates: Certificates) -> None:
    """Somebody on the way appends a reply to the 220 of STARTTLS (CVE-2021-38371 and its kin)."""

    async def talk(talk: Talk) -> None:
        await talk.say("220 ready")
        await talk.hear()
        await talk.say("250-scripted.example\n250-AUTH PLAIN\n250 STARTTLS")
        await talk.hear()
        await talk.say("220 go ahead\n250-evil.example\n250-SIZE 1\n250 AUTH PLAIN")
        await talk.writer.start_tls(certificates.server)
        await talk.hear()
        await talk.say("250-scripted.example\n250 AUTH LOGIN")
        await talk.hear()
        await talk.say("334 UGFzc3dvcmQ6")
        await talk.hear()
        await talk.say("235 welcome")
        await talk.hear()

    async with ScriptedSmtp(talk=talk) as server:
        where = Server("127.0.0.1", server.port, "required", "me", "secret", ca_file=certificates.ca_file)
        connection = Connection(where)
        await connection.open()
        connection.close()
    assert [line.split(" ")[0] for line in server.commands[:3]] == ["EHLO", "STARTTLS", "EHLO"]
    assert auths(server) == ["AUTH LOGIN " + base64.b64encode(b"me").decode()]


def test_mail_leaves_this_machine_encrypted_or_not_at_all() -> None:
    with pytest.raises(ValueError, match="encrypted or not at all"):
        Server("mail.example.com", 25, "off")
    assert "secret" not in repr(Server("127.0.0.1", 25, "off", "me", "secret"))


@pytest.mark.parametrize(
    ("offer", "mechanism"),
    [("AUTH CRAM-MD5 LOGIN PLAIN", "PLAIN"), ("AUTH LOGIN", "LOGIN"), ("AUTH CRAM-MD5", None)],
)
async def test_one_mechanism_is_tried_once(offer: str, mechanism: str | None) -> None:
    async with ScriptedSmtp(offers=(offer,)) as server:
        server.replies["auth"] = ["535 5.7.8 wrong password"] * 5
        connection = Connection(Server("127.0.0.1", server.port, "off", "me", "secret"))
        with pytest.raises(Refused, match="at login") as refusal:
            await connection.open()
    assert [line.split(" ")[1] for line in auths(server)] == ([mechanism] if mechanism else [])
    assert refusal.value.reply.code == (535 if mechanism else 504)


class Tokens:
    """Hands out old, and new after a refusal."""

    def __init__(self, *renewed: str) -> None:
        self.renewed_by = list(renewed)
        self.failure: Exception | None = None

    async def token(self) -> Token:
        if self.failure:
            raise self.failure
        return Token("old", 2e9)

    async def renewed(self, refused: Token) -> Token | None:
        assert refused.value == "old"
        return Token(self.renewed_by.pop(), 2e9) if self.renewed_by else None


def bearer(line: str) -> str:
    return base64.b64decode(line.split(" ")[2]).decode().split("Bearer ")[1].strip("\x01")


async def test_a_token_is_shown_by_xoauth2_and_by_nothing_else() -> None:
    async with ScriptedSmtp(offers=XOAUTH2) as server:
        connection = Connection(Server("127.0.0.1", server.port, "off", "me@example.com", tokens=Tokens()))
        await connection.open()
        connection.close()
    (line,) = auths(server)
    assert line.startswith("AUTH XOAUTH2 ")
    assert base64.b64decode(line.split(" ")[2]) == b"user=me@example.com\x01auth=Bearer old\x01\x01"


async def test_a_refused_token_is_renewed_once_on_a_new_connection() -> None:
    async with ScriptedSmtp(offers=XOAUTH2) as server:
        server.replies["auth"] = ["535 5.7.3 expired"]
        connection = Connection(Server("127.0.0.1", server.port, "off", "me", tokens=Tokens("new")))
        await connection.open()
        assert connection.usable
        connection.close()
    assert [[bearer(line) for line in one.commands if line.startswith("AUTH")] for one in server.connections] == [
        ["old"],
        ["new"],
    ]


@pytest.mark.parametrize(("renewed", "tries"), [((), 1), (("new",), 2)])
async def test_a_token_that_is_refused_again_is_the_accounts_fault(renewed: tuple[str, ...], tries: int) -> None:
    async with ScriptedSmtp(offers=XOAUTH2) as server:
        server.replies["auth"] = ["535 5.7.3 no"] * 9
        connection = Connection(Server("127.0.0.1", server.port, "off", "me", tokens=Tokens(*renewed)))
        with pytest.raises(Refused, match="535 at login"):
            await connection.open()
    assert len(auths(server)) == tries


async def test_without_a_token_the_server_is_not_asked() -> None:
    tokens = Tokens()
    async with ScriptedSmtp(offers=XOAUTH2) as server:
        connection = Connection(Server("127.0.0.1", server.port, "off", "me", tokens=tokens))
        tokens.failure = TokenRefused("invalid_client")
        with pytest.raises(Refused, match="535 at login"):
            await connection.open()
        tokens.failure = TokenUnavailable("away")
        with pytest.raises(Broken, match="at login"):
            await connection.open()
    assert not server.connections


async def test_a_server_that_is_not_there_or_turns_us_away() -> None:
    async with ScriptedSmtp() as server:
        server.replies["greeting"] = ["554 5.3.2 no service"]
        with pytest.raises(Refused, match="554 at connect"):
            await Connection(Server("127.0.0.1", server.port, "off")).open()
        server.replies["greeting"] = [""]
        with pytest.raises(Broken, match="at connect"):
            await Connection(Server("127.0.0.1", server.port, "off")).open()
    with pytest.raises(Broken, match="ConnectionRefusedError at connect"):
        await Connection(Server("127.0.0.1", server.port, "off")).open()


async def test_a_cancelled_opening_leaves_nothing_open() -> None:
    begun = asyncio.Event()

    async def talk(talk: Talk) -> None:
        begun.set()
        await talk.hear()

    async with ScriptedSmtp(talk=talk) as server:
        opening = asyncio.create_task(Connection(Server("127.0.0.1", server.port, "off")).open())
        await begun.wait()
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(10):
            while server.open:  # noqa: ASYNC110  the event is in the other end of the socket
                await asyncio.sleep(0.01)
