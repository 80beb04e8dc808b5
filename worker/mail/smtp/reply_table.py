"""Table of replies with the verdict on each: scope, decision and trouble; a test keeps docs/mail.md equal to it.

Sources: RFC 5321 (4.2.1, 4.5.3.1.10), RFC 3463 and IANA's registry of enhanced codes; Postfix, Exim, Sendmail,
OpenSMTPD and qmail; the documentation of Google, Microsoft, Amazon, Yahoo, Apple, Twilio, Mailgun and Zoho.

The order is by reach: rows about the account or this machine come before rows about one mail, because the same
5.7.1 may mean either and only its words show which. A row that closes an account has its own words or codes;
"denied" alone never closes one, because it may be one recipient's policy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from worker.mail.smtp.verdict import Stage, Trouble, Verdict

_GREYLIST_WAIT = timedelta(minutes=5)
_REFUSAL, _PERMANENT = 400, 500
_CLOSING, _TOO_MANY, _NO_STORAGE, _TLS_WANTED, _TOO_LARGE = 421, 432, 452, 538, 552
_LOGIN_CODES = {530, 534, 535}
_LOGIN_DETAILS = {"7.3", "7.8", "7.9", "7.30", "7.57", "7.139"}
_RELAY_DETAILS = {"7.51", "7.54", "7.64", "7.68"}
_BLOCKED_DETAILS = {"7.501", "7.502", "7.503", "7.705", "7.750"}
_CLIENT_DETAILS = {"7.25", "7.506", "7.511", "7.708"}
_BANNED_ADDRESSES = range(606, 650)
"""Microsoft's codes for banned addresses: 5.7.606 to 5.7.649."""
_RECIPIENT_POLICY = {"7.2", "7.13", *(f"7.{detail}" for detail in (*range(120, 137), 193, 504, 505, 507))}
_RECIPIENT_DETAILS = {"1.0", "1.1", "1.2", "1.3", "1.4", "1.6", "1.10", "2.0", "2.1", "4.4"}
_SIZE_DETAILS = {"2.3", "3.4"}
_SENDER_DETAILS = {"1.7", "1.8", "2.252"}


@dataclass(frozen=True, slots=True)
class ReplyFacts:
    """Facts of a reply that a row tests.

    Attributes:
        enhanced: the enhanced code without its class.
        topics: the topics of the text, see `worker.mail.smtp.reply_words`.
    """

    stage: Stage
    code: int
    enhanced: str
    topics: frozenset[str]

    @property
    def passing(self) -> bool:
        """True if the refusal is temporary (4yz)."""
        return self.code < _PERMANENT

    @property
    def opening(self) -> bool:
        """True if no mail has been named yet."""
        return self.stage in {"connect", "login"}

    def about(self, *topics: str) -> bool:
        """True if the text is about one of these topics."""
        return not self.topics.isdisjoint(topics)


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """Row of the table.

    Attributes:
        words: the reply in words, for docs/mail.md.
        fits: tests whether a reply belongs to this row.
        verdict: the verdict on such a reply.
        provider: the only preset to which the row applies; "" for all.
    """

    words: str
    fits: Callable[[ReplyFacts], bool]
    verdict: Verdict
    provider: str = ""


def _account(trouble: Trouble) -> Verdict:
    return Verdict("account", "wait", trouble, keep_connection=False)


def _is_untrusted(it: ReplyFacts) -> bool:
    return it.about("untrusted") and not it.opening and it.code not in _LOGIN_CODES


def _lacks_tls(it: ReplyFacts) -> bool:
    if it.code == _TLS_WANTED or it.enhanced in {"7.10", "7.11"}:
        return True
    return it.about("tls") and not it.about("limit", "connections") and (it.opening or it.code in {454, 530})


def _is_session_over(it: ReplyFacts) -> bool:
    if it.about("session", "errors") or (it.enhanced == "5.3" and not it.opening):
        return True
    return it.about("crowded") and it.code in {_NO_STORAGE, _TOO_LARGE} and not it.about("day")


def _is_day_over(it: ReplyFacts) -> bool:
    if it.enhanced == "1.90" or (it.enhanced == "4.5" and not it.passing):  # 4.4.5 means a busy server
        return True
    return (
        it.about("day")
        and it.about("limit", "quota", "relay_limit")
        and not it.about("mailbox", "size", "receiving")
    )


