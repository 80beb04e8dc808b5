"""What each key of a lane holds, so that one which holds something else can be named. No I/O.

Redis says WRONGTYPE and not of which key. Foreign bytes in a key of ours are nobody's data to keep or to mend: the
lane rests, whoever looks is told the key, and people remove it.
"""

from collections.abc import Mapping

from .keys import LaneKeys

_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("queue", "leases", "dead", "workers", "uncertain"), "zset"),
    **dict.fromkeys(("retrying", "adopted", "cancelled", "held_back", "short"), "set"),
    **dict.fromkeys(
        ("counters", "lapses", "effects", "holds", "crons", "next", "parked", "progress", "dataset"), "hash"
    ),
    **dict.fromkeys(("limits", "buckets", "limited", "turns", "keyed"), "hash"),
    "wake": "list",
}


def key_types(keys: LaneKeys) -> dict[str, str]:
    """The keys of a lane and of its group, with the type that Redis calls them by.

    >>> key_types(LaneKeys("reports"))["arq:queue:{reports}:reports"]
    'zset'
    """
    return {getattr(keys, name): kind for name, kind in _TYPES.items()}


def wrong_key(key: str, expected: str, found: str) -> str | None:
    """What is wrong with a key in words, or None when it is absent or right.

    >>> wrong_key("momentus:{mail}:counters", "hash", "string")
    'momentus:{mail}:counters holds a string, not a hash'
    """
    return None if found in (expected, "none") else f"{key} holds a {found}, not a {expected}"
