"""What a producer can send: anything of this shape. ``jobs.Mail`` is one; a backend may write its own."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol


class Message(Protocol):
    """A request for work. Attributes are read-only; frozen dataclasses fit."""

    @property
    def kind(self) -> str:
        """The permanent wire name, ``noun.verb``; never reused for something else."""

    @property
    def lane(self) -> str:
        """The lane it waits in, for example ``mail.normal``."""

    def fingerprint(self) -> str:
        """What makes two requests the same; compared when a key is used again."""

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        """The payload: JSON-native values only. Raises ValueError's kin when it cannot be asked for."""
