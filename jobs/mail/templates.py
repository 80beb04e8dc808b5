"""Templates: files in a folder, never user text (Jinja itself says that a sandbox alone is no defence).

A template is ``<folder>/<name>/<locale>.subject`` with ``.text``, ``.html`` or both beside it. Folders with a
name that starts with ``_`` are not templates but may hold files that others include or extend. ``values`` decides
which values are allowed; HTML parts escape them. A missing value is refused at once, over all branches of all
parts. Each template is read once; changing its files later changes nothing in this process.
"""

import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BrokenTemplate, LostStyle, UnknownTemplate
from .language import is_language_tag, look_up
from .rendered_parts import RenderedParts

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from .compiled_template import CompiledTemplate

_SHIPPED = Path(__file__).parent / "templates"
_PARTS = ("subject", "text", "html")
_LANGUAGE = "es"
"""Language of a mail that names none."""
_MOST_LOCALES = 1000
"""Spellings of languages that are cached for all templates: callers may pass on any text of a browser."""
_LONGEST_LOCALE = 64
"""Largest number of characters of a cached spelling."""


class Templates:
    """The templates of your folder, and the shipped ones that it does not replace.

    Make one when the process starts and hand it to each :class:`jobs.Mail`. Thread-safe.

    Args:
        folder: holds a folder for each template; left out, only the shipped ones exist.
        default_locale: the language for mails that name none, and for mails in a language that a template lacks;
            left out, ``es`` for the former, and the latter are refused.

    Raises:
        BrokenTemplate: the folder is absent, or one of its templates cannot be used.
        UnknownTemplate: ``default_locale`` is not a language tag.

    Warns:
        LostStyle: a style sheet of yours holds rules that many mail programs will not show.

    Example:
        >>> Templates().names()
        ['blocker_raised', 'digest', 'task_assigned', 'tasks_assigned']
    """

    def __init__(self, folder: Path | str | None = None, *, default_locale: str | None = None) -> None:
        own = [] if folder is None else [Path(folder)]
        self._folders = [*own, _SHIPPED]
        self._known: dict[tuple[str, str], CompiledTemplate] = {}
        self._asked: dict[tuple[str, str | None], CompiledTemplate] = {}
        self._default = default_locale
        if own and not own[0].is_dir():
            raise BrokenTemplate("templates", f"is not a folder ({folder}); give the folder of your templates")
        if default_locale is not None and not is_language_tag(default_locale):
            raise UnknownTemplate(
                "default_locale", f"is not a language tag ({default_locale[:20]!r}); give one like pt-BR"
            )
        for name in self.names() if own else ():
            for locale in self.locales(name):
                for note in self._compiled(name, locale).notes:
                    warnings.warn(LostStyle(name, locale, note), stacklevel=2)

    def names(self) -> list[str]:
        """Return the names of all templates."""
        found = (one for folder in self._folders for one in folder.iterdir() if one.is_dir())
        return sorted({one.name for one in found if one.name[0] not in "._"})

    def locales(self, name: str) -> list[str]:
        """Return the languages in which a template is written."""
        return sorted(path.stem for path in self._home(name).glob("*.subject"))

    def render(self, name: str, locale: str | None, values: Mapping[str, object]) -> RenderedParts:
        """Render the template with the values.

        Args:
            locale: a language tag such as ``es-MX``; falls back to ``es``, then to the default. None for the
                default.

        Raises:
            UnknownTemplate: no such name, or not in that language.
            MissingValue: a value that the template names is not among ``values``.
            InvalidPart: a value of a kind that the template cannot use.
        """
        compiled = self._asked.get((name, locale)) or self._looked_up(name, locale)
        return compiled.render(values)

    def _looked_up(self, name: str, locale: str | None) -> "CompiledTemplate":
        if name not in self.names():
            close = get_close_matches(name, self.names(), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(self.names())}"
            raise UnknownTemplate("template", f"is unknown ({name[:80]!r}); {hint}")
        compiled = self._compiled(
            name, self._written(name, self._default or _LANGUAGE if locale is None else locale)
        )
        if len(self._asked) < _MOST_LOCALES and len(locale or "") <= _LONGEST_LOCALE:
            self._asked[name, locale] = compiled
        return compiled

    def _compiled(self, name: str, locale: str) -> "CompiledTemplate":
        from .compiled_template import compile_template  # noqa: PLC0415  loads Jinja2, with the first template

        if known := self._known.get((name, locale)):
            return known
        compiled = compile_template(self._jinja, self._files(name, locale), name=name, locale=locale)
        self._known[name, locale] = compiled
        return compiled

    def _files(self, name: str, written: str) -> dict[str, str]:
        """Return the file of each existing part, by the name that the loader uses."""
        home = self._home(name)
        files = {part: f"{name}/{written}.{part}" for part in _PARTS if (home / f"{written}.{part}").is_file()}
        if len(files) == 1:
            raise BrokenTemplate(
                "template", f"{name!r} in {written!r} has a subject but neither text nor html; add one of them"
            )
        return files

    def _written(self, name: str, locale: str) -> str:
        """Return the language of this template that best fits a requested one."""
        locales = self.locales(name)
        if not is_language_tag(locale):
            raise UnknownTemplate("locale", f"is not a language tag ({locale[:20]!r}); give one like es or pt-BR")
        found = look_up(locale, locales) or (self._default and look_up(self._default, locales))
        if not found:
            raise UnknownTemplate(
                "locale",
                f"template {name!r} is not written in {locale[:20]!r}; available: {', '.join(locales) or 'none'}"
                f"; for others pass Templates(default_locale=...)",
            )
        return found

    def _home(self, name: str) -> Path:
        """Return the folder of a template: a backend's own hides the shipped one of that name."""
        return next(folder / name for folder in self._folders if (folder / name).is_dir())

    @cached_property
    def _jinja(self) -> "ImmutableSandboxedEnvironment":
        from .compiled_template import template_environment  # noqa: PLC0415  as above

        return template_environment(self._folders)


SHIPPED = Templates()
"""The templates that come with this package."""
