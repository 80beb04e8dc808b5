"""Check of the mail templates at a worker's start, which logs styles that mail programs will not show.

The worker itself needs no templates, because mails arrive rendered. So a finding is logged and never stops the
start.
"""

import warnings
from pathlib import Path

from jobs import LostStyle, MailError, Templates
from worker.events import emit, event

_UNUSABLE = event("mail.templates_unusable")
_STYLE_LOST = event("mail.style_lost")


def log_template_notes(folder: Path) -> None:
    """Log each style that many mail programs will not show, or that the folder cannot be used."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            Templates(folder)
        except MailError as refusal:
            emit(_UNUSABLE, error=str(refusal))
    for one in warned:
        if isinstance(one.message, LostStyle):
            emit(_STYLE_LOST, template=one.message.template, note=str(one.message))
