"""Style sheets into ``style`` attributes, because many mail programs drop ``<style>`` elements.

Done after rendering: a template's source is no HTML yet, and an HTML parser would move its tags about. What
cannot be put into an attribute (``@media``) stays behind in a ``<style>``. Nothing is fetched, neither from a
server nor from a file. Only templates with a ``<style>`` pay for it, about 20 us for a mail of ten elements.
"""

from collections.abc import Callable, Iterable
from functools import cache

from .errors import BrokenTemplate


def needs_inlining(sources: Iterable[str], *, template: str) -> bool:
    """Whether a template has a style sheet of its own.

    Raises:
        BrokenTemplate: it has, and the library that inlines it is not installed.
    """
    if not any("<style" in source.lower() for source in sources):
        return False
    try:
        _inline()
    except ImportError:
        raise BrokenTemplate(
            "template",
            f"{template!r} has a <style> element: install momentus-client[html], or write style attributes",
        ) from None
    return True


def inlined(html: str) -> str:
    """The same document with its style sheet in the elements; HTML 5 as a parser understands it."""
    return _inline()(html)


@cache
def _inline() -> Callable[[str], str]:
    import css_inline  # noqa: PLC0415  an extra: only templates with a style sheet need it

    return css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True).inline
