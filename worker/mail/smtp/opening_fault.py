"""Table of the faults for which a connection cannot be opened, each with its text and remedy. Pure.

A wrong certificate, port or setting is the account's trouble, not the mail's: it costs the mail no attempt and
closes the account at once. A temporary fault, such as an unreachable host, closes the account after a few in a
row.
"""

import errno
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Step = Literal["certificates", "reach", "greeting", "ehlo", "starttls"]
"""Step of opening a connection at which it failed."""
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
"""OpenSSL's X509_V_ERR_* codes, from ``SSLCertVerificationError.verify_code``."""
_PLAIN: Final = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
_OLD: Final = {
    "UNSUPPORTED_PROTOCOL",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "WRONG_SSL_VERSION",
}
_AWAY: Final = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}

_TRUST = "if the server's authority is your own, name its certificate in ca_file (MOMENTUS_MAIL__CA_FILE)"
_IMPLICIT = "if the port speaks TLS from the first byte, as 465 does, set tls to implicit (MOMENTUS_MAIL__TLS)"
_TEXTS: Final[Mapping[str, tuple[PauseKind, str, str]]] = {
    "expired": ("tls", "the certificate of {where} has expired", "ask the server's operator to renew it"),
    "not_yet_valid": (
        "tls",
        "the certificate of {where} is not valid yet",
        "check this machine's clock; if it is right, ask the server's operator to replace the certificate",
    ),
    "self_signed": (
        "tls",
        "the certificate of {where} is self-signed and not trusted here",
        "ask the server's operator to install a trusted one, or name it in ca_file (MOMENTUS_MAIL__CA_FILE)",
    ),
    "untrusted": ("tls", "the certificate of {where} is not signed by an authority that is trusted here", _TRUST),
    "other_name": (
        "tls",
        "the certificate of {where} is for another name ({detail})",
        "set host (MOMENTUS_MAIL__HOST) to a name that is in the certificate",
    ),
    "certificate": ("tls", "the certificate of {where} cannot be verified ({detail})", _TRUST),
    "certificates": (
        "tls",
        "the file of trusted certificates cannot be read ({detail})",
        "set ca_file (MOMENTUS_MAIL__CA_FILE) to a PEM file that the worker can read",
    ),
    "no_starttls": (
        "tls",
        "{where} does not offer STARTTLS, and mail is sent only over TLS",
        f"use the submission port, usually 587; {_IMPLICIT}; or ask the server's operator to enable STARTTLS",
    ),
    "starttls_refused": (
        "tls",
        "{where} offers STARTTLS and refuses it ({detail})",
        "ask the server's operator to check its certificate and key",
    ),
    "old": (
        "tls",
        "{where} does not support TLS 1.2 or newer ({detail})",
        "ask the server's operator to update it, or use another server",
    ),
    "plain": (
        "tls",
        "{where} does not speak TLS on this port",
        "if the port begins in plain text, as 25 and 587 do, set tls to required (MOMENTUS_MAIL__TLS)",
    ),
    "handshake": (
        "tls",
        "the TLS handshake with {where} failed ({detail})",
        "read the server's log; tls (MOMENTUS_MAIL__TLS) must fit the port, and no firewall may intercept TLS",
    ),
    "unknown": (
        "fault",
        "the name {where} has no address in DNS ({detail})",
        "check host (MOMENTUS_MAIL__HOST) and this machine's name server",
    ),
    "refused": (
        "fault",
        "{where} refuses connections",
        "check host and port (MOMENTUS_MAIL__HOST, __PORT), and that the server runs",
    ),
    "silent": (
        "fault",
        "{where} does not answer",
        "check host and port (MOMENTUS_MAIL__HOST, __PORT), and that no firewall drops connections to it",
    ),
    "away": ("fault", "{where} is unreachable ({detail})", "check this machine's network"),
    "mute": ("tls", "{where} accepts the connection and sends no greeting", _IMPLICIT),
    "hung_up": (
        "fault",
        "{where} closes the connection before it is ready",
        f"read the server's log; {_IMPLICIT}",
    ),
    "no_smtp": ("tls", "{where} does not speak SMTP", f"check port (MOMENTUS_MAIL__PORT); {_IMPLICIT}"),
    "other": ("fault", "the connection to {where} failed ({detail})", "read the server's log"),
}


@dataclass(frozen=True, slots=True)
class OpeningFault:
    """Fault that prevents opening a connection.

    Attributes:
        pause: the trouble that closes the account.
        words: the fault in words, for the operator.
        remedy: the advice, for the operator.
    """

    code: str
    pause: PauseKind
    words: str
    remedy: str


def write_fault(code: str, where: str, detail: str = "") -> OpeningFault:
    """Return a fault of the table with its text filled in.

    >>> write_fault("refused", "mail.example.com:25").words
    'mail.example.com:25 refuses connections'
    """
    pause, words, remedy = _TEXTS[code]
    return OpeningFault(code, pause, words.format(where=where, detail=detail), remedy)


def find_fault(step: Step, error: BaseException, where: str) -> OpeningFault:
    """Find the fault that an error at a step of opening means.

    Args:
        where: host and port.
    """
    chain = list(_iterate_causes(error))
    for one in chain:
        if isinstance(one, ssl.SSLError):
            return write_fault(_tls_code(step, one), where, _error_text(one))
    last = chain[-1]
    return write_fault(_network_code(step, chain, last), where, _error_text(last))


def describe_error(error: BaseException) -> str:
    """Describe an error of a connection in words.

    >>> describe_error(TimeoutError()), describe_error(ConnectionResetError(104, "Connection reset by peer"))
    ('no reply in time', 'Connection reset by peer')
    """
    return _error_text(error)


def _tls_code(step: Step, error: ssl.SSLError) -> str:
    if step == "certificates":
        return "certificates"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, "certificate")
    if error.reason in _PLAIN:
        return "plain"
    return "old" if error.reason in _OLD else "handshake"


def _network_code(step: Step, chain: list[BaseException], last: BaseException) -> str:
    match step:
        case "certificates":
            return "certificates"
        case "starttls":
            return "handshake"
        case "reach":
            return _reach_code(last)
    if any(isinstance(one, TimeoutError) for one in chain):
        return "mute"
    return "hung_up" if isinstance(last, ConnectionError | EOFError) else "other"


def _reach_code(error: BaseException) -> str:
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


def _iterate_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__


def _error_text(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    if text:
        return text
    return "no reply in time" if isinstance(error, TimeoutError) else "the connection ended"
