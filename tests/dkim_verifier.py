"""A verifier of DKIM signatures (RFC 6376, RFC 8463), written from the standard and not from our signer.

It knows relaxed/relaxed, rsa-sha256 and ed25519-sha256, and is itself held to the example of RFC 8463, appendix A.
"""

import base64
import hashlib
import re
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa


def verifies(octets: bytes, record: str) -> bool:
    """Whether the first DKIM-Signature of a mail is good under this key record."""
    head, body = octets.split(b"\r\n\r\n", 1)
    fields = re.findall(rb"([^\s:]+)[ \t]*:((?:.*)(?:\r\n[ \t].*)*)(?:\r\n|\Z)", head)
    (signature,) = [value for name, value in fields if name.lower() == b"dkim-signature"][:1]
    tags = _tags(signature.decode())
    if base64.b64encode(hashlib.sha256(_body(body)).digest()).decode() != tags["bh"]:
        return False
    remaining = [(name.lower(), value) for name, value in fields]
    hashed = b""
    for name in (one.strip().lower().encode() for one in tags["h"].split(":")):
        at = max((place for place, (known, _) in enumerate(remaining) if known == name), default=-1)
        if at >= 0:
            hashed += _field(*remaining.pop(at)) + b"\r\n"
    hashed += _field(b"dkim-signature", re.sub(rb"(\bb=)[^;]*$", rb"\1", signature))
    return _is_signed(hashed, base64.b64decode(tags["b"]), tags["a"], _tags(record))


def _is_signed(hashed: bytes, signature: bytes, algorithm: str, key: Mapping[str, str]) -> bool:
    public = base64.b64decode(key["p"])
    try:
        if algorithm == "ed25519-sha256":
            loaded = ed25519.Ed25519PublicKey.from_public_bytes(public)
            loaded.verify(signature, hashlib.sha256(hashed).digest())
        else:
            one = serialization.load_der_public_key(public)
            assert isinstance(one, rsa.RSAPublicKey)
            one.verify(signature, hashed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _tags(text: str) -> dict[str, str]:
    """A tag list; white space within a value means nothing."""
    pairs = (part.split("=", 1) for part in text.split(";") if "=" in part)
    return {name.strip(): re.sub(r"\s+", "", value) for name, value in pairs}


def _field(name: bytes, value: bytes) -> bytes:
    return name + b":" + re.sub(rb"[ \t\r\n]+", b" ", value).strip(b" ")


def _body(body: bytes) -> bytes:
    lines = re.sub(rb"[ \t]+", b" ", body)
    lines = re.sub(rb" (?=\r\n|\Z)", b"", lines)
    lines = re.sub(rb"(?:\r\n)*\Z", b"", lines)
    return lines + b"\r\n" if lines else b""
