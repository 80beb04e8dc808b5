"""Opening of a connection to a mail server with aiosmtplib: connect, greeting, TLS, login.

Then `worker.mail.smtp.protocol` takes over the transport, and aiosmtplib is done. Its ``sendmail`` would write
body and dot under one timeout, so that a slow upload looks like a lost reply and the retry is a duplicate; its
``login`` tries one mechanism after the other, which locks accounts.

TLS is required: the server's replies before TLS are discarded, and a server that does not offer STARTTLS, or whose
offer was removed on the way, gets no mail.
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
"""Timeout of the greeting (RFC 5321, 4.5.3.2.1); also for EHLO and TLS."""
_LOGIN_SECONDS: Final = 60.0
_NO_MECHANISM, _LOGIN_FAILED = 504, 535
_LOWEST_CODE: Final = 200

OpenConnection = tuple[SMTPProtocol, Mapping[str, str]]
"""The protocol, and the server's EHLO keywords in lower case, with their parameters."""


async def open_connection(server: Server, on_end: Callable[[], None]) -> OpenConnection:
    """Connect, greet, start TLS, and log in with one mechanism, because a second one is a step towards a lock-out.

    If the server refuses a token, it is renewed once and the login tried once more.

    Args:
        on_end: called once when the connection has ended, at either end.

    Raises:
        MailRefused: the server, or the authority of its tokens, refused.
        ConnectionBroken: the server could not be reached, or TLS failed.
    """
    tokens = server.tokens
    try:
        token = await tokens.token() if tokens else None
        try:
            return await _open_once(server, token, on_end)
        except MailRefused as refusal:
            if tokens is None or token is None or not _is_login_failed(refusal.reply):
                raise
            if (newer := await tokens.renewed(token)) is None:
                raise
        return await _open_once(server, newer, on_end)
    except TokenRefused as refusal:
        raise MailRefused(Refusal("login", _LOGIN_FAILED, f"5.7.8 no token: {refusal}")) from None
    except TokenUnavailable as error:
        raise ConnectionBroken("login", error) from error


async def _open_once(server: Server, token: Token | None, on_end: Callable[[], None]) -> OpenConnection:
    smtp: aiosmtplib.SMTP | None = None
    stage: Stage = "connect"
    step: Step = "certificates"
    try:
        context = server.context
        step = "reach"
        connected = await _connect(server.host, server.port)
        step = "greeting"
        smtp = _make_client(server, context, connected)
        await _run_cancellable(smtp.connect())
        step = "ehlo"
        await _run_cancellable(smtp.ehlo())
        if server.tls == "required":
            step = "starttls"
            await _run_cancellable(_start_tls(smtp, server))
        if server.username:
            stage = "login"
            await _run_cancellable(_log_in(smtp, server, token))
        if smtp.transport is None:
            raise ConnectionResetError("the server closed the connection")
        return SMTPProtocol(cast("asyncio.Transport", smtp.transport), on_end), dict(smtp.esmtp_extensions)
    except BaseException as error:
        if smtp is not None:
            smtp.close()
        if (meaning := _translate_error(stage, step, error, server)) is None:
            raise
        if meaning is error:
            raise
        raise meaning from error


def _make_client(server: Server, context: ssl.SSLContext | None, connected: socket.socket) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=server.host,
        port=None,
        sock=connected,
        use_tls=server.tls == "implicit",
        start_tls=False,  # a separate step, so that a failure names it
        tls_context=context,
        timeout=_GREETING_SECONDS,
        local_hostname=choose_ehlo_name(server.ehlo_name, socket.gethostname(), connected.getsockname()[0]),
    )


async def _start_tls(smtp: aiosmtplib.SMTP, server: Server) -> None:
    if not smtp.supports_extension("starttls"):
        raise CannotOpen(write_fault("no_starttls", server.where))
    try:
        await smtp.starttls()
    except SMTPResponseException as refusal:
        detail = " ".join(f"{refusal.code} {refusal.message}".split())
        raise CannotOpen(write_fault("starttls_refused", server.where, detail)) from refusal
    await smtp.ehlo()


async def _run_cancellable(work: Coroutine[None, None, object]) -> None:
    """Await a call of aiosmtplib, and cancel it until it ends if this task is cancelled.

    aiosmtplib waits with ``asyncio.wait_for``, which before Python 3.12 loses a cancellation that coincides with
    its result (python/cpython#86296) and would then wait for minutes.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        raise


async def _log_in(smtp: aiosmtplib.SMTP, server: Server, token: Token | None) -> None:
    """Log in with XOAUTH2 if there is a token, else PLAIN if offered, else LOGIN, all that Microsoft 365 has.

    Raises:
        MailRefused: the server offers none of them.
    """
    offered = smtp.server_auth_methods
    if token is not None and "xoauth2" in offered:
        await smtp.auth_xoauth2(server.username, token.value, timeout=_LOGIN_SECONDS)
    elif token is None and "plain" in offered:
        await smtp.auth_plain(server.username, server.password, timeout=_LOGIN_SECONDS)
    elif token is None and "login" in offered:
        await smtp.auth_login(server.username, server.password, timeout=_LOGIN_SECONDS)
    else:
        wanted = "XOAUTH2" if token else "PLAIN or LOGIN"
        mechanisms = ", ".join(sorted(offered)).upper() or "none"
        text = f"5.5.4 the server does not offer {wanted} (it offers: {mechanisms}); not tried"
        raise MailRefused(Refusal("login", _NO_MECHANISM, text))


async def _connect(host: str, port: int) -> socket.socket:
    """Connect a socket to the first of the host's addresses that accepts.

    Raises:
        OSError: none accepts; may be a TimeoutError.
    """
    loop = asyncio.get_running_loop()
    failure: OSError = OSError(f"host: {host} has no address")
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


def _translate_error(
    stage: Stage, step: Step, error: BaseException, server: Server
) -> MailRefused | ConnectionBroken | None:
    """Translate an error of opening; None if it is neither the server's nor the network's."""
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
