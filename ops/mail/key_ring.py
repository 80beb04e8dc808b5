"""The key ring that opens sealed mails, as the settings name it."""

from collections.abc import Mapping
from typing import Any

from jobs.mail.seal import InvalidKeyRing, KeyRing
from ops.command import CommandRefused


def ring_of(mail: Mapping[str, Any]) -> KeyRing | None:
    """The ring of the mail settings; None where none is set.

    Raises:
        Refused: it cannot be read.
    """
    try:
        return KeyRing.optional(mail.get("seal_keys"))
    except InvalidKeyRing as refusal:
        raise CommandRefused(f"MOMENTUS_MAIL__SEAL_KEYS: {refusal.reason}") from None
