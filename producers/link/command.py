"""A command of Redis: the types of its arguments, and the hash tag of its keys.

Without I/O and without redis-py, so that commands can be composed before anything that connects is loaded.
"""

Argument = str | bytes | int


def tag_of(key: str) -> str:
    """Return the hash tag of a key or of a job id, braces included; all keys with the same tag share one slot.

    >>> tag_of("momentus:{mail}:counters")
    '{mail}'
    """
    return key[key.index("{") : key.index("}") + 1]
