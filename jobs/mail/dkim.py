"""DKIM signatures (RFC 6376, RFC 8463): relaxed/relaxed, rsa-sha256 or ed25519-sha256.

For operators of their own mail server; Gmail, Microsoft 365 and Amazon SES sign mails themselves. The same mail
gives the same signature at every attempt: the time in it (``t=``) is the mail's own Date, RSA's padding is
PKCS #1 v1.5, and Ed25519 draws no random number. So all attempts are identical byte for byte.

Only mails from the key's domain, or below it, are signed: a signature of another domain proves nothing to DMARC.
Header fields that a receiver shows or acts upon are signed, and once more as absent where a second one would
deceive (8.15). This module is the only use of the package ``cryptography`` in the worker; the tests verify its
output with another library.

Unusable keys are refused at the start: one that cannot be read, or an RSA key under 1024 bits, which no receiver
may accept. A signature costs about 1 ms a mail with RSA of 2048 bits, 0.1 ms with Ed25519.
"""

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from .letter import Letter

_SIGNED = (
    *(b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"reply-to", b"in-reply-to", b"references"),
    *(b"list-unsubscribe", b"list-unsubscribe-post", b"mime-version", b"content-type"),
    *(b"content-transfer-encoding", b"auto-submitted", b"x-original-to"),
)
_ONCE_MORE = (b"from", b"to", b"subject", b"date", b"reply-to", b"content-type")
"""Fields that are signed as absent too, so that a second one added in front breaks the signature."""
_LEAST_BITS = 1024
_PADDING, _SHA256 = padding.PKCS1v15(), hashes.SHA256()
_LINE = 72
_SPACES = re.compile(rb"[ \t]+")
_UTC_DATE = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) \+0000")
_MONTHS = {
    "Jan": 1,
    "Feb": 2,
    "Mar": 3,
    "Apr": 4,
    "May": 5,
    "Jun": 6,
    "Jul": 7,
    "Aug": 8,
    "Sep": 9,
    "Oct": 10,
    "Nov": 11,
    "Dec": 12,
}
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z")


