"""The note that a worker left of a mail that it handed over: to whom, when and by which account.

The value is ``<digest> <minute> <account>``: the first 32 digits of the recipient's digest, the minute since 1970.
Earlier workers wrote the digest alone.
"""

from dataclasses import dataclass

from producers.suppression import digest_of

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class SentNote:
    """One mail that was handed over.

    Attributes:
        digest: the beginning of the recipient's.
        handed_over_ms: ms since 1970, to the minute; None if it is not known.
        account: by which it went; "" if it is not known.
    """

    digest: str
    handed_over_ms: int | None = None
    account: str = ""


def read_note(octets: bytes) -> SentNote:
    """A note as it stands in Redis.

    >>> read_note(b"0a1b 29931448 main")
    SentNote(digest='0a1b', handed_over_ms=1795886880000, account='main')
    """
    digest, _, rest = octets.decode(errors="replace").partition(" ")
    minute, _, account = rest.partition(" ")
    return SentNote(digest, int(minute) * _MINUTE_MS if minute.isdecimal() else None, account)


def was_sent_to(note: SentNote, address: str) -> bool:
    """Whether the mail went to this address."""
    return digest_of(address).startswith(note.digest)