def _recipient_gets_too_much(it: ReplyFacts) -> bool:
    if it.enhanced in {"2.121", "2.122"}:
        return True
    return it.about("receiving") and not it.about("relay_limit") and not it.opening


def _is_blocked(it: ReplyFacts) -> bool:
    if it.about("mailbox", "recipient", "sender", "content") or _is_of_the_recipient(it):
        return False
    if it.stage == "rcpt" and it.enhanced in _RECIPIENT_POLICY:
        return False
    if it.enhanced in _BLOCKED_DETAILS or it.about("blocked"):
        return True
    if it.about("sender_blocked") and (it.opening or it.stage == "mail"):
        return True  # at a later stage it may be one recipient's own block list
    if not it.about("disabled") or it.about("limit"):
        return False
    return it.stage != "rcpt" or it.enhanced.startswith("7.")  # else it is the recipient's account


def _is_of_the_recipient(it: ReplyFacts) -> bool:
    return it.enhanced.startswith(("1.", "2.")) and it.enhanced not in _SENDER_DETAILS


def _refuses_client(it: ReplyFacts) -> bool:
    subject, _, detail = it.enhanced.partition(".")
    if it.enhanced in _CLIENT_DETAILS or (subject == "7" and int(detail) in _BANNED_ADDRESSES):
        return True
    if it.about("denied") and it.stage == "mail" and not it.about("sender"):
        return True  # Sendmail refuses a client at MAIL
    if it.about("content", "spam", "sender", "recipient", "greylist", "receiving") or _is_of_the_recipient(it):
        return False
    return it.about("client")


def _asks_for_slower(it: ReplyFacts) -> bool:
    subject, _, detail = it.enhanced.partition(".")
    if it.enhanced == "7.508" or (subject == "7" and it.passing and int(detail) in range(500, 700)):
        return True
    if it.about("relay_limit"):
        return True
    if it.about("size", "spam") or it.code == _TOO_LARGE or it.enhanced in _SIZE_DETAILS or _is_mailbox(it):
        return False
    return it.about("limit", "quota")


def _is_mailbox(it: ReplyFacts) -> bool:
    """True if the quota is the recipient's and not the account's."""
    if it.enhanced in {"2.1", "2.2"} or it.about("mailbox"):
        return it.stage == "rcpt" or not it.about("limit")
    return it.stage == "rcpt" and not it.about("limit")


def _wants_login(it: ReplyFacts) -> bool:
    return it.stage != "login" and (it.about("wants_login") or it.code == 530 or it.enhanced == "7.57")  # noqa: PLR2004  SMTP codes


def _refuses_login(it: ReplyFacts) -> bool:
    if it.code in _LOGIN_CODES or it.about("wants_login"):
        return True
    if it.enhanced in _LOGIN_DETAILS:
        return it.stage not in {"data", "dot"}  # Yahoo uses 5.7.9 for a mail that its policy forbids
    return it.enhanced == "7.0" and (it.code == 454 or (it.stage == "mail" and it.code != _CLOSING))  # noqa: PLR2004  SMTP code


def _is_servers_trouble(it: ReplyFacts) -> bool:
    passing = it.passing and it.enhanced.startswith(("3.", "4."))
    return (
        it.code == _CLOSING
        or passing
        or it.enhanced == "3.1"
        or it.about("system")
        or (it.about("storage") and not it.about("mailbox"))
    )


def _is_full_mailbox(it: ReplyFacts) -> bool:
    """True if the mailbox is full; 552 at RCPT is treated as 452 (RFC 5321, 4.5.3.1.10)."""
    if it.enhanced == "2.2":
        return True
    about_mailbox = it.stage == "rcpt" or (it.about("mailbox") and not it.about("size"))
    return it.code == _TOO_LARGE and about_mailbox and it.enhanced not in _SIZE_DETAILS


def _is_greylisting(it: ReplyFacts) -> bool:
    return it.about("greylist") or (it.passing and it.enhanced == "7.1" and not it.about("denied", "sender"))


