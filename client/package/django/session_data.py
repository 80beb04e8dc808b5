"""Changes of a request to its session, to be applied to what another request stored. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """Difference of a session's data by top-level key. False if empty."""

    written: Mapping[str, Any]
    removed: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.written or self.removed)

    def applied_to(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data with the change applied."""
        return {**{key: value for key, value in data.items() if key not in self.removed}, **self.written}


def change_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    """Return the change between two states of the data.

    Example:
        >>> change_between({"a": 1, "b": 2}, {"a": 1, "c": 3})
        Change(written={'c': 3}, removed=frozenset({'b'}))
    """
    written = {key: value for key, value in after.items() if key not in before or before[key] != value}
    return Change(written, frozenset(before.keys() - after.keys()))
