"""Language tags, looked up as in RFC 4647 (3.4): ``es-AR`` finds ``es-AR``, else ``es``, else a default.

Tags are compared without regard to case, and ``_`` counts as ``-``, because systems, browsers and users write
them in every way. A subtag of one letter goes together with the one after it: ``zh-Hant-x-y`` falls back to
``zh-Hant``.
"""

import re
from collections.abc import Iterable

_TAG = re.compile(r"[A-Za-z]{1,8}(?:[-_][A-Za-z0-9]{1,8}){0,8}\Z")


def is_language_tag(text: str) -> bool:
    """Return True if the text is a well-formed language tag."""
    return _TAG.match(text) is not None


def look_up(wanted: str, written: Iterable[str]) -> str | None:
    """Return the best match among ``written``, or None.

    >>> look_up("pt_br", ["es", "pt", "pt-BR"]), look_up("es-419", ["en", "es"]), look_up("de", ["en"])
    ('pt-BR', 'es', None)
    """
    known = {_normal(one): one for one in written}
    subtags = _normal(wanted).split("-")
    while subtags:
        if found := known.get("-".join(subtags)):
            return found
        subtags.pop()
        if subtags and len(subtags[-1]) == 1:
            subtags.pop()
    return None


def _normal(tag: str) -> str:
    return tag.replace("_", "-").lower()
