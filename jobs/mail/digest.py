"""Digests: mails sent under one collapse key within a window become a single mail.

The backend renders all items with each one that joins (`producers/digest.py`). So a whole frozen mail waits at any
moment: the worker knows nothing of digests, and a changed or removed template changes nothing.

Items of different recipients never meet: the key includes recipient, sender, language and all but the values.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from .errors import InvalidPart
from .message import Mail
from .values import json_values, plain_values

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=7)
"""The shortest and the longest window."""
_KEY_LIMIT = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """A mail that may be combined with others under the same key: pass it to ``producer.send_digest``.

    Dates and decimals among its values reach the templates as texts.

    Attributes:
        mail: sent if no other comes; made from a template, and its values are the item.
        template: makes the mail of two or more; its one value is ``items``, a list of the items in their order.
        collapse: the key that groups items, for one recipient.
        window: time from the first item until the mail is sent.

    Example:
        >>> one = Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"})
        >>> digest = Digest(mail=one, template="tasks_assigned", collapse="tasks:7", window=timedelta(seconds=120))
        >>> digest.gathered([digest.item(), digest.item()]).template
        'tasks_assigned'
    """

    mail: Mail
    template: str
    collapse: str
    window: timedelta = timedelta(minutes=2)

    @property
    def kind(self) -> str:
        """Kind of the job: a digest is queued as the mail that it is."""
        return self.mail.kind

    @property
    def lane(self) -> str:
        """Lane of the mail."""
        return self.mail.lane

    def fingerprint(self) -> str:
        """Return a hash that is equal for requests with the same item."""
        return _digest(self.collapse_key(), self.mail.fingerprint())

    def collapse_key(self) -> str:
        """Return the hash of what the items of one mail share: the key and the mail except its values."""
        return _digest(self.collapse, self.template, replace(self.mail, values={}).fingerprint())

    def item(self) -> Mapping[str, object]:
        """Return the item's values. Renders both templates, so that the sender learns of a fault.

        Raises:
            MailError: the key, the window, the template or a value is invalid.
        """
        self._check()
        values = json_values(plain_values(self.mail.values))
        self.gathered([values, values]).parts()
        return values

    def gathered(self, items: Sequence[Mapping[str, object]]) -> Mail:
        """Return the mail for these items."""
        if len(items) == 1:
            return replace(self.mail, values=items[0])
        return replace(self.mail, template=self.template, values={"items": list(items)})

    def _check(self) -> None:
        if self.mail.template is None:
            raise InvalidPart("template", "is missing; only a mail made from a template can be part of a digest")
        if not isinstance(self.collapse, str) or not 0 < len(self.collapse) <= _KEY_LIMIT:
            raise InvalidPart("collapse", f"must be a string of 1 to {_KEY_LIMIT} characters, for example tasks:7")
        if not isinstance(self.window, timedelta) or not SHORTEST <= self.window <= LONGEST:
            raise InvalidPart(
                "window", f"must be a timedelta from 1 s to {LONGEST.days} days, not {self.window!r}"
            )


def _digest(*texts: object) -> str:
    return hashlib.sha256("\0".join(map(str, texts)).encode("utf-8", "surrogatepass")).hexdigest()
