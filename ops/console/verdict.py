"""Verdict at the top of the overview, from the findings of `depth` and `doctor` about the queue. Pure.

bad     something is wrong (what makes `depth` end with 1), or jobs are dead
waits   something needs review
good    neither
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ops.depth.read import Depth
from ops.doctor.checks_queue import judge_depth, wrong_in_queue
from ops.doctor.finding import DoctorFinding
from ops.doctor.texts import cause_text, remedy_text
from ops.language import Language

Colour = Literal["bad", "waits", "good"]
_ALSO_BAD = "lane.dead"
_TOLD_ELSEWHERE = frozenset({"jobs.unaccounted", "redis.data_lost", "mail.doubt"})
"""Findings for which the overview has a longer line of its own."""


@dataclass(frozen=True, slots=True)
class VerdictLine:
    """One finding, for operators."""

    colour: Colour
    where: str
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class QueueVerdict:
    """The colour of the banner, and its lines, the worst first."""

    colour: Colour
    lines: Sequence[VerdictLine]


def judge_queue(depth: Depth, language: Language) -> QueueVerdict:
    """Return the verdict about the queue, in this language."""
    wrong = wrong_in_queue(depth)
    found = [one for one in judge_depth(depth) if one.severity != "fine"]
    colours = {_colour(one, wrong) for one in found}
    lines = [_line(one, wrong, language) for one in found if one.code not in _TOLD_ELSEWHERE]
    colour: Colour = "bad" if "bad" in colours else "waits" if colours else "good"
    return QueueVerdict(colour, sorted(lines, key=lambda line: line.colour != "bad"))


def _colour(finding: DoctorFinding, wrong: Sequence[DoctorFinding]) -> Colour:
    return "bad" if finding in wrong or finding.code == _ALSO_BAD else "waits"


def _line(finding: DoctorFinding, wrong: Sequence[DoctorFinding], language: Language) -> VerdictLine:
    return VerdictLine(
        _colour(finding, wrong),
        finding.where,
        cause_text(finding, language),
        remedy_text(finding, language),
    )
