"""Facts of a mail that are in its ledger row but not in its entry for Redis. No I/O."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..suppression import digest_of

_MAIL = "mail.send"
"""The kind whose payload has recipients."""


def recipients_of(kind: str, content: Mapping[str, Any]) -> str:
    """Return the digests of a mail's recipients, without repeats and with commas; no other kind has any.

    Args:
        content: the payload before it is sealed.
    """
    return ",".join(dict.fromkeys(map(digest_of, _addresses(content)))) if kind == _MAIL else ""


def template_of(message: object) -> str:
    """Return the name of a mail's template, or empty."""
    template = getattr(message, "template", None)
    return template if isinstance(template, str) else ""


def _addresses(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield all recipients of a mail: a text, or a list of texts and of objects with an address."""
    for name in ("to", "cc", "bcc"):
        found = content.get(name) or ()
        for one in [found] if isinstance(found, str) else found:
            yield one if isinstance(one, str) else one["address"]
