"""Why a mail was refused. Each names the field; none repeats an address or a text, so each may be logged."""

from ..errors import JobError


class MailError(JobError):
    """A mail that cannot be composed; nothing was queued."""


class InvalidAddress(MailError):
    """An address that no mail server would take."""


class UnsafeHeader(MailError):
    """Text bound for a header that holds control characters or an encoded-word (CVE-2024-6923)."""


class UnknownTemplate(MailError):
    """No template of that name, or not in that language."""


class MissingValue(MailError):
    """The template needs a value that was not given."""


class InvalidPart(MailError):
    """Parts that do not fit together, or text that is not text."""


class EmptyBody(MailError):
    """Neither text nor HTML has anything to read in it."""


class BodyTooLarge(MailError):
    """Subject, text and HTML together are over the limit."""
