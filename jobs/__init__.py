"""Job requests: payloads, their policies and report definitions. Pure data and decisions, no I/O.

This folder is a leaf: it imports nothing of this project outside itself, and itself only relatively, so that
it can be shipped alone in the client wheel.

Example:
    >>> from jobs import Mail
    >>> mail = Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"})
    >>> mail.lane
    'mail.normal'
"""

from .decisions import GiveUp as GiveUp, Park as Park, TryLater as TryLater
from .errors import JobError as JobError
from .fields import InvalidJob as InvalidJob
from .handles import handles as handles
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
from .mail.message import Mail as Mail
from .mail.templates import Templates as Templates
from .policy import Policy as Policy
from .refresh import RefreshReport as RefreshReport
from .run import Run as Run
from .schedule import Schedule as Schedule
