"""How the cost of a pattern grows with the length of a text that was written against it.

The texts come out of the pattern itself: up to each repetition without an end, what leads there; then the repeated
piece as many times as wanted, in each of its characters; then something that makes the rest fail.

Costs are processor time of this thread, and only their ratio counts: a text eight times as long costs a linear
pattern eight times as much, a quadratic one sixty-four times, on any machine and under any load.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from re import _constants as sre, _parser as parser  # type: ignore[attr-defined]  # how Python itself reads a pattern
from typing import Any

Use = Callable[[Any], object]
SHORT, TIMES = 1_000, 8
MOST = 24
"""Three times as steep as linear, less than half as steep as quadratic."""
_ENDLESS = 64
_CANDIDATES = "a0 @.-A\"'\\/<>()[]{}:;,=?*+_%#&!~|$^`\t\n\r\f\v\xa0éZz9\x7f"
_TAILS = ("", "\0", "a!")
_ROUNDS = 3


def growth(use: Use, make: Callable[[int], Any], *, short: int = SHORT) -> float:
    """Return how many times more a text eight times as long costs; the least of several rounds.

    The long text costs most of the time, so it is used once at first: chance makes it only dearer, and then it is
    used again.
    """
    once, eight_times = make(short), make(short * TIMES)
    ratio = _cost(use, eight_times, times=1) / _cost(use, once)
    for _ in range(_ROUNDS):
        if ratio < MOST:
            break
        ratio = min(ratio, _cost(use, eight_times) / _cost(use, once))
    return ratio


def hostile_texts(pattern: str, flags: int = 0) -> Iterator[Callable[[int], str]]:
    """Make texts of any length against this pattern."""
    for lead, piece in sorted(set(_pumps(parser.parse(pattern, flags), ""))):
        for tail in _TAILS:
            yield lambda size, lead=lead, piece=piece, tail=tail: lead + _filled(piece, size) + tail
            if lead:
                yield lambda size, lead=lead, piece=piece, tail=tail: _filled(lead + piece, size) + tail


def texts_of(characters: Iterable[str]) -> Iterator[Callable[[int], str]]:
    """Make texts of any length out of each of these pieces, for patterns that cannot be read here."""
    for piece in characters:
        for tail in _TAILS:
            yield lambda size, piece=piece, tail=tail: _filled(piece, size) + tail


def _filled(piece: str, size: int) -> str:
    return piece * (size // len(piece))


def _cost(use: Use, text: Any, times: int = 3) -> int:
    costs = []
    for _ in range(times):
        begun = time.thread_time_ns()
        use(text)
        costs.append(time.thread_time_ns() - begun)
    return min(costs) or 1


def _pumps(tree: Any, lead: str) -> Iterator[tuple[str, str]]:
    """Each endless repetition, with what leads to it."""
    for node in tree:
        operation, value = node
        if operation in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            _, most, body = value
            if most > _ENDLESS:
                yield from ((lead, piece) for piece in _samples(body) if piece)
            yield from _pumps(body, lead)
        for inner in _inner(operation, value):
            yield from _pumps(inner, lead)
        lead += next(iter(_samples([node])), "")


def _inner(operation: Any, value: Any) -> list[Any]:
    if operation is sre.SUBPATTERN:
        return [value[3]]
    if operation is sre.BRANCH:
        return list(value[1])
    if operation is sre.ATOMIC_GROUP:
        return [value]
    return []


def _samples(tree: Any) -> list[str]:
    """Texts that the nodes match: of a class several characters, of all else one."""
    found = [""]
    for operation, value in tree:
        choices = _choices(operation, value) or [""]
        found = [text + one for text in found[:4] for one in choices[: 4 if len(found) == 1 else 1]]
    return found


def _choices(operation: Any, value: Any) -> list[str]:
    if operation is sre.LITERAL:
        return [chr(value)]
    if operation is sre.ANY:
        return ["a", " ", "@"]
    if operation is sre.NOT_LITERAL:
        return [one for one in _CANDIDATES if ord(one) != value]
    if operation is sre.IN:
        return [one for one in _CANDIDATES if _is_in(one, value)] or [chr(_first(value))]
    if operation in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        return [one * max(1, value[0]) for one in _samples(value[2])] if value[0] else [""]
    inner = _inner(operation, value)
    return [one for tree in inner for one in _samples(tree)]


def _is_in(character: str, members: Any) -> bool:
    negated = bool(members) and members[0][0] is sre.NEGATE
    return negated != any(_fits(character, *one) for one in members if one[0] is not sre.NEGATE)


def _fits(character: str, operation: Any, value: Any) -> bool:
    if operation is sre.LITERAL:
        return ord(character) == value
    if operation is sre.RANGE:
        return bool(value[0] <= ord(character) <= value[1])
    escapes = {
        "DIGIT": r"\d",
        "SPACE": r"\s",
        "WORD": r"\w",
        "NOT_DIGIT": r"\D",
        "NOT_SPACE": r"\S",
        "NOT_WORD": r"\W",
    }
    return re.match(escapes[str(value).removeprefix("CATEGORY_")], character) is not None


def _first(members: Any) -> int:
    operation, value = next(one for one in members if one[0] is not sre.NEGATE)
    return int(value if operation is sre.LITERAL else value[0])
