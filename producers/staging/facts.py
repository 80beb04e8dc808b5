"""Facts of a job that its row in the ledger has, and its entry for Redis has not. No I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..send_options import SendTimes
from ..suppression import digest_of

_MAIL = "mail.send"
"""The kind whose payload has recipients."""


@dataclass(frozen=True, slots=True)
class StagingFacts:
    """Facts of a job that its entry for Redis does not have.

    Attributes:
        kind, lane: those of the message.
        times: times of the call, by this machine's clock.
        recipients: digests of a mail's recipients, without repeats.
        template: name of the mail's template, or empty.
    """

    kind: str
    lane: str
    times: SendTimes
    recipients: tuple[str, ...] = field(default=(), repr=False)
    template: str = ""


def staging_facts(message: Any, content: Mapping[str, object], times: SendTimes) -> StagingFacts:  # noqa: ANN401  a Message, which may have more
    """Return the facts of a message.

    Args:
        content: its payload before it is sealed; only digests of its addresses are kept.
    """
    recipients = tuple(dict.fromkeys(map(digest_of, _addresses(content)))) if message.kind == _MAIL else ()
    template = getattr(message, "template", None)
    return StagingFacts(
        message.kind, message.lane, times, recipients, template if isinstance(template, str) else ""
    )


def _addresses(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield all recipients of a mail: a text, or a list of texts and of objects with an address."""
    for name in ("to", "cc", "bcc"):
        found = content.get(name) or ()
        for one in [found] if isinstance(found, str) else found:
            yield one if isinstance(one, str) else one["address"]
