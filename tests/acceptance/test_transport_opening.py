"""Opening a connection: encrypted or not at all, one mechanism, and nothing learnt before TLS is believed."""

import asyncio
import base64
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from jobs.mail.letter import Letter
from tests.certificates import Certificates, make_certificates
from tests.scripted_smtp import ScriptedSmtp, Talk
from worker.mail.smtp import transport
from worker.mail.smtp.connection import SMTPConnection
from worker.mail.smtp.errors import CannotOpen, ConnectionBroken, MailRefused
from worker.mail.smtp.server import Server
from worker.mail.smtp.token import Token, TokenRefused, TokenUnavailable

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
        connection = SMTPConnection(Server("127.0.0.1", server.port, "required", "me", "secret"))
        with pytest.raises(CannotOpen, match="does not offer STARTTLS"):
            await connection.open()
    assert [line.split(" ")[0] for line in server.commands] == ["EHLO"]


async def test_a_mail_goes_out_encrypted_to_a_server_whose_certificate_is_good(certificates: Certificates) -> None:
    async with ScriptedSmtp(offers=(*PLAIN, "STARTTLS"), context=certificates.server) as server:
        where = Server("127.0.0.1", server.port, "required", "me", "secret", ca_file=certificates.ca_file)
        connection = SMTPConnection(where)
        await connection.open()
        await connection.send_letter(LETTER, mark)
        await connection.quit()
    assert [line.split(" ")[0] for line in server.commands[:4]] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]
    assert len(server.mails) == 1


async def test_a_port_that_begins_with_tls_is_spoken_to_in_tls_at_once(certificates: Certificates) -> None:
    async with ScriptedSmtp(offers=PLAIN, context=certificates.server, implicit=True) as server:
        where = Server("127.0.0.1", server.port, "implicit", "me", "secret", ca_file=certificates.ca_file)
        connection = SMTPConnection(where)
        await connection.open()
        await connection.send_letter(LETTER, mark)
        await connection.quit()
    assert len(server.mails) == 1


def old_server(folder: Path) -> ssl.SSLContext:
    """Speaks TLS 1.1 at most, as this machine's OpenSSL allows it only when it is told to."""
    context = make_certificates(folder).server
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


CERTIFICATES: dict[str, tuple[Callable[[Path], Certificates], bool, str]] = {
    "expired": (
        partial(make_certificates, expired=True),
        True,
        "has expired: ask the server.s operator to renew it",
    ),
    "unknown authority": (make_certificates, False, "not signed by an authority that is trusted here.*ca_file"),
    "other name": (
        partial(make_certificates, names=("mail.example.com",)),
        True,
        r"is for another name .*127\.0\.0\.1.*: set host",
    ),
    "signed by itself": (partial(make_certificates, own=True), False, "is self-signed.*ca_file"),
}


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("case", CERTIFICATES)
async def test_a_certificate_that_is_not_to_be_trusted_ends_it_and_is_told_in_words(
    case: str, tmp_path: Path, *, implicit: bool
) -> None:
    make, known, words = CERTIFICATES[case]
    certificates = make(tmp_path)
    async with ScriptedSmtp(offers=(*PLAIN, "STARTTLS"), context=certificates.server, implicit=implicit) as server:
        tls = "implicit" if implicit else "required"
        ca_file = certificates.ca_file if known else ""
        where = Server("127.0.0.1", server.port, tls, "me", "secret", ca_file=ca_file)  # type: ignore[arg-type]
        with pytest.raises(CannotOpen, match=words) as failure:
            await SMTPConnection(where).open()
    assert failure.value.trouble == "tls"
    assert not auths(server)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")  # that is what it is about
