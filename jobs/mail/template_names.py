"""Values that a template needs, found in its source before anything is rendered.

Parts, and the files that they extend or include, count together, and all branches of them: a value that is needed
only on Fridays is reported missing on Monday. A name that a file sets itself is not needed. A name that is
looped over must be a list: Python would loop over the letters of a text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, meta, nodes

from .errors import InvalidPart, MissingValue


@dataclass(frozen=True, slots=True)
class TemplateNames:
    """The names in a template.

    Attributes:
        needed: the names of all values.
        lists: the names among them whose values must be lists.
        sources: text of every file of the template.
    """

    needed: frozenset[str]
    lists: frozenset[str]
    sources: tuple[str, ...]

    def check_values(self, values: Mapping[str, object], *, template: str) -> None:
        """Raise for the first value that is missing or must be a list.

        Raises:
            MissingValue, InvalidPart: naming the value.
        """
        if missing := sorted(self.needed - values.keys()):
            raise MissingValue(f"values.{missing[0]}", f"template {template!r} needs {', '.join(missing)}")
        for name in self.lists:
            if not isinstance(values[name], list):
                raise InvalidPart(f"values.{name}", f"must be a list, because template {template!r} loops over it")

    def unused_values(self, values: Mapping[str, object]) -> tuple[str, ...]:
        """Return the values that no part uses, probably misspelt."""
        return () if values.keys() <= self.needed else tuple(sorted(values.keys() - self.needed))


def find_names(jinja: Environment, files: Sequence[str]) -> TemplateNames:
    """Return the names in these files and in those that they extend or include.

    Raises:
        jinja2.TemplateError: a file is missing or is not a template.
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
            if other is not None:  # a computed name cannot be followed
                _with_referenced(jinja, other, known)
    return known


def _source(jinja: Environment, file: str) -> str:
    if jinja.loader is None:
        raise LookupError("environment: has no loader and so no files; pass one with a loader")
    return jinja.loader.get_source(jinja, file)[0]


def _assigned(tree: nodes.Template) -> set[str]:
    return {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
