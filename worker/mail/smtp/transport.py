"""A connection to a mail server, opened by aiosmtplib: reached, greeted, encrypted, logged in.

Then the transport gets another protocol (`wire`) and aiosmtplib has done its part. Its ``sendmail``
would write body and dot in one go under one timeout, so that a slow upload looks like a lost reply, and the
retry is a duplicate; its ``login`` tries one mechanism after the other, which locks accounts.

TLS is required or the mail stays here: what the server says before it is encrypted is thrown away, and a server
that offers no STARTTLS, or whose offer somebody removed on the way, gets nothing.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, cast

import aiosmtplib
from aiosmtplib.errors import SMTPAuthenticationError, SMTPException, SMTPResponseException

from jobs.mail.ehlo import choose_ehlo_name
from worker.mail.smtp.errors import CannotOpen, ConnectionBroken, MailRefused
from worker.mail.smtp.opening_fault import Step, find_fault, write_fault
from worker.mail.smtp.protocol import SMTPProtocol
from worker.mail.smtp.reply import Refusal, Stage
from worker.mail.smtp.server import Server
from worker.mail.smtp.token import Token, TokenRefused, TokenUnavailable

_REACH_SECONDS: Final = 30.0
_GREETING_SECONDS: Final = 300.0
"""RFC 5321, 4.5.3.2.1; also for EHLO and TLS."""
_LOGIN_SECONDS: Final = 60.0
_NO_MECHANISM, _LOGIN_FAILED = 504, 535
_LOWEST_CODE: Final = 200

Opened = tuple[SMTPProtocol, Mapping[str, str]]
"""The wire, and what the server offered to EHLO: names in lower case with their parameters."""


async def open_wire(server: Server, on_end: Callable[[], None]) -> Opened:
    """Connect, greet, encrypt, log in with one mechanism (a second one is a step towards a lock-out).

    A token that the server does not take is renewed once; then that is the answer.

    Args:
        on_end: called once when the connection has ended, whoever ended it.

    Raises:
        Refused: the server, or who gives out its tokens, said no.
        Broken: it could not be reached, or TLS failed.
    """
    tokens = server.tokens
    try:
        token = await tokens.token() if tokens else None
        try:
            return await _open(server, token, on_end)
        except MailRefused as refusal:
            if tokens is None or token is None or not _is_login_failed(refusal.reply):
                raise
            if (newer := await tokens.renewed(token)) is None:
                raise
        return await _open(server, newer, on_end)
    except TokenRefused as refusal:
        raise MailRefused(Refusal("login", _LOGIN_FAILED, f"5.7.8 no token: {refusal}")) from None
    except TokenUnavailable as error:
        raise ConnectionBroken("login", error) from error


async def _open(server: Server, token: Token | None, on_end: Callable[[], None]) -> Opened:
    smtp: aiosmtplib.SMTP | None = None
    stage: Stage = "connect"
    step: Step = "certificates"
    try:
        context = server.context
        step = "reach"
        connected = await _reach(server.host, server.port)
        step = "greeting"
        smtp = _client(server, context, connected)
        await _cancellable(smtp.connect())
        step = "ehlo"
        await _cancellable(smtp.ehlo())
        if server.tls == "required":
            step = "starttls"
            await _cancellable(_encrypt(smtp, server))
        if server.username:
            stage = "login"
            await _cancellable(_login(smtp, server, token))
        if smtp.transport is None:
            raise ConnectionResetError("the server hung up")
        return SMTPProtocol(cast("asyncio.Transport", smtp.transport), on_end), dict(smtp.esmtp_extensions)
    except BaseException as error:
        if smtp is not None:
            smtp.close()
        if (meaning := _meaning(stage, step, error, server)) is None:
            raise
        if meaning is error:
            raise
        raise meaning from error


def _client(server: Server, context: ssl.SSLContext | None, connected: socket.socket) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=server.host,
        port=None,
        sock=connected,
        use_tls=server.tls == "implicit",
        start_tls=False,  # it is asked for by itself, so that it is known what failed
        tls_context=context,
        timeout=_GREETING_SECONDS,
        local_hostname=choose_ehlo_name(server.ehlo_name, socket.gethostname(), connected.getsockname()[0]),
    )


async def _encrypt(smtp: aiosmtplib.SMTP, server: Server) -> None:
    if not smtp.supports_extension("starttls"):
        raise CannotOpen(write_fault("no_starttls", server.where))
    try:
        await smtp.starttls()
    except SMTPResponseException as refusal:
        detail = " ".join(f"{refusal.code} {refusal.message}".split())
        raise CannotOpen(write_fault("starttls_refused", server.where, detail)) from refusal
    await smtp.ehlo()


async def _cancellable(work: Coroutine[None, None, object]) -> None:
    """Await it, and end it when we are cancelled.

    aiosmtplib waits by ``asyncio.wait_for``, which before Python 3.12 forgets a cancellation that meets its result
    (python/cpython#86296): it would go on waiting for minutes.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        raise


async def _login(smtp: aiosmtplib.SMTP, server: Server, token: Token | None) -> None:
    """XOAUTH2 with a token; else PLAIN where it is offered; else LOGIN, all that Microsoft 365 has."""
    offered = smtp.server_auth_methods
    if token is not None and "xoauth2" in offered:
        await smtp.auth_xoauth2(server.username, token.value, timeout=_LOGIN_SECONDS)
    elif token is None and "plain" in offered:
        await smtp.auth_plain(server.username, server.password, timeout=_LOGIN_SECONDS)
    elif token is None and "login" in offered:
        await smtp.auth_login(server.username, server.password, timeout=_LOGIN_SECONDS)
    else:
        wanted = "XOAUTH2" if token else "PLAIN or LOGIN"
        told = ", ".join(sorted(offered)).upper() or "none at all"
        text = f"5.5.4 the server does not offer {wanted} (it offers: {told}); not tried"
        raise MailRefused(Refusal("login", _NO_MECHANISM, text))


async def _reach(host: str, port: int) -> socket.socket:
    """A socket to the first of the host's addresses that answers.

    Raises:
        OSError: none does; TimeoutError is one.
    """
    loop = asyncio.get_running_loop()
    failure: OSError = OSError(f"no address of {host} is known")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        one = socket.socket(family, kind, protocol)
        one.setblocking(False)  # noqa: FBT003  its argument has no name
        try:
            async with asyncio.timeout(_REACH_SECONDS):
                await loop.sock_connect(one, address)
        except OSError as error:
            one.close()
            failure = error
        except BaseException:
            one.close()
            raise
        else:
            return one
    raise failure


def _is_login_failed(reply: Refusal) -> bool:
    return reply.stage == "login" and reply.code == _LOGIN_FAILED


def _meaning(
    stage: Stage, step: Step, error: BaseException, server: Server
) -> MailRefused | ConnectionBroken | None:
    """A failure to open, in our words; None for what is neither the server's nor the network's."""
    match error:
        case MailRefused() | ConnectionBroken():
            return error
        case SMTPAuthenticationError():
            return MailRefused(Refusal("login", error.code, error.message))
        case SMTPResponseException() if error.code < _LOWEST_CODE:
            return CannotOpen(write_fault("no_smtp", server.where))
        case SMTPResponseException():
            return MailRefused(Refusal(stage, error.code, error.message))
        case SMTPException() | OSError() | TimeoutError() | ssl.SSLError():
            return (
                ConnectionBroken(stage, error)
                if stage == "login"
                else CannotOpen(find_fault(step, error, server.where))
            )
        case _:
            return None
