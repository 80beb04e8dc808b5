"""Conversion of an HTML part to text, for mails without one: paragraphs, list items, links with their address.

Comments are removed by the rules of HTML 5, so the content between ``<!--[if !mso]><!-->`` and
``<!--<![endif]-->`` stays: it is for all mail programs but one. Runs of invisible characters and spaces, with
which senders fill the preview line, are removed too.

The module reads tags as mail templates have them, in time proportional to the length of any input; unlike a
browser, it takes a ``>`` inside an attribute as the end of the tag. Where the wording matters, write the text part
yourself.
"""

import html
import re

_COMMENT_END = re.compile(r"--!?>")
_TAG = re.compile(r"(<[a-zA-Z/!?][^<>]*>)")
_NAME = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)")
_ATTRIBUTE = re.compile(r"""\s(href|alt)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\n\f\xa0]+")
_INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u2060\ufeff"
"""Soft hyphen, grapheme joiner, zero-width space, joiner and non-joiner, and their like."""
_FILLER = re.compile(f"[{_INVISIBLE} \xa0\u2007\u200a\u202f\u2800]{{2,}}")
_LONGEST_GAP = 10
"""Spaces in a row that an author may have meant."""
_SPACE_AT_BREAK = re.compile(r" ?\n ?")  # two or more spaces become one
_MANY_BREAKS = re.compile(r"\n{3,}")

_UNSEEN = frozenset({"head", "style", "script", "title", "template"})
_PARAGRAPHS = frozenset({"p", "ul", "ol", "table", "pre", "blockquote", "section", "article", "header", "footer"})
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_LINES = frozenset({"br", "div", "tr", "dt", "dd"})


def html_to_text(document: str) -> str:
    r"""Return the visible text of a document as plain text; empty if there is nothing to read.

    Example:
        >>> html_to_text('<p>Hola:</p><ul><li>Cierre <a href="https://example.com/7">ver</a></li></ul>')
        'Hola:\n\n- Cierre ver (https://example.com/7)\n'
    """
    writer = _Writer()
    for number, piece in enumerate(_TAG.split(_without_comments(document))):
        if number % 2:
            writer.tag(piece)
        else:
            writer.text(piece)
    return writer.finished()


def _without_comments(document: str) -> str:
    kept, at = [], 0
    while (start := document.find("<!--", at)) >= 0:
        kept.append(document[at:start])
        end = _COMMENT_END.search(document, start + 2)  # the comment's own dashes may end it: <!-->
        at = end.end() if end else len(document)
    kept.append(document[at:])
    return "".join(kept)


def _without_filler(run: re.Match[str]) -> str:
    """Replace a run of filler characters by a space; a single one is part of words in some scripts."""
    return " " if len(run[0]) > _LONGEST_GAP or sum(map(run[0].count, _INVISIBLE)) > 1 else run[0]


class _Writer:
    def __init__(self) -> None:
        self._words: list[str] = []
        self._unseen = ""
        self._links: list[tuple[str, int]] = []

    def text(self, piece: str) -> None:
        if piece and not self._unseen:
            self._words.append(html.unescape(_SPACES.sub(" ", piece)))

    def tag(self, piece: str) -> None:
        found = _NAME.match(piece)
        name = found[1].lower() if found else ""
        closing = piece.startswith("</")
        if self._unseen:
            self._unseen = "" if closing and name == self._unseen else self._unseen
        elif name in _UNSEEN:
            self._unseen = "" if closing else name
        elif name == "a":
            self._link(piece, closing=closing)
        else:
            self._words.append(_mark(name, piece, closing=closing))

    def _link(self, piece: str, *, closing: bool) -> None:
        if not closing:
            self._links.append((_attribute(piece, "href"), len(self._words)))
        elif self._links:
            address, start = self._links.pop()
            label = "".join(self._words[start:]).strip()
            if address and address not in (label, f"mailto:{label}") and not address.startswith("#"):
                self._words.append(f" ({address})" if label else address)

    def finished(self) -> str:
        words = _FILLER.sub(_without_filler, "".join(self._words))
        text = _SPACE_AT_BREAK.sub("\n", re.sub(" {2,}", " ", words))
        text = _MANY_BREAKS.sub("\n\n", text).strip()
        return f"{text}\n" if text else ""


def _mark(name: str, piece: str, *, closing: bool) -> str:
    """Return the text that replaces a tag other than a link."""
    if name in _PARAGRAPHS or name in _HEADINGS:
        return "\n\n"
    if name in _LINES:
        return "\n"
    if name == "li":
        return "" if closing else "\n- "
    if name in ("td", "th"):
        return " "
    if name == "hr":
        return "\n\n---\n\n"
    return _attribute(piece, "alt") if name == "img" else ""


def _attribute(piece: str, name: str) -> str:
    for found in _ATTRIBUTE.finditer(piece):
        if found[1].lower() == name:
            return html.unescape(found[2] or found[3] or found[4] or "").strip()
    return ""
