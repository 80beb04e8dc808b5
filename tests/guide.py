"""The guide read as a reader reads it: files to save, commands to type, and what they print.

Output is compared without what differs from run to run (numbers, ids, widths of columns, the order of rows). ``…``
stands for text that is left out: within a line, or as a line of its own for any lines.
"""

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)$")
_FILE = re.compile(r"`~/shop/(\w+\.py)`")
_VARYING = (
    (re.compile(r"\bm[as]1\.[0-9a-f]{8}\.[\w-]{43}"), "TOKEN"),
    (re.compile(r"\{(\w+)\}[0-9a-z]{26}"), r"{\1}ID"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,16}\b"), "HEX"),
    (re.compile(r"redis://:[\w-]+@"), "redis://:SECRET@"),
    (re.compile(r"\d+(?:\.\d+)?"), "0"),
    (re.compile(r"\s+"), " "),
)
_STATUS = re.compile(r"\d{3}")


@dataclass(slots=True)
class Step:
    """A command and what the guide says that it prints."""

    command: str
    output: list[str] = field(default_factory=list)

    def agrees(self, printed: str) -> bool:
        """Return True if a command printed what the guide says."""
        left = [normal(line) for line in printed.splitlines()]
        for line in self.output:
            if line.strip() == "…":
                continue
            pattern = re.compile(".*".join(re.escape(part) for part in normal(line).split("…")))
            if (found := next((one for one in left if pattern.fullmatch(one)), None)) is None:
                return False
            left.remove(found)
        return not left or any(line.strip() == "…" for line in self.output)


@dataclass(frozen=True, slots=True)
class Program:
    """A file that the reader saves in the folder of the shop."""

    name: str
    text: str


def normal(line: str) -> str:
    """Return a line of output without what varies; an HTTP status stays as it is."""
    line = line.rstrip()
    if _STATUS.fullmatch(line):
        return line
    line = re.sub(rf"\b{re.escape(socket.gethostname())}\b", "vm", line)
    for pattern, plain in _VARYING:
        line = pattern.sub(plain, line)
    return line


def read_guide(page: Path) -> Iterator[Program | Step]:
    """Yield what the reader does, in order."""
    language, name = "", ""
    block: list[str] = []
    for line in page.read_text(encoding="utf-8").splitlines():
        if (fence := _FENCE.match(line)) and not language:
            language, block = fence[1], []
        elif fence:
            if language == "python":
                yield Program(name, "\n".join(block) + "\n")
            else:
                yield from _steps(block)
            language = ""
        elif language:
            block.append(line)
        elif found := _FILE.findall(line):
            name = found[-1]


def _steps(block: list[str]) -> Iterator[Step]:
    step = None
    for line in block:
        if line.startswith("$ "):
            if step is not None:
                yield step
            step = Step(line.removeprefix("$ "))
        elif step is not None:
            step.output.append(line)
    if step is not None:
        yield step
