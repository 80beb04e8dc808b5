"""Splitting of a style sheet: rules that fit into ``style`` attributes, and rules that need a ``<style>``.

    plain   selectors by an element's fixed properties; nested rules are written out, repeated declarations of one
            property (a colour, then a gradient for programs that know it) are both kept
    kept    states and parts of elements (``:hover``, ``::before``), selectors that the inliner does not know
            (``:is()``), at-rules. A kept rule gets ``!important``, or the ``style`` attribute would override it

CSS is read as mail templates have it, in time proportional to its length, and never refused: ``notes`` list the
parts that most mail programs will not show.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

_QUOTED = r'"(?:[^"\\]|\\(?:.|\Z))*(?:"|\Z)|' + r"'(?:[^'\\]|\\(?:.|\Z))*(?:'|\Z)"
_COMMENT = re.compile(rf"{_QUOTED}|/\*.*?(?:\*/|\Z)|<!--|-->", re.DOTALL)
_SIGN = re.compile(rf"{_QUOTED}|\\.|[][(){{}};,]", re.DOTALL)
_PSEUDO = re.compile(rf"{_QUOTED}|\[[^][]*|\\.|:([a-z-]+)", re.DOTALL)

_INLINED = frozenset(
    """empty first-child first-of-type last-child last-of-type link not nth-child nth-last-child nth-last-of-type
    nth-of-type only-child only-of-type root""".split()  # noqa: SIM905  a list to read
)
"""Pseudo-classes that cannot change while a mail is read."""
_STATES = frozenset(
    """active after any-link before checked first-letter first-line focus focus-visible focus-within hover
    placeholder selection target visited""".split()  # noqa: SIM905  a list to read
)
"""Pseudo-classes that only a ``<style>`` can express, so they need no note."""
_KNOWN = _INLINED | _STATES
_NTH_OF = re.compile(r":nth-[a-z-]+\([^()]*\sof\s", re.IGNORECASE)
"""``:nth-child(2 of .x)``, which the inliner does not know."""
_AT_RULES = frozenset({"charset", "font-face", "keyframes", "media", "namespace", "page", "supports"})
"""At-rules that many mail programs know."""
_DEEPEST, _MOST_SELECTORS = 8, 256
"""Deepest nesting and most selectors that are written out; beyond that, rules stay nested."""
_FALLBACK = "x-fallback-{number}-{property}"
_FALLBACK_NAME = re.compile(r"x-fallback-\d+-(.*)", re.DOTALL)

Item = tuple[str, str | None]
"""A rule with its block, or a declaration or statement without one."""


@dataclass(slots=True)
class StyleSheet:
    """The two halves of a style sheet, with notes on what many mail programs ignore."""

    plain: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


_KEPT = 16 * 1024
"""Characters of the longest style sheet that is cached: 256 of them are a few MiB at most."""


def split_sheet(css: str) -> StyleSheet:
    """Split a style sheet; cached, since a template has the same one in each of its mails.

    Example:
        >>> sheet = split_sheet("a, a:hover { color: red }")
        >>> sheet.plain, sheet.kept
        (['a { color: red }'], ['a:hover { color: red !important }'])
    """
    return _remembered(css) if len(css) <= _KEPT else _split(css)


@lru_cache(maxsize=256)
def _remembered(css: str) -> StyleSheet:
    return _split(css)


def _split(css: str) -> StyleSheet:
    sheet = StyleSheet()
    text = _COMMENT.sub(lambda found: found[0] if found[0][0] in "\"'" else " ", css)
    for prelude, block in split_items(text):
        if prelude.startswith("@"):
            _at_rule(sheet, prelude, block)
        elif block is None:
            sheet.notes.append(
                f"{_short(prelude)}: is not a rule and is left out; a selector needs a block in braces"
            )
        else:
            _rule(sheet, _parts(prelude), block)
    signs = [sign[0] for sign in _SIGN.finditer(text)]
    if signs.count("{") != signs.count("}"):
        sheet.notes.append("braces: { and } differ in number; add or remove one")
    return sheet


def split_items(text: str) -> Iterator[Item]:
    """Yield the rules of a sheet, or the declarations and nested rules of a block, in their order."""
    depth, start, body = 0, 0, -1
    for sign in _SIGN.finditer(text):
        character = sign[0]
        if character in "{([":
            body = sign.end() if character == "{" and not depth else body
            depth += 1
        elif character in "})]":
            depth = max(0, depth - 1)
        if character in "};" and not depth:
            yield from _item(text[start : sign.start()], body - start)
            start, body = sign.end(), -1
    yield from _item(text[start:], body - start)


def _item(text: str, body: int) -> Iterator[Item]:
    """Split a rule at its block, which begins at ``body``; a declaration has none."""
    if body > 0:
        yield text[: body - 1].strip(), text[body:].strip()
    elif text.strip():
        yield text.strip(), None


def with_fallbacks(style: str) -> str:
    """Order the declarations of a ``style`` attribute: those for older programs before the last one."""
    fallbacks: dict[str, list[str]] = {}
    others: list[str] = []
    for declaration, _ in split_items(style):
        if found := _FALLBACK_NAME.match(declaration):
            fallbacks.setdefault(_property(found[1]), []).append(found[1])
        else:
            others.append(declaration)
    ordered = [one for other in others for one in (*fallbacks.pop(_property(other), ()), other)]
    return "; ".join(ordered)


def _rule(sheet: StyleSheet, selectors: Sequence[str], block: str, *, depth: int = 0) -> None:
    """Add one rule to its half, and the rules nested in it without nesting."""
    found = list(split_items(block))
    declarations = [
        one if inner is None else f"{one} {{{inner}}}" for one, inner in found if not _nests(one, inner)
    ]
    plain = [one for one in selectors if _pseudos(one) <= _INLINED and not _NTH_OF.search(one)]
    kept = [one for one in selectors if one not in plain]
    if declarations and plain:
        sheet.plain.append(f"{', '.join(plain)} {{ {'; '.join(_numbered(declarations))} }}")
    if declarations and kept:
        sheet.kept.append(f"{', '.join(kept)} {{ {'; '.join(map(_important, declarations))} }}")
        sheet.notes += [_unknown(one) for one in kept if _NTH_OF.search(one) or not _pseudos(one) <= _KNOWN]
    for prelude, inner in found:
        if not _nests(prelude, inner):
            continue
        parts = _parts(prelude)
        if prelude.startswith("@"):
            _at_rule(sheet, prelude, f"{', '.join(selectors)} {{ {inner} }}")
        elif depth == _DEEPEST or len(selectors) * len(parts) > _MOST_SELECTORS:
            sheet.kept.append(f"{', '.join(selectors)} {{ {prelude} {{ {inner} }} }}")
            sheet.notes.append(_unknown(prelude))
        else:
            _rule(
                sheet, [_within(outer, one) for outer in selectors for one in parts], inner or "", depth=depth + 1
            )


def _at_rule(sheet: StyleSheet, prelude: str, block: str | None) -> None:
    """Keep an at-rule unchanged."""
    sheet.kept.append(f"{prelude};" if block is None else f"{prelude} {{ {block} }}")
    name = prelude[1:].partition("(")[0].split(maxsplit=1)[0:1]
    word = name[0].lower().removeprefix("-webkit-").removeprefix("-ms-") if name else ""
    if word == "import":
        sheet.notes.append("@import: few mail programs fetch a style sheet; write the rules into <style>")
    elif word not in _AT_RULES:
        sheet.notes.append(f"@{word}: stays in <style>, which few mail programs support")


def _nests(prelude: str, block: str | None) -> bool:
    """Return True if an item of a block is a rule; a custom property may have braces in its value."""
    return block is not None and not prelude.startswith("--")


def _within(outer: str, selector: str) -> str:
    """Return a nested selector without nesting."""
    return selector.replace("&", outer) if "&" in selector else f"{outer} {selector}"


def _parts(prelude: str) -> list[str]:
    """Split a list of selectors at its commas."""
    parts, start, brackets = [], 0, 0
    for sign in _SIGN.finditer(prelude):
        brackets += {"(": 1, "[": 1, ")": -1, "]": -1}.get(sign[0], 0)
        if sign[0] == "," and brackets <= 0:
            parts.append(prelude[start : sign.start()].strip())
            start = sign.end()
    return [one for one in (*parts, prelude[start:].strip()) if one]


def _pseudos(selector: str) -> set[str]:
    """Return the pseudo-classes and pseudo-elements of a selector."""
    return {found[1] for found in _PSEUDO.finditer(selector.lower()) if found[1]}


def _numbered(declarations: Sequence[str]) -> list[str]:
    """Rename a property that the block declares again later, so that the inliner keeps both."""
    last = {_property(one): place for place, one in enumerate(declarations)}
    return [
        one if last[_property(one)] == place else _FALLBACK.format(number=place, property=one)
        for place, one in enumerate(declarations)
    ]


def _important(declaration: str) -> str:
    return declaration if declaration.lower().endswith("important") else f"{declaration} !important"


def _property(declaration: str) -> str:
    return declaration.partition(":")[0].strip().lower()


def _unknown(selector: str) -> str:
    return f"{_short(selector)}: stays in <style>, which few mail programs support; write plain selectors"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."  # noqa: PLR2004  enough to tell them apart
