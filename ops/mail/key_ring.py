"""The key ring for sealed mails, from the settings."""

from collections.abc import Mapping
from typing import Any

from jobs.mail.seal import InvalidKeyRing, KeyRing
from ops.command import CommandRefused


def ring_of(mail: Mapping[str, Any]) -> KeyRing | None:
    """Return the key ring of the mail settings, or None if none is set.

    Raises:
        CommandRefused: it cannot be read.
    """
    try:
        return KeyRing.optional(mail.get("seal_keys"))
    except InvalidKeyRing as refusal:
        raise CommandRefused(f"MOMENTUS_MAIL__SEAL_KEYS: {refusal.reason}") from None
