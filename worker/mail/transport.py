"""One SMTP connection, driven stage by stage on aiosmtplib's wire.

    MAIL  ->  RCPT  ->  DATA  ->  body in chunks  ->  mark  ->  dot  ->  reply

The library's own ``sendmail`` writes body and dot in one go under one timeout, so that a slow upload looks
like a lost reply (and the retry is a duplicate), and nobody can tell on which side of the dot a connection
broke. Here the stage is known, the mark is durable before the dot is written, and the reply to the dot has
ten minutes (RFC 5321, 4.5.3.2.6). Whatever goes wrong, cancellation included, closes the connection: a
reply that comes late must never be taken for the next mail's.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import aiosmtplib
from aiosmtplib.errors import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupported,
    SMTPResponseException,
)

from jobs.mail.octets import Letter
from worker.mail.reply import Reply, Stage

_CHUNK = 64 * 1024
_LINE_START_DOT = re.compile(rb"(?m)^\.")
_SECONDS: dict[Stage, float] = {"connect": 60, "login": 60, "mail": 300, "rcpt": 300, "data": 120, "dot": 600}
"""RFC 5321, 4.5.3.2; connecting and login are ours."""
_BODY_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed in.

    Attributes:
        tls: ``required`` is STARTTLS, ``implicit`` is TLS from the first octet, ``off`` is for loopback.
        password: a secret; never part of a message or a log.
    """

    host: str
    port: int
    tls: Literal["required", "implicit", "off"]
    username: str = ""
    password: str = ""


class Refused(Exception):
    """The server answered, and the answer is no."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.code} at {reply.stage}")
        self.reply = reply


class Broken(Exception):
    """The connection failed before the dot: the mail was certainly not taken."""

    def __init__(self, stage: Stage, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__} at {stage}")
        self.stage = stage


class Uncertain(Exception):
    """The dot was written and no reply came: nobody knows whether the mail was taken (RFC 1047)."""


class LeaseLost(Exception):
    """The mark could not be made because the job is somebody else's now; the dot was not written."""


class Connection:
    """A connection to a mail server. One mail at a time; closed on any doubt.

    Args:
        server: where to.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._smtp = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls == "implicit",
            start_tls=server.tls == "required",
            tls_context=None if server.tls == "off" else ssl.create_default_context(),
            timeout=_SECONDS["connect"],
            local_hostname=socket.gethostname(),  # getfqdn would ask a name server, and block
        )
        self.sent = 0

    @property
    def usable(self) -> bool:
        """Whether it is open."""
        return self._smtp.is_connected

    async def open(self) -> None:
        """Connect, greet, encrypt, log in with one mechanism (a second try is a step towards a lock-out).

        Raises:
            Refused: the server said no.
            Broken: it could not be reached, or TLS failed.
        """
        try:
            await self._smtp.connect()
            await self._smtp.ehlo()
            if self._server.username:
                await self._login()
        except SMTPAuthenticationError as error:
            self.close()
            raise Refused(Reply("login", error.code, error.message)) from None
        except SMTPResponseException as error:
            self.close()
            raise Refused(Reply("connect", error.code, error.message)) from None
        except (SMTPException, SMTPNotSupported, OSError, TimeoutError, ssl.SSLError) as error:
            self.close()
            raise Broken("connect", error) from error
        except BaseException:
            self.close()
            raise

    async def send(self, letter: Letter, begin_effect: Callable[[], Awaitable[bool]]) -> str:
        """Hand over one mail.

        Args:
            begin_effect: makes the durable mark; awaited after the body and before the dot.

        Returns:
            The server's words to the 250, which often hold its queue id.

        Raises:
            Refused, Broken, Uncertain, LeaseLost: see there.
        """
        try:
            return await self._stages(letter, begin_effect)
        except Refused:
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close at once, without a QUIT."""
        self._smtp.close()

    async def quit(self) -> None:
        """Close politely; a server that does not answer is left."""
        try:
            await self._smtp.quit(timeout=2)
        except (SMTPException, OSError, TimeoutError):
            self.close()

    async def _login(self) -> None:
        """PLAIN where it is offered, else LOGIN, which is all that Microsoft 365 has for passwords."""
        plain = "plain" in self._smtp.server_auth_methods
        login = self._smtp.auth_plain if plain else self._smtp.auth_login
        await login(self._server.username, self._server.password)

    async def _stages(self, letter: Letter, begin_effect: Callable[[], Awaitable[bool]]) -> str:
        await self._command("mail", b"MAIL", b"FROM:<" + letter.sender.encode("ascii") + b">")
        await self._command("rcpt", b"RCPT", b"TO:<" + letter.recipient.encode("ascii") + b">")
        await self._command("data", b"DATA", expect=354)
        await self._body(letter.octets)
        if not await begin_effect():
            raise LeaseLost
        return await self._dot()

    async def _command(self, stage: Stage, *words: bytes, expect: int = 250) -> None:
        try:
            code, text = await self._smtp.execute_command(*words, timeout=_SECONDS[stage])
        except (SMTPException, OSError, TimeoutError) as error:
            raise Broken(stage, error) from error
        if code != expect and not (stage == "rcpt" and code == 251):  # noqa: PLR2004  251: will forward
            await self._reset_or_close(code)
            raise Refused(Reply(stage, code, text))

    async def _reset_or_close(self, code: int) -> None:
        """After a refusal the connection may carry the next mail only if RSET is answered with 250."""
        try:
            if code == 421:  # noqa: PLR2004  421: the server closes
                self.close()
                return
            answer, _ = await self._smtp.execute_command(b"RSET", timeout=_SECONDS["connect"])
            if answer != 250:  # noqa: PLR2004  250: done
                self.close()
        except (SMTPException, OSError, TimeoutError):
            self.close()

    async def _body(self, octets: bytes) -> None:
        """The body in chunks, each drained, dots at line starts doubled (RFC 5321, 4.5.2)."""
        stuffed = _LINE_START_DOT.sub(b"..", octets)
        protocol = self._protocol()
        protocol._response_pending = True  # noqa: SLF001  an early refusal must be kept for the dot's reply, not dropped
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                for start in range(0, len(stuffed), _CHUNK):
                    protocol.write(stuffed[start : start + _CHUNK])
                    await protocol._drain_helper()  # noqa: SLF001  the library drains nothing itself
        except (SMTPException, OSError, TimeoutError) as error:
            raise Broken("data", error) from error

    async def _dot(self) -> str:
        protocol = self._protocol()
        try:
            protocol.write(b".\r\n")
            code, text = await protocol.read_response(timeout=_SECONDS["dot"])
        except (SMTPException, OSError, TimeoutError) as error:
            raise Uncertain(type(error).__name__) from error
        if code != 250:  # noqa: PLR2004  250: the server has taken responsibility
            if code == 421:  # noqa: PLR2004  421: the server closes
                self.close()
            raise Refused(Reply("dot", code, text))
        self.sent += 1
        return text

    def _protocol(self) -> aiosmtplib.protocol.SMTPProtocol:
        if self._smtp.protocol is None:
            raise Broken("data", ConnectionResetError("connection lost"))
        return self._smtp.protocol
