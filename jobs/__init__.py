"""Job requests: payloads, their policies and report definitions. Pure data and decisions, no I/O.

This folder is a leaf: it imports nothing of this project outside itself, and itself only relatively, so that
it can be shipped alone in the client wheel. Names are loaded at first use: a backend that sends jobs of its own
loads nothing of mails.

Example:
    >>> from jobs import Mail
    >>> mail = Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"})
    >>> mail.lane
    'mail.normal'
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .decisions import GiveUp as GiveUp, Park as Park, TryLater as TryLater
    from .errors import JobError as JobError
    from .fields import InvalidJob as InvalidJob
    from .handler import handles as handles
    from .job import Job as Job, NamedJob as NamedJob
    from .lanes import LANES as LANES
    from .mail.attachment import Attachment as Attachment
    from .mail.digest import Digest as Digest
    from .mail.errors import (
        BodyTooLarge as BodyTooLarge,
        BrokenTemplate as BrokenTemplate,
        EmptyBody as EmptyBody,
        InvalidAddress as InvalidAddress,
        InvalidAttachment as InvalidAttachment,
        InvalidPart as InvalidPart,
        LostStyle as LostStyle,
        MailError as MailError,
        MissingValue as MissingValue,
        UnknownTemplate as UnknownTemplate,
        UnsafeHeader as UnsafeHeader,
        UnusedImage as UnusedImage,
        UnusedValue as UnusedValue,
    )
    from .mail.libraries import load_mail_libraries as load_mail_libraries
    from .mail.message import Mail as Mail
    from .mail.templates import Templates as Templates
    from .policy import Policy as Policy
    from .refresh import RefreshReport as RefreshReport
    from .run import Run as Run
    from .schedule import Schedule as Schedule

_HOMES = {
    "Attachment": "mail.attachment",
    "BodyTooLarge": "mail.errors",
    "BrokenTemplate": "mail.errors",
    "Digest": "mail.digest",
    "EmptyBody": "mail.errors",
    "GiveUp": "decisions",
    "InvalidAddress": "mail.errors",
    "InvalidAttachment": "mail.errors",
    "InvalidJob": "fields",
    "InvalidPart": "mail.errors",
    "Job": "job",
    "JobError": "errors",
    "LANES": "lanes",
    "LostStyle": "mail.errors",
    "Mail": "mail.message",
    "MailError": "mail.errors",
    "MissingValue": "mail.errors",
    "NamedJob": "job",
    "Park": "decisions",
    "Policy": "policy",
    "RefreshReport": "refresh",
    "Run": "run",
    "Schedule": "schedule",
    "Templates": "mail.templates",
    "TryLater": "decisions",
    "UnknownTemplate": "mail.errors",
    "UnsafeHeader": "mail.errors",
    "UnusedImage": "mail.errors",
    "UnusedValue": "mail.errors",
    "handles": "handler",
    "load_mail_libraries": "mail.libraries",
}


def __getattr__(name: str) -> object:
    """Return a public name from the module that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
