"""Notes that workers store of sent mails: recipient, time and account.

The value is ``<digest> <minute> <account>``: the first 32 digits of the recipient's digest, the minute since 1970.
For several recipients it has all digests, separated by commas.
Earlier workers wrote the digest alone.
"""

from dataclasses import dataclass

from producers.suppression import digest_of

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class SentNote:
    """Note of one sent mail.

    Attributes:
        digests: the first digits of each recipient's digest.
        handed_over_ms: milliseconds since 1970, to the minute; None if unknown.
        account: the account that sent it; "" if unknown.
    """

    digests: tuple[str, ...]
    handed_over_ms: int | None = None
    account: str = ""


def read_note(stored: bytes) -> SentNote:
    """Read a note as stored in Redis.

    >>> read_note(b"0a1b 29931448 main")
    SentNote(digests=('0a1b',), handed_over_ms=1795886880000, account='main')
    """
    digest, _, rest = stored.decode(errors="replace").partition(" ")
    minute, _, account = rest.partition(" ")
    return SentNote(tuple(digest.split(",")), int(minute) * _MINUTE_MS if minute.isdecimal() else None, account)


def was_sent_to(note: SentNote, address: str) -> bool:
    """Return True if the mail was sent to this address."""
    return names_digest(note, digest_of(address))


def names_digest(note: SentNote, digest: str) -> bool:
    """Return True if the mail was sent to the address with this digest."""
    return digest.startswith(note.digests)
