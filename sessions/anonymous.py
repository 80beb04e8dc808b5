"""Sessions of visitors who have not logged in: a basket, a language, a CSRF token. No I/O.

An anonymous session is stored as any other, under a random name of its own, and follows all rules of a session.
Its token has another form (`ma1.`), which `Sessions.load`, the middleware and the reader do not know. They reply
as for any unknown text, so a visitor is never taken for a user. A log-in begins a user's session and ends this
one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from .operations import ANONYMOUS, SessionOperation, create_session
from .session import Session
from .token import mint_anonymous


def create(
    data: Mapping[str, Any], *, idle: timedelta, absolute: timedelta
) -> SessionOperation[tuple[str, Session]]:
    """Create an anonymous session.

    Args:
        data, idle, absolute: as in `Sessions.create`.

    Raises:
        SessionRefused: an argument is invalid.
    """
    visitor = f"{ANONYMOUS}{secrets.token_hex(16)}"
    return create_session(visitor, data, label="", idle=idle, absolute=absolute, token=mint_anonymous(visitor))