async def test_a_server_that_speaks_old_tls_alone_is_told_so(tmp_path: Path) -> None:
    """On a socket of its own: asyncio ends a failed handshake without the alert that says why."""
    context = old_server(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, pytest.raises(ssl.SSLError):
                context.wrap_socket(connection, server_side=True)

        serving = asyncio.create_task(asyncio.to_thread(serve))
        port = listening.getsockname()[1]
        with pytest.raises(CannotOpen, match=r"does not support TLS 1\.2"):
            await SMTPConnection(Server("127.0.0.1", port, "implicit")).open()
        await serving


async def test_tls_and_plain_text_at_the_wrong_port_are_told_with_the_setting(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedSmtp() as plain:
        with pytest.raises(CannotOpen, match=r"does not speak TLS on this port: .*set tls to required") as failure:
            await SMTPConnection(Server("127.0.0.1", plain.port, "implicit")).open()
    assert failure.value.trouble == "tls"
    monkeypatch.setattr(transport, "_GREETING_SECONDS", 0.2)
    async with ScriptedSmtp(context=certificates.server, implicit=True) as encrypted:
        with pytest.raises(CannotOpen, match=r"sends no greeting: .*set tls to implicit") as failure:
            await SMTPConnection(Server("127.0.0.1", encrypted.port, "required")).open()
    assert failure.value.trouble == "tls"


async def test_starttls_that_is_refused_or_breaks_off_is_the_accounts_trouble_and_no_login() -> None:
    async def refuse(talk: Talk) -> None:
        await talk.say("220 ready")
        await talk.hear()
        await talk.say("250-scripted.example\n250-STARTTLS\n250 AUTH PLAIN")
        await talk.hear()
        await talk.say("454 4.7.0 TLS not available due to local problem")
        await talk.hear()

    async def break_off(talk: Talk) -> None:
        await talk.say("220 ready")
        await talk.hear()
        await talk.say("250-scripted.example\n250 STARTTLS")
        await talk.hear()
        await talk.say("220 go ahead")

    for talk, words in (
        (refuse, "refuses it .454 4.7.0 TLS not available"),
        (break_off, r"handshake .* failed"),
    ):
        async with ScriptedSmtp(talk=talk) as server:
            with pytest.raises(CannotOpen, match=words) as failure:
                await SMTPConnection(Server("127.0.0.1", server.port, "required", "me", "secret")).open()
        assert failure.value.trouble == "tls"
        assert not auths(server)


async def test_what_is_no_mail_server_is_told_so() -> None:
    async def talk(talk: Talk) -> None:
        await talk.say("HTTP/1.1 400 Bad Request\nConnection: close")

    async with ScriptedSmtp(talk=talk) as server:
        with pytest.raises(CannotOpen, match="does not speak SMTP: check port"):
            await SMTPConnection(Server("127.0.0.1", server.port, "off")).open()
    with pytest.raises(CannotOpen, match=r"has no address in DNS .*check host"):
        await SMTPConnection(Server("no-such-host.invalid", 25, "required")).open()
    with pytest.raises(CannotOpen, match=r"trusted certificates cannot be read .*ca_file"):
        await SMTPConnection(Server("127.0.0.1", server.port, "required", ca_file="/nowhere.pem")).open()


@pytest.mark.parametrize(("name", "said"), [("", "[127.0.0.1]"), ("app.example.com", "app.example.com")])
async def test_a_server_is_greeted_by_a_full_name_or_an_address_literal(
    name: str, said: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "bare")
    async with ScriptedSmtp(offers=("STARTTLS",), context=certificates.server) as server:
        where = Server("127.0.0.1", server.port, "required", ca_file=certificates.ca_file, ehlo_name=name)
        connection = SMTPConnection(where)
        await connection.open()
        connection.close()
    assert [line for line in server.commands if line.startswith("EHLO")] == [f"EHLO {said}"] * 2


async def test_this_machines_own_full_name_is_used_where_it_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "worker.example.com")
    async with ScriptedSmtp() as server:
        connection = SMTPConnection(Server("127.0.0.1", server.port, "off"))
        await connection.open()
        connection.close()
    assert server.commands[0] == "EHLO worker.example.com"


def test_a_name_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="ehlo_name: is not a full host name"):
        Server("127.0.0.1", 25, "off", ehlo_name="bare")


