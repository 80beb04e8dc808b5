"""Key of a limit, as a job may name one: ``customer:42``. Apart from the definitions, which few backends need."""

import re

_KEY = re.compile(r"[A-Za-z0-9_.@+-]+(:([A-Za-z0-9_.@+-]+|\*))?\Z")
_KEY_LENGTH = 128
_RESERVED = ("hold:", "lane:", "slow:")


class LimitError(ValueError):
    """Invalid definition of a limit; the message names the field and the allowed values."""


def check_key(key: str) -> str:
    """Return the key if it is valid for a limit.

    Raises:
        LimitError: the key is malformed.
    """
    good = isinstance(key, str) and len(key) <= _KEY_LENGTH and _KEY.match(key) and not key.startswith(_RESERVED)
    if not good:
        raise LimitError(
            f"limit: {key!r} is not a valid key; use a name, or a family and a name, like customer:42, at most "
            f"{_KEY_LENGTH} letters, digits and . _ @ + -; the families hold, lane and slow are reserved"
        )
    return key
