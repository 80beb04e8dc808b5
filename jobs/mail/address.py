"""One address, checked as strictly as the mail servers of the world do, and never repaired in silence.

A display name, a list, a comment or a line break in the field is refused: these are the ways in which
user text becomes an SMTP command or a second recipient.
"""

import re
from functools import lru_cache

from email_validator import EmailNotValidError, validate_email

from .errors import InvalidAddress
from .header import refuse_unsafe


def normal_address(value: str, *, field: str) -> str:
    """The address in the form that goes on the wire: domain in lower case, as A-label (RFC 5891).

    Args:
        value: ``local@domain``, nothing else.
        field: what to call it in the error.

    Raises:
        UnsafeHeader: control characters or an encoded-word in it.
        InvalidAddress: not an address, or a local part outside ASCII (SMTPUTF8 is not supported by
            every server on the way, so it is refused here rather than bounced there).

    Example:
        >>> normal_address("ana@EXAMPLE.com", field="to")
        'ana@example.com'
    """
    if not isinstance(value, str):
        raise InvalidAddress(field, f"must be a text of the form name@domain, not {type(value).__name__}")
    refuse_unsafe(value, field=field)
    try:
        return _normal(str.__str__(value))
    except EmailNotValidError as error:
        raise InvalidAddress(field, f"is not a mail address: {_without_address(str(error))}") from None


@lru_cache(maxsize=4096)
def _normal(value: str) -> str:
    """Remembered, because the same colleagues are written to all day and a look costs 60 us."""
    checked = validate_email(
        value, strict=True, allow_smtputf8=False, check_deliverability=False, allow_display_name=False
    )
    return checked.ascii_email or checked.normalized


def _without_address(reason: str) -> str:
    """The validator's words up to where it begins to quote the address, which must not reach a log."""
    return re.split(r" \(|: ", reason, maxsplit=1)[0].rstrip(".")
