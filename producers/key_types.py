"""Types of a lane's Redis keys, used to name a key of the wrong type. No I/O.

Redis reports WRONGTYPE without the key. A key that another program has overwritten cannot be repaired: the lane
pauses, the logs and commands name the key, and an operator removes it.
"""

from collections.abc import Mapping

from .keys import LaneKeys

_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("queue", "leases", "dead", "workers", "uncertain"), "zset"),
    **dict.fromkeys(("retrying", "adopted", "cancelled", "held_back", "short"), "set"),
    **dict.fromkeys(
        ("counters", "lapses", "effects", "holds", "crons", "next", "parked", "progress", "dataset"), "hash"
    ),
    **dict.fromkeys(("limits", "buckets", "limited", "turns", "keyed", "ledger", "ended"), "hash"),
    **dict.fromkeys(("wake", "staged"), "list"),
}


def key_types(keys: LaneKeys) -> dict[str, str]:
    """Return the keys of a lane and of its group, with their Redis types.

    >>> key_types(LaneKeys("reports"))["arq:queue:{reports}:reports"]
    'zset'
    """
    return {getattr(keys, name): kind for name, kind in _TYPES.items()}


def wrong_key(key: str, expected: str, found: str) -> str | None:
    """Return a text about a key of the wrong type, or None if the key is absent or right.

    >>> wrong_key("momentus:{mail}:counters", "hash", "string")
    'momentus:{mail}:counters holds a string, not a hash'
    """
    return None if found in (expected, "none") else f"{key} holds a {found}, not a {expected}"
