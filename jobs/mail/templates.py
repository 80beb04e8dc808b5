"""Templates: files of this folder, never user text (a sandbox alone is no defence, says Jinja itself).

A template is ``templates/<name>/<locale>.subject``, ``.text`` and ``.html``. What values may be is decided in
``values``; in HTML they are escaped. A value that a part names but nobody gave is refused at once, over all
branches of all parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .errors import InvalidPart, MissingValue, UnknownTemplate

_FOLDER = Path(__file__).parent / "templates"
_PARTS = ("subject", "text", "html")


@dataclass(frozen=True, slots=True)
class Rendered:
    """The three parts with their values filled in."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class _Compiled:
    parts: tuple[Template, Template, Template]
    needs: frozenset[str]


def render(name: str, locale: str, values: Mapping[str, object]) -> Rendered:
    """The template with the values.

    Raises:
        UnknownTemplate: no such name, or not in that language.
        MissingValue: a value that the template names is not among ``values``.
        InvalidPart: a value of a kind that the template cannot use.
    """
    compiled = _compiled(name, locale)
    if missing := sorted(compiled.needs - values.keys()):
        raise MissingValue(f"values.{missing[0]}", f"template {name!r} needs {', '.join(missing)}")
    try:
        subject, text, html = (part.render(values) for part in compiled.parts)
    except UndefinedError as error:
        raise MissingValue("values", f"template {name!r}: {error}") from None
    except (TemplateError, TypeError, ValueError) as error:
        raise InvalidPart("values", f"template {name!r} cannot use a value: {type(error).__name__}") from None
    return Rendered(subject.strip(), text, html)


def names() -> list[str]:
    """The templates there are."""
    return sorted(folder.name for folder in _FOLDER.iterdir() if folder.is_dir())


@cache
def _compiled(name: str, locale: str) -> _Compiled:
    if name not in names():
        close = get_close_matches(name, names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names())}"
        raise UnknownTemplate("template", f"there is no template {name[:80]!r}; {hint}")
    locales = sorted(path.stem for path in (_FOLDER / name).glob("*.subject"))
    if locale not in locales:
        raise UnknownTemplate(
            "locale", f"template {name!r} is not written in {locale[:20]!r}; only {', '.join(locales)}"
        )
    files = [f"{name}/{locale}.{part}" for part in _PARTS]
    return _Compiled(_load(files), frozenset().union(*(_needed(file) for file in files)))


def _load(files: list[str]) -> tuple[Template, Template, Template]:
    subject, text, html = (_environment().get_template(file) for file in files)
    return subject, text, html


def _needed(file: str) -> set[str]:
    source = (_FOLDER / file).read_text(encoding="utf-8")
    return meta.find_undeclared_variables(_environment().parse(source))


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=lambda file: bool(file and file.endswith(".html")),
        undefined=StrictUndefined,
        keep_trailing_newline=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
