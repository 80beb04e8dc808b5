"""The corpus of real replies, ``replies.txt``."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast, get_args

from worker.mail.smtp.verdict import Refusal, Stage, Verdict


@dataclass(frozen=True, slots=True)
class Said:
    """A reply, who says so, and the verdict in words."""

    source: str
    reply: Refusal
    verdict: str


def in_words(verdict: Verdict) -> str:
    """Scope, decision, trouble and pause."""
    pause = f"{verdict.after // timedelta(seconds=1)}s" if verdict.after else ""
    return " ".join(filter(None, (verdict.scope, verdict.decision, verdict.trouble, pause)))


def replies() -> list[Said]:
    """All of them."""
    return list(_read((Path(__file__).parent / "replies.txt").read_text(encoding="utf-8")))


def _read(text: str) -> Iterator[Said]:
    for line in text.splitlines():
        if line and not line.startswith("#"):
            source, stage, said, verdict = line.split(" | ")
            assert stage in get_args(Stage)
            code, _, words = said.partition(" ")
            yield Said(source, Refusal(cast("Stage", stage), int(code), words.replace(" \\n ", "\n")), verdict)
