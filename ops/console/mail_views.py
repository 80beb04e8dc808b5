"""Views about mail and users: accounts, mails of uncertain delivery, suppressed addresses; sessions."""

import re
from collections import Counter
from datetime import timedelta

from ops.command import Tools
from ops.console.exchange import PageResponse
from ops.console.job_views import shown_reason
from ops.console.render import render_page
from ops.console.visit import ConsoleVisit
from ops.mail.accounts import AccountState, read_accounts
from ops.mail.doubt import doubt_text
from ops.mail.suppression import list_suppressed
from ops.mail.uncertain import list_uncertain
from ops.sessions.arguments import SHOWN
from producers.keys import MAIL_SUPPRESSION
from sessions import SessionRefused, Sessions

_UNCERTAIN_SHOWN = 50
_ADDRESSES_COUNTED = 20_000
_DOMAINS_SHOWN = 20
_DEADLINE = timedelta(seconds=2)
_USER_LIMIT = 256


async def show_mail(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return the accounts, the mails that wait for a decision, and the domains of suppressed addresses."""
    accounts = await read_accounts(tools.redis)
    uncertain, total = await list_uncertain(tools.redis, limit=_UNCERTAIN_SHOWN)
    return render_page(
        "mail.html",
        visit,
        accounts=accounts,
        account_note=lambda one: shown_reason(visit, _note(one, visit)),
        uncertain=uncertain,
        uncertain_total=total,
        domains=(await _suppressed_domains(tools)).most_common(_DOMAINS_SHOWN),
        suppressed=int(await tools.redis.hlen(MAIL_SUPPRESSION)),  # type: ignore[misc]  # typed for both clients
    )


def _note(one: AccountState, visit: ConsoleVisit) -> str:
    if one.held is not None:
        return one.held.reason
    return one.reason or (doubt_text(one.doubt, visit.language) if one.doubt else "")


async def _suppressed_domains(tools: Tools) -> Counter[str]:
    """Count the suppressed addresses by domain; of a very long list a part."""
    counts, seen = Counter[str](), 0
    async for one in list_suppressed(tools.redis):
        counts[one.domain] += 1
        seen += 1
        if seen == _ADDRESSES_COUNTED:
            break
    return counts


async def show_sessions(visit: ConsoleVisit, tools: Tools, _match: re.Match[str]) -> PageResponse:
    """Return the sessions of a user, by the first digits of their digests."""
    user = visit.query.get("user", "")[:_USER_LIMIT]
    found, refused = [], ""
    if user:
        try:
            found = await Sessions(tools.redis, deadline=_DEADLINE).sessions_of(user)
        except SessionRefused as refusal:
            refused = str(refusal)
    rows = [(one.place.digest[:SHOWN], one) for one in found]
    return render_page("sessions.html", visit, user=user, rows=rows, refused=refused)
