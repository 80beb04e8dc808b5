"""Which values a template names, found in its source before anything is rendered.

Parts, and the files that they extend or include, count together, and all branches of them: a value that is only
wanted on Fridays is missed on Monday. What a file sets for itself is not wanted from outside. A name that is
looped over must be a list: Python would loop over the letters of a text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, meta, nodes

from .errors import InvalidPart, MissingValue


@dataclass(frozen=True, slots=True)
class TemplateNames:
    """What a template names.

    Attributes:
        needed: all values.
        lists: those of them that must be lists.
        sources: the text of every file that it is made of.
    """

    needed: frozenset[str]
    lists: frozenset[str]
    sources: tuple[str, ...]

    def check(self, values: Mapping[str, object], *, template: str) -> None:
        """Pass, or name the first value that is missing or no list.

        Raises:
            MissingValue, InvalidPart: naming it.
        """
        if missing := sorted(self.needed - values.keys()):
            raise MissingValue(f"values.{missing[0]}", f"template {template!r} needs {', '.join(missing)}")
        for name in self.lists:
            if not isinstance(values[name], list):
                raise InvalidPart(f"values.{name}", f"must be a list, because template {template!r} loops over it")

    def unused(self, values: Mapping[str, object]) -> tuple[str, ...]:
        """Values that nothing names, most likely misspelt."""
        return () if values.keys() <= self.needed else tuple(sorted(values.keys() - self.needed))


def names_of(jinja: Environment, files: Sequence[str]) -> TemplateNames:
    """What these files name, and those that they extend or include.

    Raises:
        jinja2.TemplateError: one of them is not there, or is no template.
    """
    trees = {file: tree for file in files for file, tree in _with_referenced(jinja, file, {}).items()}
    set_by = {file: _assigned(tree) for file, (_, tree) in trees.items()}
    needed, lists = set[str](), set[str]()
    for file, (_, tree) in trees.items():
        elsewhere = set().union(*(names for other, names in set_by.items() if other != file))
        needed |= meta.find_undeclared_variables(tree) - elsewhere - jinja.globals.keys()
        lists |= {loop.iter.name for loop in tree.find_all(nodes.For) if isinstance(loop.iter, nodes.Name)}
    return TemplateNames(
        frozenset(needed), frozenset(lists & needed), tuple(source for source, _ in trees.values())
    )


def _with_referenced(
    jinja: Environment, file: str, known: dict[str, tuple[str, nodes.Template]]
) -> dict[str, tuple[str, nodes.Template]]:
    if file not in known:
        source = _source(jinja, file)
        known[file] = source, jinja.parse(source)
        for other in meta.find_referenced_templates(known[file][1]):
            if other is not None:  # a name that is computed cannot be followed
                _with_referenced(jinja, other, known)
    return known


def _source(jinja: Environment, file: str) -> str:
    if jinja.loader is None:
        raise LookupError("an environment without a loader has no files")
    return jinja.loader.get_source(jinja, file)[0]


def _assigned(tree: nodes.Template) -> set[str]:
    return {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
