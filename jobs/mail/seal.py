"""Encryption of a mail before it leaves the backend, so that Redis and its backups hold no address or text.

The private fields (recipient, sender, subject, bodies, attachments) become one text: AES-256-GCM under a key that
only backends and workers have. The fields that the queue needs stay in plain text: ``message_id``, ``date``,
``stream``, ``account``.

    {"message_id", "date", ..., "sealed": "1.<key id>.<base64url of nonce, ciphertext and tag>"}

A **key ring** is ``id:key`` texts, the key being 32 bytes in base64; the first seals, all of them open. To
rotate, put a new one in front, on workers first, and drop the old one when no job sealed with it is left.

Without its key a mail waits (:class:`UnknownSealKey`); a text that was changed, or moved to another job, can never
be opened (:class:`BrokenSeal`): kind and job id are bound into the tag. Nonces are 96 random bits
(NIST SP 800-38D, 8.2.2): one key is good for 2^32 mails.
"""

import binascii
import re
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from secrets import token_bytes
from typing import TYPE_CHECKING, Self

import orjson

from ..errors import JobError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEALED = "sealed"
"""The field that replaces all private ones."""
KINDS = frozenset({"mail.send"})
"""Kinds that a ring seals; other kinds carry no personal text."""
CLEAR = frozenset({"message_id", "date", "stream", "account", "template"})
"""Fields that the queue and its operators may read."""

_VERSION = "1"
_NONCE_BYTES = 12
_KEY_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")


class SealError(JobError):
    """A mail cannot be sealed or opened; the message never contains a key or sealed content."""


class InvalidKeyRing(SealError):
    """The text is not a list of ``id:base64`` keys, or the library is not installed."""


class UnknownSealKey(SealError):
    """The ring lacks the key with this id: an operator must add it; the mail is not lost."""

    def __init__(self, key_id: str) -> None:
        super().__init__(SEALED, f"the key ring has no key {key_id!r}; add it, and the mail can be opened again")
        self.key_id = key_id


class BrokenSeal(SealError):
    """The sealed text was changed or truncated, or belongs to another job."""


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class KeyRing:
    """A ring of keys that seal and open mails.

    Args:
        text: one or more ``id:key``, separated by commas or white space; the first one seals.
        decode: reads base64url without padding; a worker has a faster one.

    Raises:
        InvalidKeyRing: a malformed ring, a key of the wrong length, a duplicate id, or no ``cryptography``.

    Example:
        ring = KeyRing("2026-11:" + base64_of_32_bytes)
        async with Producer.connect(url, seal=ring) as producer: ...
    """

    def __init__(self, text: str, *, decode: Callable[[str], bytes] = _decode) -> None:
        self._decode = decode
        self._keys = _read(text)
        self._first = next(iter(self._keys))

    @classmethod
    def optional(cls, text: str | None, *, decode: Callable[[str], bytes] = _decode) -> Self | None:
        """Return a ring, or None for no text: mails then travel unsealed."""
        return cls(text, decode=decode) if text and text.strip() else None

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of the keys, the sealing one first."""
        return tuple(self._keys)

    def seal(self, payload: Mapping[str, object], *, kind: str, job_id: str) -> Mapping[str, object]:
        """Return the payload with its private fields sealed; unchanged if the kind has none.

        Raises:
            orjson.JSONEncodeError: a value cannot be written as JSON (a TypeError).
        """
        if kind not in KINDS or SEALED in payload:
            return payload
        clear = {name: value for name, value in payload.items() if name in CLEAR}
        secret = orjson.dumps({name: value for name, value in payload.items() if name not in CLEAR})
        nonce = token_bytes(_NONCE_BYTES)
        encoded = self._keys[self._first].encrypt(nonce, secret, _bound(self._first, kind, job_id))
        text = urlsafe_b64encode(nonce + encoded).decode().rstrip("=")
        return {**clear, SEALED: f"{_VERSION}.{self._first}.{text}"}

    def open(self, payload: Mapping[str, object], *, kind: str, job_id: str) -> Mapping[str, object]:
        """Return the payload before sealing.

        Raises:
            UnknownSealKey, BrokenSeal: it cannot be opened.
        """
        key_id, encoded = _parts(payload, self._decode)
        key = self._keys.get(key_id)
        if key is None:
            raise UnknownSealKey(key_id)
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  an extra; a ring exists, so it is here

        try:
            secret = key.decrypt(encoded[:_NONCE_BYTES], encoded[_NONCE_BYTES:], _bound(key_id, kind, job_id))
        except (InvalidTag, ValueError):
            raise BrokenSeal(SEALED, "was changed, or belongs to another job; it cannot be opened") from None
        return {**{name: value for name, value in payload.items() if name != SEALED}, **orjson.loads(secret)}

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"


def is_sealed(payload: Mapping[str, object]) -> bool:
    """Return True if a ring is needed to read the payload."""
    return SEALED in payload


def key_id_of(payload: Mapping[str, object]) -> str:
    """Return the id of the key with which a payload was sealed.

    Raises:
        BrokenSeal: it has no readable seal.
    """
    return _parts(payload)[0]


def _parts(payload: Mapping[str, object], decode: Callable[[str], bytes] = _decode) -> tuple[str, bytes]:
    version, _, rest = str(payload.get(SEALED)).partition(".")
    key_id, _, text = rest.partition(".")
    if version != _VERSION or not _KEY_ID.match(key_id):
        raise BrokenSeal(SEALED, "has an unknown format; upgrade this process")
    try:
        return key_id, decode(text)
    except ValueError:
        raise BrokenSeal(SEALED, "is not base64; the job was changed") from None


def _bound(key_id: str, kind: str, job_id: str) -> bytes:
    """Return the associated data of the tag; NUL is in none of its parts."""
    return f"momentus.seal\0{_VERSION}\0{key_id}\0{kind}\0{job_id}".encode()


def _read(text: str) -> "dict[str, AESGCM]":
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  an extra
    except ImportError:
        raise InvalidKeyRing("seal", "needs the package cryptography: install momentus-client[seal]") from None
    keys: dict[str, AESGCM] = {}
    for entry in re.split(r"[,\s]+", text.strip().strip(",")):
        key_id, colon, secret = entry.partition(":")
        if not colon or not _KEY_ID.match(key_id):
            raise InvalidKeyRing(
                "seal", "has a malformed key; a key is id:base64, the id up to 32 letters, digits, - and _"
            )
        if key_id in keys:
            raise InvalidKeyRing("seal", f"has the key id {key_id!r} twice; give each key a different id")
        keys[key_id] = AESGCM(_key_bytes(key_id, secret))
    return keys


def _key_bytes(key_id: str, text: str) -> bytes:
    try:
        encoded = b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        encoded = b""
    if len(encoded) != _KEY_BYTES:
        raise InvalidKeyRing(
            "seal", f"key {key_id!r} must be 32 bytes in base64; make one with: openssl rand -base64 32"
        )
    return encoded
