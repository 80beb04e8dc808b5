"""A session as the application gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from .token import SessionPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A user's login, as stored at `version`. The token is not part of it and cannot be derived from it.

    `data` is the application's JSON object; `data["roots"]` lists the org nodes whose subtrees the user may
    read. The session ends `idle` after its last use, at the latest at `expires_at`.
    """

    place: SessionPlace
    version: int
    user: str = field(repr=False)
    created_at: datetime
    expires_at: datetime
    touched_at: datetime
    idle: timedelta
    label: str = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)