class InvalidDkimKey(ValueError):
    """The key, the domain or the selector cannot be used; the message names the setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Signer of letters for one domain.

    Attributes:
        domain: of the signature (``d=``), in lower case.
        selector: name of the key in the domain (``s=``); its public half is at ``<selector>._domainkey.<domain>``.
    """

    domain: str
    selector: str
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = field(repr=False)

    @property
    def public_text(self) -> str:
        """Content of the DNS record: ``v=DKIM1; k=...; p=...``."""
        public = self.key.public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):
            raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return f"v=DKIM1; k=ed25519; p={b64encode(raw).decode()}"
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"v=DKIM1; k=rsa; p={b64encode(der).decode()}"

    def signs_for(self, sender: str) -> bool:
        """Return True if mail from this address gets a signature."""
        domain = sender.rpartition("@")[2].lower()
        return domain == self.domain or domain.endswith(f".{self.domain}")

    def sign(self, letter: Letter) -> Letter:
        """Return the letter with its signature on top; unchanged if it is from another domain."""
        if not self.signs_for(letter.sender):
            return letter
        return Letter(letter.sender, letter.recipients, self.signature(letter.content) + letter.content)

    def signature(self, encoded: bytes) -> bytes:
        """Return the header field ``DKIM-Signature`` with its line end (RFC 6376, 3.5 and 3.7)."""
        head, _, body = encoded.partition(b"\r\n\r\n")
        fields = _relaxed_fields(head)
        open_field = self._unsigned(fields, body)
        hashed = b"".join(_chosen(fields)) + _relaxed(open_field)
        return open_field + _folded(b64encode(self._sign(hashed))) + b"\r\n"

    def _unsigned(self, fields: dict[bytes, list[bytes]], body: bytes) -> bytes:
        digest = b64encode(hashlib.sha256(relaxed_body(body)).digest())
        algorithm = "rsa" if isinstance(self.key, rsa.RSAPrivateKey) else "ed25519"
        head = f"v=1; a={algorithm}-sha256; c=relaxed/relaxed; d={self.domain}; s={self.selector};"
        lines = [f"DKIM-Signature: {head}".encode(), f"t={_instant(fields)}; bh=".encode() + digest + b";"]
        return b"\r\n ".join([*lines, b"h=" + b":\r\n  ".join(_grouped(_names(fields))) + b";", b"b="])

    def _sign(self, hashed: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(hashed, _PADDING, _SHA256)
        return self.key.sign(hashlib.sha256(hashed).digest())  # RFC 8463, 3: PureEdDSA over the hash


def load_signer(pem: str, *, domain: str, selector: str) -> Signer:
    """Return a signer for a private key in PEM (PKCS #8, or PKCS #1 for RSA), without a passphrase.

    Raises:
        InvalidDkimKey: unusable; the message does not quote the key.
    """
    for name, value in (("DKIM_DOMAIN", domain), ("DKIM_SELECTOR", selector)):
        if not _NAME.match(value):
            raise InvalidDkimKey(
                f"MOMENTUS_MAIL__{name}: is not a DNS name ({value!r}); give a name like mail.example.com"
            )
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidDkimKey(
            "MOMENTUS_MAIL__DKIM_KEY: is not a private key in PEM without a passphrase; "
            "make one with: openssl genpkey -algorithm ED25519, or RSA with -pkeyopt rsa_keygen_bits:2048"
        ) from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _LEAST_BITS:
        raise InvalidDkimKey(
            f"MOMENTUS_MAIL__DKIM_KEY: is too short ({key.key_size} bits); receivers require at least 1024"
        )
    if not isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise InvalidDkimKey("MOMENTUS_MAIL__DKIM_KEY: is neither an RSA nor an Ed25519 key; DKIM has no others")
    return Signer(domain=domain.lower(), selector=selector, key=key)


def relaxed_body(body: bytes) -> bytes:
    r"""Return the body in the form to hash: white space reduced, none at line ends, no empty lines at the end.

    >>> relaxed_body(b"a  b \r\n\r\n\r\n")
    b'a b\r\n'
    """
    body = _one_space(body)
    if body.find(b" \r\n", 0, body.rfind(b" ") + 3) >= 0:
        body = body.replace(b" \r\n", b"\r\n")
    body = body.rstrip(b" ")
    end = len(body)
    while body[max(0, end - 2) : end] == b"\r\n":
        end -= 2
    return body[:end] + b"\r\n" if end else b""


def _one_space(text: bytes) -> bytes:
    """Return the text with each run of spaces and tabs as one space.

    Searching is cheaper than the pattern, and cheapest up to the last space: base64 behind it has none.
    """
    has_runs = text.find(b"  ", 0, text.rfind(b" ") + 1) >= 0 or b"\t" in text
    return _SPACES.sub(b" ", text) if has_runs else text


def _relaxed_fields(head: bytes) -> dict[bytes, list[bytes]]:
    r"""Return the values of the header fields in the form to hash (RFC 6376, 3.4.2), by name in lower case.

    >>> _relaxed_fields(b"Subject: a\r\n\tb \r\nTO :x")
    {b'subject': [b'a b'], b'to': [b'x']}
    """
    unfolded = head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    found: dict[bytes, list[bytes]] = {}
    for line in _one_space(unfolded).split(b"\r\n"):
        name, _, value = line.partition(b":")
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return found


def _names(fields: dict[bytes, list[bytes]]) -> list[bytes]:
    """Return the names for ``h=``, in order: each field present, and those that must not be added later."""
    return [name for name in _SIGNED for _ in fields.get(name, ())] + list(_ONCE_MORE)


def _chosen(fields: dict[bytes, list[bytes]]) -> list[bytes]:
    """Return the fields to hash; repeated names from the last one up (RFC 6376, 5.4.2)."""
    signed = [name for name in _SIGNED if name in fields]
    return [b"%b:%b\r\n" % (name, value) for name in signed for value in reversed(fields[name])]


def _relaxed(field: bytes) -> bytes:
    """Return a field in the form to hash, without a line end."""
    ((name, (value,)),) = _relaxed_fields(field).items()
    return b"%b:%b" % (name, value)


def _grouped(names: list[bytes]) -> list[bytes]:
    """Return the names in groups of four, so that no line is long."""
    return [b":".join(names[start : start + 4]) for start in range(0, len(names), 4)]


def _folded(text: bytes) -> bytes:
    return b"\r\n ".join(text[start : start + _LINE] for start in range(0, len(text), _LINE))


def _instant(fields: dict[bytes, list[bytes]]) -> int:
    """Return the mail's own Date in seconds since 1970."""
    date = fields[b"date"][0].decode("ascii")
    if (usual := _UTC_DATE.fullmatch(date)) and usual[2] in _MONTHS:  # the library takes ten times as long
        month, (day, year, hour, minute, second) = _MONTHS[usual[2]], map(int, usual.group(1, 3, 4, 5, 6))
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    return int(parsedate_to_datetime(date).timestamp())
