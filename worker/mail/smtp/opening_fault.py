"""Why a connection could not be opened, in words and with the remedy. Pure.

A certificate, a port or a setting that is wrong is the account's trouble, not the mail's: it costs no attempt, and
closes the account at once. What may pass, as a host that is away, closes it after a few in a row.
"""

import errno
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Step = Literal["certificates", "reach", "greeting", "ehlo", "starttls"]
"""How far it got."""
PauseKind = Literal["tls", "fault"]

_VERIFY: Final[Mapping[int, str]] = {
    9: "not_yet_valid",
    10: "expired",
    18: "self_signed",
    19: "untrusted",
    20: "untrusted",
    21: "untrusted",
    62: "other_name",
    64: "other_name",
}
"""OpenSSL's X509_V_ERR_*, as ``SSLCertVerificationError.verify_code`` has them."""
_PLAIN: Final = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
_OLD: Final = {
    "UNSUPPORTED_PROTOCOL",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "WRONG_SSL_VERSION",
}
_AWAY: Final = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}

_TRUST = "name the certificate of its authority in ca_file (MOMENTUS_MAIL__CA_FILE), if it is one of your own"
_IMPLICIT = "if the port speaks TLS from the first byte, as 465 does, set tls to implicit (MOMENTUS_MAIL__TLS)"
_TEXTS: Final[Mapping[str, tuple[PauseKind, str, str]]] = {
    "expired": ("tls", "the certificate of {where} has expired", "have it renewed by whoever runs the server"),
    "not_yet_valid": (
        "tls",
        "the certificate of {where} is not valid yet",
        "check this machine's clock; if it is right, have the certificate replaced",
    ),
    "self_signed": (
        "tls",
        "the certificate of {where} is signed by itself, and not known here",
        "have a trusted one installed, or name it in ca_file (MOMENTUS_MAIL__CA_FILE)",
    ),
    "untrusted": ("tls", "no authority that is trusted here signed the certificate of {where}", _TRUST),
    "other_name": (
        "tls",
        "the certificate of {where} is for another name ({detail})",
        "set host (MOMENTUS_MAIL__HOST) to a name that is in the certificate",
    ),
    "certificate": ("tls", "the certificate of {where} cannot be verified ({detail})", _TRUST),
    "certificates": (
        "tls",
        "the file of trusted certificates cannot be read ({detail})",
        "set ca_file (MOMENTUS_MAIL__CA_FILE) to a PEM file that the worker may read",
    ),
    "no_starttls": (
        "tls",
        "{where} offers no STARTTLS, and without TLS nothing is sent",
        f"use the port for clients, as 587; {_IMPLICIT}; or have the server offer it",
    ),
    "starttls_refused": (
        "tls",
        "{where} offers STARTTLS and refuses it ({detail})",
        "have whoever runs the server look at its certificate and key",
    ),
    "old": (
        "tls",
        "{where} speaks no TLS as new as 1.2 ({detail})",
        "have the server updated, or use another one",
    ),
    "plain": (
        "tls",
        "{where} answers without TLS",
        "if the port begins in plain text, as 25 and 587 do, set tls to required (MOMENTUS_MAIL__TLS)",
    ),
    "handshake": (
        "tls",
        "the TLS handshake with {where} broke off ({detail})",
        "look at the server's log; tls (MOMENTUS_MAIL__TLS) must fit the port, and no firewall may break TLS",
    ),
    "unknown": (
        "fault",
        "the name {where} leads to no address ({detail})",
        "check host (MOMENTUS_MAIL__HOST) and this machine's name server",
    ),
    "refused": (
        "fault",
        "{where} takes no connections",
        "check host and port (MOMENTUS_MAIL__HOST, __PORT), and that the server runs",
    ),
    "silent": (
        "fault",
        "{where} does not answer",
        "check host and port (MOMENTUS_MAIL__HOST, __PORT), and that no firewall drops connections to it",
    ),
    "away": ("fault", "there is no way to {where} ({detail})", "check this machine's network"),
    "mute": ("tls", "{where} takes the connection and says nothing", _IMPLICIT),
    "hung_up": (
        "fault",
        "{where} closes the connection before it is ready",
        f"look at the server's log; {_IMPLICIT}",
    ),
    "no_smtp": ("tls", "what {where} says is not SMTP", f"check port (MOMENTUS_MAIL__PORT); {_IMPLICIT}"),
    "other": ("fault", "the connection to {where} failed ({detail})", "look at the server's log"),
}


@dataclass(frozen=True, slots=True)
class OpeningFault:
    """Attributes: ``pause`` is how the account is closed for it; ``words`` and ``remedy`` are for people."""

    code: str
    pause: PauseKind
    words: str
    remedy: str


def write_fault(code: str, where: str, detail: str = "") -> OpeningFault:
    """A fault of the table.

    >>> write_fault("refused", "mail.example.com:25").words
    'mail.example.com:25 takes no connections'
    """
    pause, words, remedy = _TEXTS[code]
    return OpeningFault(code, pause, words.format(where=where, detail=detail), remedy)


def find_fault(step: Step, error: BaseException, where: str) -> OpeningFault:
    """What an error at a step of opening means.

    Args:
        where: host and port.
    """
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLError):
            return write_fault(_of_tls(step, one), where, _words(one))
    last = chain[-1]
    return write_fault(_of_network(step, chain, last), where, _words(last))


def describe(error: BaseException) -> str:
    """An error of a connection in words.

    >>> describe(TimeoutError()), describe(ConnectionResetError(104, "Connection reset by peer"))
    ('no answer in time', 'Connection reset by peer')
    """
    return _words(error)


def _of_tls(step: Step, error: ssl.SSLError) -> str:
    if step == "certificates":
        return "certificates"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, "certificate")
    if error.reason in _PLAIN:
        return "plain"
    return "old" if error.reason in _OLD else "handshake"


def _of_network(step: Step, chain: list[BaseException], last: BaseException) -> str:
    match step:
        case "certificates":
            return "certificates"
        case "starttls":
            return "handshake"
        case "reach":
            return _of_reach(last)
    if any(isinstance(one, TimeoutError) for one in chain):
        return "mute"
    return "hung_up" if isinstance(last, ConnectionError | EOFError) else "other"


def _of_reach(error: BaseException) -> str:
    match error:
        case socket.gaierror():
            return "unknown"
        case ConnectionRefusedError():
            return "refused"
        case TimeoutError():
            return "silent"
        case OSError() if error.errno in _AWAY:
            return "away"
    return "other"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came of."""
    while error is not None:
        yield error
        error = error.__cause__


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    if text:
        return text
    return "no answer in time" if isinstance(error, TimeoutError) else "the connection ended"
