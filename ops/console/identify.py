"""Identification of the operator behind a request: `ops.console.access` decides, this asks Redis for sessions."""

import re
import time

from ops.console.access import COOKIE, STRANGER, AccessRules, Operator
from ops.console.exchange import PageRequest
from sessions import Sessions
from sessions.cookie import SECURE

_BEARER = re.compile(r"bearer +(\S+)", re.ASCII | re.IGNORECASE)


async def identify_operator(request: PageRequest, rules: AccessRules, sessions: Sessions) -> Operator:
    """Return the operator behind a request; STRANGER if nothing shows who it is.

    Raises:
        SessionsUnavailable: Redis did not answer.
    """
    if "authorization" in request.headers:
        return await _bearer_owner(request.headers["authorization"], rules, sessions)
    cookie = rules.cookie_owner(request.cookie(COOKIE), now_s=time.time())
    if found := cookie or rules.proxy_user(request):
        return found
    return await _session_user(request.cookie(SECURE.name), rules, sessions) or rules.local_user(request)


async def _bearer_owner(header: str, rules: AccessRules, sessions: Sessions) -> Operator:
    found = _BEARER.fullmatch(header.strip())
    if found is None:
        return STRANGER
    known = rules.find_token(found[1])
    return known.owner if known else await _session_user(found[1], rules, sessions) or STRANGER


async def _session_user(token: str, rules: AccessRules, sessions: Sessions) -> Operator | None:
    """Return the user of a session; none is looked up while no user has a role."""
    if not token or not rules.users:
        return None
    session = await sessions.load(token)
    return None if session is None else rules.user(session.user, "session")
