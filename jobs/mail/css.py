"""Conversion of style sheets into ``style`` attributes, because many mail programs drop ``<style>`` elements.

Runs after rendering: a template's source is not HTML yet, and an HTML parser would move its tags. Rules that an
attribute cannot hold stay in a ``<style>`` where they were: sheets for print or narrow screens (``media``),
``@media``, ``:hover`` and its like (:mod:`.style_sheet`). Doctype and conditional comments stay, as far as an HTML
parser keeps them.

Nothing is fetched, neither from a server nor from a file. Only templates with a ``<style>`` pay for it, about 30
us for a mail of ten elements.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from html import unescape

from .errors import BrokenTemplate
from .style_sheet import split_sheet, with_fallbacks

_PIECE = re.compile(
    r"<!--.*?(?:--!?>|\Z)"
    r"|<!\[(?P<condition>if[^][<>]*|endif)\]>"
    r"|<style\b(?P<attributes>[^<>]*)>(?P<css>.*?)(?:</style\s*>|\Z)"
    r"|<link\b(?P<link>[^<>]*)>",
    re.DOTALL | re.IGNORECASE,
)
_DOCTYPE = re.compile(r"[ \t\r\n]{0,99}<!doctype[^<>]*>", re.IGNORECASE)
"""Doctype to keep: an XHTML one selects another mode of layout, and the inliner would shorten it."""
_MEDIA = re.compile(r"""\bmedia\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_EVERYBODY = frozenset({"", "all", "screen", "only screen"})
_PLACE = re.compile(r"<!--style-(\d+)-->")
_ATTRIBUTE = re.compile(r'style="([^"]*)"')
_HOLE = "x-hole"
_JINJA = re.compile(r"\{\{.*?(?:\}\}|\Z)|\{%.*?(?:%\}|\Z)|\{#.*?(?:#\}|\Z)", re.DOTALL)


def needs_inlining(sources: Iterable[str], *, template: str) -> bool:
    """Return True if a template has its own style sheet.

    Raises:
        BrokenTemplate: it has one, and the library that inlines it is not installed.
    """
    if not any("<style" in source.lower() for source in sources):
        return False
    try:
        _inline()
    except ImportError:
        raise BrokenTemplate(
            "template",
            f"{template!r} has a <style> element; install momentus-client[html], or write style attributes",
        ) from None
    return True


def inline_styles(html: str) -> str:
    """Return the document, parsed as HTML 5, with its style sheets inlined into the elements."""
    kept: list[str] = []
    done = _inline()(_PIECE.sub(lambda piece: _prepared(piece, kept), html))
    if doctype := _DOCTYPE.match(html):
        done = _DOCTYPE.sub(lambda _: doctype[0], done, count=1)
    if kept:
        done = _PLACE.sub(lambda place: kept[int(place[1])] if int(place[1]) < len(kept) else place[0], done)
    return _ATTRIBUTE.sub(_ordered, done) if "x-fallback-" in done else done


def style_notes(source: str) -> list[str]:
    """Return a note for each rule of a template's style sheets that most mail programs will not show."""
    notes: list[str] = []
    for piece in _PIECE.finditer(_JINJA.sub(lambda tag: _HOLE if tag[0][1] == "{" else "", source)):
        if piece["css"] is not None:
            notes += [note for note in split_sheet(piece["css"]).notes if not note.startswith(f"{_HOLE}: ")]
        elif piece["link"] is not None and "stylesheet" in piece["link"].lower():
            notes.append("<link>: its style sheet is not fetched, and is left out; write the rules into <style>")
    return list(dict.fromkeys(notes))


def _prepared(piece: re.Match[str], kept: list[str]) -> str:
    """Rewrite one piece of the document for the inliner; parts that it must not see are added to ``kept``."""
    if condition := piece["condition"]:
        return "<!--<![endif]-->" if condition.lower() == "endif" else f"<!--[{condition}]><!-->"
    if piece["css"] is None:
        return piece[0]
    if not _for_everybody(piece["attributes"]):
        return _place(piece[0], kept)
    sheet = split_sheet(piece["css"])
    plain = f"<style>{' '.join(sheet.plain)}</style>" if sheet.plain else ""
    return plain + (_place(f"<style>{' '.join(sheet.kept)}</style>", kept) if sheet.kept else "")


def _place(style: str, kept: list[str]) -> str:
    kept.append(style)
    return f"<!--style-{len(kept) - 1}-->"


def _for_everybody(attributes: str) -> bool:
    found = _MEDIA.search(attributes)
    media = unescape(found[1] or found[2] or found[3] or "") if found else ""
    return any(" ".join(one.lower().split()) in _EVERYBODY for one in media.split(","))


def _ordered(attribute: re.Match[str]) -> str:
    if "x-fallback-" not in attribute[1]:
        return attribute[0]
    style = with_fallbacks(unescape(attribute[1]))
    return 'style="{}"'.format(style.replace("&", "&amp;").replace('"', "&quot;"))


@cache
def _inline() -> Callable[[str], str]:
    import css_inline  # noqa: PLC0415  an extra: only templates with a style sheet need it

    return css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True).inline