@pytest.mark.parametrize(
    "reply", ["454 4.7.0 TLS not available due to local problem", "454 TLS currently unavailable"]
)
async def test_a_server_without_tls_for_now_is_no_word_about_the_login(reply: str) -> None:
    async with ScriptedSmtp(offers=(*PLAIN, "STARTTLS"), replies={"starttls": [reply]}) as server:
        with pytest.raises(CannotOpen) as failed:
            await SMTPConnection(Server("127.0.0.1", server.port, "required", "me", "secret")).open()
    assert failed.value.trouble == "tls"
    assert "password" not in failed.value.advice
    assert not any(line.startswith("AUTH") for line in server.commands)


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
        connection = SMTPConnection(where)
        await connection.open()
        connection.close()
    assert [line.split(" ")[0] for line in server.commands[:3]] == ["EHLO", "STARTTLS", "EHLO"]
    assert auths(server) == ["AUTH LOGIN " + base64.b64encode(b"me").decode()]


def test_mail_leaves_this_machine_encrypted_or_not_at_all() -> None:
    with pytest.raises(ValueError, match="set it to required or implicit"):
        Server("mail.example.com", 25, "off")
    assert "secret" not in repr(Server("127.0.0.1", 25, "off", "me", "secret"))


@pytest.mark.parametrize(
    ("offer", "mechanism"),
    [("AUTH CRAM-MD5 LOGIN PLAIN", "PLAIN"), ("AUTH LOGIN", "LOGIN"), ("AUTH CRAM-MD5", None)],
)
async def test_one_mechanism_is_tried_once(offer: str, mechanism: str | None) -> None:
    async with ScriptedSmtp(offers=(offer,)) as server:
        server.replies["auth"] = ["535 5.7.8 wrong password"] * 5
        connection = SMTPConnection(Server("127.0.0.1", server.port, "off", "me", "secret"))
        with pytest.raises(MailRefused, match="at login") as refusal:
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
        connection = SMTPConnection(Server("127.0.0.1", server.port, "off", "me@example.com", tokens=Tokens()))
        await connection.open()
        connection.close()
    (line,) = auths(server)
    assert line.startswith("AUTH XOAUTH2 ")
    assert base64.b64decode(line.split(" ")[2]) == b"user=me@example.com\x01auth=Bearer old\x01\x01"


async def test_a_refused_token_is_renewed_once_on_a_new_connection() -> None:
    async with ScriptedSmtp(offers=XOAUTH2) as server:
        server.replies["auth"] = ["535 5.7.3 expired"]
        connection = SMTPConnection(Server("127.0.0.1", server.port, "off", "me", tokens=Tokens("new")))
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
        connection = SMTPConnection(Server("127.0.0.1", server.port, "off", "me", tokens=Tokens(*renewed)))
        with pytest.raises(MailRefused, match="535 at login"):
            await connection.open()
    assert len(auths(server)) == tries


async def test_without_a_token_the_server_is_not_asked() -> None:
    tokens = Tokens()
    async with ScriptedSmtp(offers=XOAUTH2) as server:
        connection = SMTPConnection(Server("127.0.0.1", server.port, "off", "me", tokens=tokens))
        tokens.failure = TokenRefused("invalid_client")
        with pytest.raises(MailRefused, match="535 at login"):
            await connection.open()
        tokens.failure = TokenUnavailable("away")
        with pytest.raises(ConnectionBroken, match="at login"):
            await connection.open()
    assert not server.connections


async def test_a_server_that_is_not_there_or_turns_us_away() -> None:
    async with ScriptedSmtp() as server:
        server.replies["greeting"] = ["554 5.3.2 no service"]
        with pytest.raises(MailRefused, match="554 at connect"):
            await SMTPConnection(Server("127.0.0.1", server.port, "off")).open()
        server.replies["greeting"] = [""]
        with pytest.raises(CannotOpen, match="closes the connection before it is ready"):
            await SMTPConnection(Server("127.0.0.1", server.port, "off")).open()
    with pytest.raises(CannotOpen, match="refuses connections: check host and port"):
        await SMTPConnection(Server("127.0.0.1", server.port, "off")).open()


async def test_a_cancelled_opening_leaves_nothing_open() -> None:
    begun = asyncio.Event()

    async def talk(talk: Talk) -> None:
        begun.set()
        await talk.hear()

    async with ScriptedSmtp(talk=talk) as server:
        opening = asyncio.create_task(SMTPConnection(Server("127.0.0.1", server.port, "off")).open())
        await begun.wait()
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(10):
            while server.open:  # noqa: ASYNC110  the event is in the other end of the socket
                await asyncio.sleep(0.01)
