"""Rules of a tree, declared in the optional head of its file in ``trees/``; the query follows.

    -- +++
    -- roots = "several"
    -- orphans = "hang under the nearest living ancestor"
    -- languages = ["es", "en"]
    -- +++
    SELECT id, parent_id, name, kind, archived_at IS NOT NULL AS deleted FROM departments

An orphan is a node whose parent is deleted, or is not among the rows of the query.
"""

import re
from dataclasses import dataclass, field

from reports.front_matter import HEAD_LINE, HeadPlace, HeadTable, split_head

REFUSE = "refuse"
LEAVE_OUT = "leave out"
HANG = "hang under the nearest living ancestor"
_KEYS = {"roots", "orphans", "languages", "separator"}
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Z]{2})?\Z")
_LONGEST_SEPARATOR = 8


@dataclass(frozen=True, slots=True)
class TreeRules:
    """Rules of a tree.

    Attributes:
        several_roots: True if more than one node may be without a parent.
        orphans: ``refuse``, ``leave out`` or ``hang under the nearest living ancestor``; empty: not declared,
            which refuses orphans and reads no column ``deleted``.
        languages: languages of the nodes' names, the preferred one first.
        separator: text between the labels of a column ``path``; empty: a dot for ltree, else a slash.
        place: lines of the file, for errors.
    """

    several_roots: bool = False
    orphans: str = ""
    languages: tuple[str, ...] = ()
    separator: str = ""
    place: HeadPlace = field(default=HeadPlace(), compare=False)


ONE_ROOT = TreeRules()
"""Rules of a file without a head."""


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file in ``trees/``: its query and its rules."""

    sql: str
    rules: TreeRules


def read_tree(source: str, file: str) -> TreeFile:
    """Parse the file of a tree.

    Raises:
        ReportError: names the file, the line and the key at fault, and what is allowed.
    """
    if not source.startswith(HEAD_LINE):
        return TreeFile(source, TreeRules(place=HeadPlace(file)))
    head, sql = split_head(source, file)
    head.only(_KEYS)
    rules = TreeRules(
        several_roots=_one_of(head, "roots", ("one", "several")) == "several",
        orphans=_one_of(head, "orphans", ("", REFUSE, LEAVE_OUT, HANG)),
        languages=_languages(head),
        separator=_separator(head),
        place=head.place,
    )
    return TreeFile(sql, rules)


def _one_of(head: HeadTable, key: str, allowed: tuple[str, ...]) -> str:
    word = head.text(key, allowed[0])
    if word not in allowed or (key in head.values and not word):
        told = ", ".join(repr(one) for one in allowed if one)
        raise head.error_at(key, f"{word!r} must be one of {told}")
    return word


def _languages(head: HeadTable) -> tuple[str, ...]:
    value = head.values.get("languages", [])
    if not isinstance(value, list) or not all(isinstance(one, str) and _LANGUAGE.match(one) for one in value):
        raise head.error_at("languages", 'must be a list of languages, the preferred one first: ["es", "pt-BR"]')
    return tuple(dict.fromkeys(value))


def _separator(head: HeadTable) -> str:
    text = head.text("separator", "")
    if "separator" in head.values and not 0 < len(text) <= _LONGEST_SEPARATOR:
        raise head.error_at(
            "separator", f"must be 1 to {_LONGEST_SEPARATOR} characters between the labels of a path"
        )
    return text