def _is_of_the_sender(it: ReplyFacts) -> bool:
    """True if the reply is about the sender; at MAIL only the sender's address has been named."""
    if it.stage == "mail" and it.enhanced.startswith("1."):
        return True
    return it.enhanced in _SENDER_DETAILS or it.enhanced.startswith("7.")


def _may_pass(it: ReplyFacts) -> bool:
    """True if the refusal is temporary by its code or by its words."""
    return it.passing or (it.about("later") and not it.enhanced.startswith(("1.", "5.", "6.")))


ROWS: tuple[ReplyRow, ...] = (
    ReplyRow(
        "2yz or 3yz where none is expected",
        lambda it: it.code < _REFUSAL,
        Verdict("connection", "again", "fault", keep_connection=False),
    ),
    ReplyRow(
        "x.2.2 at MAIL: the account's own mailbox is full",
        lambda it: it.enhanced == "2.2" and it.stage == "mail",
        _account("day"),
    ),
    ReplyRow(
        "x.2.2 at DATA or the dot: the same",
        lambda it: it.enhanced == "2.2" and it.stage != "rcpt",
        _account("day"),
        provider="microsoft365",
    ),
    ReplyRow(
        "`not verified`: the account may not send as this sender",
        lambda it: not it.passing and it.about("unverified"),
        Verdict("sender", "dead"),
        provider="ses",
    ),
    ReplyRow(
        "a loop, too many hops, as 5yz",
        lambda it: it.about("loop") and not it.passing and not it.opening,
        Verdict("message", "dead"),
    ),
    ReplyRow("SPF, DKIM or DMARC, as 4yz", lambda it: _is_untrusted(it) and it.passing, Verdict("sender", "wait")),
    ReplyRow("SPF, DKIM or DMARC, as 5yz", _is_untrusted, Verdict("sender", "dead")),
    ReplyRow(
        "TLS is required or not available: 538; x.7.10 x.7.11; 454, 530 and any reply before MAIL about TLS",
        _lacks_tls,
        _account("tls"),
    ),
    ReplyRow(
        "432; too many connections",
        lambda it: it.code == _TOO_MANY or it.about("connections"),
        _account("connections"),
    ),
    ReplyRow(
        "x.4.5 as 5yz; x.1.90; a limit or quota of a day; `SubmissionQuota`",
        _is_day_over,
        _account("day"),
    ),
    ReplyRow("too many logins", lambda it: it.about("login_limit"), _account("login")),
    ReplyRow(
        "x.5.3; too many mails, recipients or errors of one session",
        _is_session_over,
        Verdict("connection", "wait", keep_connection=False),
    ),
    ReplyRow(
        "x.2.121 x.2.122; the recipient gets too many mails",
        _recipient_gets_too_much,
        Verdict("recipient", "wait"),
    ),
    ReplyRow("x.7.28", lambda it: it.enhanced == "7.28", _account("throttle")),
    ReplyRow(
        "relaying refused: x.7.51 x.7.54 x.7.64 x.7.68; `relay access denied`, `relay not permitted`, "
        "`unable to relay`, `rcpthosts` and the like",
        lambda it: it.enhanced in _RELAY_DETAILS or it.about("relay"),
        _account("relay"),
    ),
    ReplyRow(
        "a login is required: 530; x.7.57; `authentication required`, `not authenticated` and the like",
        _wants_login,
        _account("auth"),
    ),
    ReplyRow(
        "the account, its sender or its tenant is blocked: x.7.501 to x.7.503 x.7.705 x.7.750; "
        "`account suspended`, `sending paused`, `bad outbound sender`, `not authorized to send mail` and the like",
        _is_blocked,
        _account("blocked"),
    ),
    ReplyRow(
        "the limit or rate of the account, of no mailbox and no message's size: 4.7.500 to 4.7.699, x.7.508; "
        "`throttl`, `too many messages`, `limit exceeded` and the like",
        _asks_for_slower,
        _account("throttle"),
    ),
    ReplyRow(
        "this machine is refused: x.7.25 x.7.506 x.7.511 x.7.606 to x.7.649 x.7.708; `client host rejected`, "
        "block lists, its address, its name in DNS or in EHLO; `access denied` at MAIL",
        _refuses_client,
        _account("client"),
    ),
    ReplyRow(
        "534, 535; x.7.3 x.7.8 x.7.9 x.7.30 x.7.57 x.7.139 up to RCPT; 454 4.7.0; x.7.0 at MAIL, but 421",
        _refuses_login,
        _account("login"),
    ),
    ReplyRow(
        "any other 5yz at connect: the server refuses this machine",
        lambda it: it.stage == "connect" and not it.passing and it.enhanced not in {"3.1", "3.2"},
        _account("client"),
    ),
    ReplyRow(
        "421; 4.3.x; 4.4.x; no storage, too much load; any other reply at connect",
        lambda it: _is_servers_trouble(it) or it.stage == "connect",
        Verdict("connection", "wait", "fault", keep_connection=False),
    ),
    ReplyRow("anything else at login", lambda it: it.stage == "login", _account("login")),
    ReplyRow(
        "5yz that quotes another server about a block, a limit or a quota (`said:`)",
        lambda it: it.about("elsewhere") and it.stage not in {"connect", "login"} and not it.passing,
        Verdict("recipient", "again"),
    ),
    ReplyRow(
        "a full mailbox: x.2.2; 552 at RCPT, or about storage or a quota, without x.3.4 and x.2.3",
        _is_full_mailbox,
        Verdict("recipient", "again"),
    ),
    ReplyRow(
        "greylisting: 4.7.1, `greylist`",
        _is_greylisting,
        Verdict("recipient", "wait", after=_GREYLIST_WAIT),
    ),
    ReplyRow(
        "any other 4yz at RCPT; 5yz with `later`, not about an address or the mail",
        lambda it: _may_pass(it) and it.stage == "rcpt",
        Verdict("recipient", "again"),
    ),
    ReplyRow(
        "the same at MAIL",
        lambda it: _may_pass(it) and it.stage == "mail",
        Verdict("sender", "again"),
    ),
    ReplyRow("the same elsewhere", _may_pass, Verdict("message", "again")),
    ReplyRow(
        "what a recipient's policy forbids: x.7.2 x.7.13 x.7.120 to x.7.136 x.7.193 x.7.504 x.7.505 x.7.507; "
        "`recipient address rejected`",
        lambda it: it.enhanced in _RECIPIENT_POLICY or (it.about("recipient") and it.enhanced.startswith("7.")),
        Verdict("recipient", "dead"),
    ),
    ReplyRow(
        "5.1.7 5.1.8 5.2.252, 5.1.x at MAIL, and any 5.7.x: the sender is not allowed, or not trusted",
        _is_of_the_sender,
        Verdict("sender", "dead"),
    ),
    ReplyRow(
        "5.1.0 5.1.1 5.1.2 5.1.3 5.1.4 5.1.6 5.1.10 5.2.0 5.2.1 5.4.4",
        lambda it: it.enhanced in _RECIPIENT_DETAILS,
        Verdict("recipient", "dead"),
    ),
    ReplyRow(
        "5.3.x 5.5.x 5.6.x",
        lambda it: it.enhanced.startswith(("3.", "5.", "6.")),
        Verdict("message", "dead"),
    ),
    ReplyRow("any other 5yz at MAIL", lambda it: it.stage == "mail", Verdict("sender", "dead")),
    ReplyRow("any other 5yz at RCPT", lambda it: it.stage == "rcpt", Verdict("recipient", "dead")),
    ReplyRow("any other 5yz", lambda _: True, Verdict("message", "dead")),
)
"""The first row that fits decides."""


def write_table() -> str:
    """Return the rows as the table in docs/mail.md."""
    lines = ["| reply | whose fault | decision | connection |", "|---|---|---|---|"]
    for row in ROWS:
        where = f"{row.words} (`{row.provider}`)" if row.provider else row.words
        lines.append(f"| {where} | {row.verdict.scope} | {_decision(row.verdict)} | {_connection(row.verdict)} |")
    return "\n".join(lines)


def _decision(verdict: Verdict) -> str:
    words = {"again": "again", "wait": "wait, uncharged", "dead": "dead"}[verdict.decision]
    if verdict.after:
        words += f", after {verdict.after // timedelta(minutes=1)} min"
    return words + (f"; account: {verdict.trouble}" if verdict.trouble else "")


def _connection(verdict: Verdict) -> str:
    return "kept" if verdict.keep_connection else "closed"
