"""One template in one language, compiled by Jinja2: its parts, the values that it needs, its style sheets.

Loaded with the first template that is rendered: Jinja2 is the largest library of the client, and a backend that
sends ready parts or no mails does without it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError, Undefined, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .css import inline_styles, needs_inlining, style_notes
from .errors import BrokenTemplate, InvalidPart, MissingValue
from .plain_text import html_to_text
from .rendered_parts import RenderedParts
from .template_names import TemplateNames, find_names
from .values import PLAIN

_PRINTABLE = (str, *PLAIN, Undefined)


class UnprintableValue(TypeError):
    """A value that a template cannot print; the message names its type, not the value."""


def printable_value(value: object) -> object:
    """Return the value if a template may print it: Jinja calls this for each ``{{ }}``.

    Raises:
        UnprintableValue: a list, which would be printed as Python writes lists, or None.
    """
    if isinstance(value, _PRINTABLE):
        return value
    raise UnprintableValue(f"a {type(value).__name__}; loop over it, or join it")


@dataclass(frozen=True, slots=True)
class CompiledTemplate:
    """The parts of a template that exist, and what was found in their files.

    Attributes:
        name: the template's name, for errors.
        styled: True if the HTML has a style sheet, which is inlined after rendering.
        notes: rules of its style sheets that many mail programs will not show.
    """

    name: str
    subject: Template = field(repr=False)
    text: Template | None = field(repr=False)
    html: Template | None = field(repr=False)
    names: TemplateNames
    styled: bool
    notes: tuple[str, ...]

    def render(self, values: Mapping[str, object]) -> RenderedParts:
        """Fill in the values.

        Raises:
            MissingValue: a value that the template names is not among them.
            InvalidPart: a value of a kind that the template cannot use.
        """
        self.names.check_values(values, template=self.name)
        subject, text, html = self._filled(values)
        if html and self.styled:
            html = inline_styles(html)
        return RenderedParts(subject.strip(), text or html_to_text(html), html, self.names.unused_values(values))

    def _filled(self, values: Mapping[str, object]) -> tuple[str, str, str]:
        try:
            return (
                self.subject.render(values),
                self.text.render(values) if self.text else "",
                self.html.render(values) if self.html else "",
            )
        except UndefinedError as error:
            raise MissingValue("values", f"template {self.name!r}: {error}") from None
        except UnprintableValue as error:
            raise InvalidPart("values", f"template {self.name!r} cannot print {error}") from None
        except (TemplateError, TypeError, ValueError) as error:
            raise InvalidPart(
                "values", f"template {self.name!r} cannot use a value: {type(error).__name__}"
            ) from None


def template_environment(folders: Sequence[Path]) -> ImmutableSandboxedEnvironment:
    """Return the environment in which the files of these folders are compiled; the first folder wins."""
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folders),
        autoescape=lambda file: bool(file and file.endswith(".html")),
        undefined=StrictUndefined,
        finalize=printable_value,
        keep_trailing_newline=False,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def compile_template(
    jinja: ImmutableSandboxedEnvironment, files: Mapping[str, str], *, name: str, locale: str
) -> CompiledTemplate:
    """Compile a template in one language.

    Args:
        files: the file of each existing part, by the name that the loader uses.

    Raises:
        BrokenTemplate: a file is not a template, or needs a library that is not installed.
    """
    try:
        parts = {part: _compiled(jinja, file) for part, file in files.items()}
        names = find_names(jinja, list(files.values()))
    except TemplateError as error:
        raise BrokenTemplate("template", f"{name!r} in {locale!r}: {type(error).__name__}: {error}") from None
    styled = "html" in files and needs_inlining(names.sources, template=name)
    notes = tuple(note for source in names.sources for note in style_notes(source)) if styled else ()
    return CompiledTemplate(name, parts["subject"], parts.get("text"), parts.get("html"), names, styled, notes)


def _compiled(jinja: ImmutableSandboxedEnvironment, file: str) -> Template:
    template = jinja.get_template(file)
    template.globals = dict(template.globals)  # a chain of mappings would cost a third of each rendering
    return template
