"""Table of the words in reply texts that tell what a code alone does not; it maps a text to a set of topics.

Enhanced codes are few, and servers disagree about them: 5.7.1 is a refused relay, a listed address, spam, or a
group that accepts no mail from outside. A few words tell them apart. The table is collected from the sources of
Postfix, Exim, Sendmail, OpenSMTPD, qmail and Haraka, and from the documentation of Google, Microsoft, Amazon,
Yahoo, Apple, Twilio, Mailgun, Zoho, OVH, GMX and cPanel; ``tests/replies.txt`` holds such replies.

A phrase is a row of words; ``a|b`` matches either, ``..`` up to four more words. Words that are in no
phrase are skipped, and so are parts of an address, a host name or a link. The rest of a reply, its `essence`, is
short, contains nothing of the mail, and is the same for all replies of one kind; so its meaning can be cached
(`worker.mail.smtp.reply`), and phrases are rarely searched.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

_CONSIDERED: Final = 1000
"""Characters of a reply that count; servers state their reason in the first few hundred."""
_REFUSED = "denied|refused|rejected|prohibited|disallowed|forbidden"
_ALLOWED = "permitted|allowed|authorized|authorised|accepted|enabled"
_MANY = "many|much|fast|quickly|frequent|frequently|often"
_MAILS = "mail|mails|email|emails|e-mail|e-mails|messages|recipients"
_BLOCKED = "blocked|suspended|disabled|locked|paused|deactivated|terminated|restricted|banned"
_CLIENT = "host|ip|client|server|network"
_UNITS = "second|seconds|sec|secs|s|minute|minutes|min|mins|m|hour|hours|hrs|hr|h|day|days"

PHRASES: Final[Mapping[str, tuple[str, ...]]] = {
    "quoted": ("said",),
    "loop": ("loop|loops|looping", "many hops", "many received headers", "hop count"),
    "untrusted": (
        "spf|dkim|dmarc",
        f"unauthenticated {_MAILS}|sender|senders",
        f"{_MAILS}|domain|sender is unauthenticated",
        "authentication level|checks|results|policy|policies",
        f"{_MAILS}|domain|sender authentication",
    ),
    "tls": ("tls|starttls|ssl", "encryption required|needed"),
    "connections": (
        f"too {_MANY} .. connections|connects",
        "concurrent|simultaneous|parallel|maximum|max|quota .. connections",
        "connection|connections .. limit|exceeded",
        "thread limit",
    ),
    "session": (
        f"too many {_MAILS}|transactions per|in|on|this connection|session",
        f"too many {_MAILS}|transactions per|in|on this|one|a|same connection|session",
        f"{_MAILS}|transactions per connection|session",
        "too many messages sent",
    ),
    "errors": ("too many .. errors|commands", "too many invalid|unknown|bad recipients"),
    "crowded": ("too many recipients",),
    "login_limit": ("too many .. login|logins|auth|authentication|authentications",),
    "wants_login": (
        "auth|authentication required|needed|first",
        "auth|authentication is required|needed",
        "must|please|need .. authenticate|authenticated|auth|login|log",
        "requires auth|authentication",
        "not|isn't|wasn't authenticated",
        "authenticate|login first|before",
        "without .. auth|authentication",
        "not logged in",
        "auth command required|needed|first",
    ),
    "relay_limit": ("relay|relaying .. limit|limits",),
    "relay": (
        f"relay|relaying {_REFUSED}",
        f"relay|relaying access|temporarily|is|mail|attempt|attempts {_REFUSED}",
        f"relay|relaying not {_ALLOWED}",
        f"relay|relaying access|mail|is|to|for|through .. not {_ALLOWED}",
        f"relay|relaying {_ALLOWED} not",
        f"not {_ALLOWED} to relay",
        "unable|refused|refuse|refuses|cannot|can't .. relay|relaying",
        "unauthorized|unauthorised|illegal|invalid|no|not .. relay|relaying",
        "will|does|do not relay|relaying",
        "will|don't|doesn't relay|relaying",
        "authenticate to relay",
        "rcpthosts",
        "non-accepted domain",
        "not local domain",
        "tenantattribution|tenantinboundattribution",
    ),
    "disabled": (
        f"account|user|domain|subscription|smtp .. {_BLOCKED}",
        f"{_BLOCKED} account|user",
        f"account|user|domain|subscription .. not .. approved|activated|{_ALLOWED}",
    ),
    "sender_blocked": (f"sender .. {_BLOCKED}", f"{_BLOCKED} sender|senders"),
    "blocked": (
        f"your account|domain|tenant .. {_BLOCKED}",
        f"tenant .. {_BLOCKED}",
        f"domain not {_ALLOWED} to send",
        f"domain is not {_ALLOWED} to send",
        f"{_BLOCKED} tenant",
        "account .. pending approval",
        "tenant has exceeded",
        f"sending .. {_BLOCKED}",
        f"not {_ALLOWED} to send {_MAILS}|message",
        "bad outbound sender",
        "credits exceeded",
        "compromised",
        "spam abuse",
        "outbound spam",
        "unregistered domain|domains",
        "activate your",
    ),
    "content": (
        "url|urls|uribl|surbl|dbl|link|links|virus|malware|phishing|attachment|attachments|content",
        "header|headers",
    ),
    "spam": (
        "as spam",
        "considered|likely|probably|possible spam",
        "spam content|message|mail|score",
        "spamassassin",
        "score .. exceeded|exceeds|exceed|limit|threshold|maximum",
    ),
    "client": (
        f"client host {_REFUSED}|blocked",
        f"helo|ehlo {_REFUSED}",
        f"helo|ehlo command {_REFUSED}",
        "bad|invalid|bogus helo|ehlo",
        f"{_CLIENT} .. blocked|banned|listed|blocklisted|blacklisted|blacklist|blocklist",
        "blocked|rejected using",
        f"{_CLIENT}|address .. rejected by|at",
        f"from your|this {_CLIENT}",
        "listed by|at|in|on",
        "block|black list",
        "blocklist|blacklist|block-list|black-list|blacklisted|blocklisted",
        "spamhaus|dnsbl|rbl|dnsrbl|barracuda|spamcop",
        "banned ip|sending",
        "your|from|this|sending|client|originating|that ip",
        "reverse dns|hostname|lookup",
        "ptr|rdns|fcrdns",
        "cannot find your hostname",
        "ip name lookup|possibly failed|forged",
        "forged hostname",
        f"connection|connections from .. {_REFUSED}",
        f"your connection|connections .. {_REFUSED}",
        "connection|connections .. not .. accepted",
        "not accepting connections",
        "no smtp service",
        "all messages from",
        "messages from weren't|permanently",
    ),
    "receiving": (
        f"receiving {_MAILS}|mail too|rate|at",
        "recipient has exceeded",
        "recipient's|recipient|mailbox hourly|rate limit|limits|exceeded",
        "recipient|mailbox|user has received too",
        f"too {_MANY} .. for|to this|that|same|the recipient|mailbox|user",
        "messages to deferred",
    ),
    "mailbox": (
        "mailbox|inbox|storage|over-quota|overquota",
        "over quota|storage",
        "user is over|full",
        "user over|full",
        "disk quota",
    ),
    "size": (
        "size|large|big|length",
        "too long",
        "attachments|headers|header .. exceeds|exceed|exceeded|maximum|limit",
    ),
    "day": (
        "daily|submissionquotaexceededexception|submissionquotaexceeded|submissionquota|today",
        "per|a|one day",
        "24 hours|hrs|h",
        "24h|24hrs|24-hour",
    ),
    "quota": ("quota",),
    "limit": (
        "throttling|throttled|throttle|ratelimit|rate-limit|ratelimited|submissionquotaexceededexception|submissionquotaexceeded|submissionquota",
        "rate|sending|hourly|message|messages|volume|outgoing limit|limits|limited",
        "limit|limits|maximum|rate|allowance .. exceeded|reached|hit",
        f"{_MAILS} .. exceeded|reached",
        f"exceeded|exceeds|exceed|exceeding|reached .. limit|limits|rate|maximum|max|allowance|threshold|{_MAILS}",
        f"too {_MANY} {_MAILS}|requests|transactions|sessions|sends",
        f"too {_MANY} .. {_MAILS}|requests|transactions|sessions|sends",
        "sending .. too fast|quickly|often",
        "too fast|quickly|frequent|frequently|often",
        "unusual|unexpected|excessive|suspicious .. rate|volume|amount|activity",
        "slow down",
        "high volume",
        "messages temporarily deferred",
    ),
    "system": ("system storage|space|resources",),
    "storage": (
        "insufficient|enough|low|no .. storage|space|resources",
        "space shortage",
        "disk full",
        "too much|high|busy load",
        "load too high",
        "resources temporarily",
    ),
    "greylist": (
        "greylist|greylisted|greylisting|graylist|graylisted|graylisting|grey-listed|grey-listing|gray-listed",
        "grey|gray listed|listing|list",
    ),
    "denied": ("access denied",),
    "later": (
        "later|temporarily|temporary",
        "again|retry|wait|back .. in|after|later|for",
        "after sometime",
        "after some time",
    ),
    "unverified": ("address|addresses|identities is|are|not .. verified",),
    "recipient": (
        "recipient address rejected",
        "recipient|group|mailbox|list .. restricted",
        f"recipient's|recipients|user's|addressee's .. account|policy|policies|filter|{_BLOCKED}",
        "recipient's|recipients|user's|addressee's .. block|blocklist|blacklist|block-list|black-list|list",
        "rejected|blocked by recipient|recipient's|user|user's",
    ),
    "sender": ("sender address rejected", "send as", "not owned by", "sendasdenied"),
    "asks": (_UNITS, "retry-after"),
}
"""Phrases by topic; ``tests/unit/test_reply_words.py`` has a reply for each."""


def _pattern(phrases: Iterable[str]) -> str:
    alternatives = []
    for phrase in phrases:
        parts = [
            r"(?:\S+ ){0,4}?" if word == ".." else f"(?:{re.escape(word).replace(chr(92) + '|', '|')}) "
            for word in phrase.split()
        ]
        alternatives.append("".join(parts))
    return " (?:" + "|".join(alternatives) + ")"


_PATTERNS: Final = {_pattern(phrases): topic for topic, phrases in PHRASES.items()}
_WORDS: Final = {
    word
    for phrases in PHRASES.values()
    for phrase in phrases
    for word in re.split(r"[ |]", phrase)
    if word != ".."
}
_KNOWN: Final = {(word + end).encode(): word for word in _WORDS for end in ("", ".")}
_LETTERS: Final = bytes(
    ord(" ") if chr(octet) in '<>()[]{}",:;!' else ord(chr(octet).lower()) if octet < 128 else ord("?")  # noqa: PLR2004  ASCII
    for octet in range(256)
)


def essence(text: str) -> tuple[str, ...]:
    r"""Keep the known words of a reply, in their order.

    >>> essence("5.7.1 <relay@example.com>: Relay access\n5.7.1 DENIED; see https://example.com/quota")
    ('relay', 'access', 'denied')
    """
    words = text[:_CONSIDERED].encode("utf-8", "replace").translate(_LETTERS).split()
    return tuple([_KNOWN[word] for word in words if word in _KNOWN])


def find_topics(words: Iterable[str]) -> frozenset[str]:
    """Find the topics of a reply with these known words."""
    row = f" {' '.join(words)} "
    return frozenset(topic for pattern, topic in _PATTERNS.items() if re.search(pattern, row))
