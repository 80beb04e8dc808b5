"""Refusals of a mail. Each names the field; none repeats an address or a text, so each may be logged."""

from ..errors import JobError


class MailError(JobError):
    """A mail that cannot be composed; nothing was queued."""


class InvalidAddress(MailError):
    """An address that no mail server would accept."""


class UnsafeHeader(MailError):
    """A text for a header contains control characters or an encoded-word (CVE-2024-6923)."""


class UnknownTemplate(MailError):
    """No template of that name, or not in that language."""


class BrokenTemplate(MailError):
    """A fault of the template itself: its files do not parse, or a required part is missing."""


class MissingValue(MailError):
    """The template needs a value that was not given."""


class InvalidPart(MailError):
    """Parts that do not fit together, or a part that is not text."""


class EmptyBody(MailError):
    """Neither text nor HTML has any visible content."""


class InvalidAttachment(MailError):
    """An attachment whose name, type, content or reference cannot be sent."""


class BodyTooLarge(MailError):
    """The mail exceeds a size limit: a part, an attachment or the whole mail."""


class LostStyle(UserWarning):
    """A style of a template that many mail programs will not show; kept where possible."""

    def __init__(self, template: str, locale: str, note: str) -> None:
        super().__init__(f"template {template!r} in {locale!r}: {note}")
        self.template = template


class UnusedImage(UserWarning):
    """An attachment with a ``cid`` that the HTML does not show. The mail is still composed."""


class UnusedValue(UserWarning):
    """A value that no part of the template names; probably misspelt. The mail is still composed."""
