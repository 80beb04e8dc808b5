"""Durations of the stages of this process's mails, and the refusals of its mail servers."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from metrics.histogram import QUICK, Histogram
from worker.mail.smtp.reply import Refusal

_BOUNDS: Final = (*QUICK, 30.0, 120.0, 600.0)

STAGE_TIMES: Final[Mapping[str, Histogram]] = {
    stage: Histogram(_BOUNDS) for stage in ("open", "envelope", "mark", "dot")
}
"""Durations by stage; only of stages that succeeded, except for the dot, which counts any reply."""
REFUSALS: Final = Counter[tuple[str, int]]()
"""Refusals by stage and reply code."""


def count_refusal(refusal: Refusal) -> None:
    """Count a refusal; a code outside of the SMTP range counts as 0."""
    REFUSALS[refusal.stage, refusal.code if 400 <= refusal.code <= 599 else 0] += 1  # noqa: PLR2004  4yz and 5yz
