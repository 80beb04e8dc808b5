"""Names of nodes: text, or JSON by language as many applications store translations.

    "Ventas"                                  the name
    {"es": "Ventas", "en_US": "Sales"}        by language; the tree declares which are shown
    null                                      the node's id

Documents have a name in the first declared language, and `names` in each of them. A language that the database
lacks is replaced by another region of it (`en_US` for `en`), then by the other declared languages in their order,
then by any.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from reports.columns import JSON
from reports.node_ids import NodeId


class InvalidNames(ValueError):
    """Malformed names; the message names the node."""


def read_names(
    values: Sequence[Any], ids: Sequence[NodeId], column: str, languages: tuple[str, ...]
) -> list[tuple[Any, Mapping[str, str] | None]]:
    """Return each node's name, and its names by language if the tree declares any.

    Args:
        values: column of names.
        column: its type in Postgres.

    Raises:
        InvalidNames: JSON without declared languages, or malformed.
    """
    if column not in JSON:
        names = [str(node_id) if value is None else value for value, node_id in zip(values, ids, strict=True)]
        return [(name, dict.fromkeys(languages, name) if languages else None) for name in names]
    if not languages:
        raise InvalidNames(
            f'name: is {column}, not text; write languages = ["es", "en"] in the head of the tree\'s file, '
            "or name->>'es' in its query"
        )
    return [_translated(value, node_id, languages) for value, node_id in zip(values, ids, strict=True)]


def _translated(value: Any, node_id: NodeId, languages: tuple[str, ...]) -> tuple[str, Mapping[str, str]]:  # noqa: ANN401  as above
    found = None if value is None else orjson.loads(value)
    if found is None or isinstance(found, str):
        found = {} if found is None else {languages[0]: found}
    if not isinstance(found, dict):
        raise InvalidNames(f"name of node {node_id} is {value[:40]!r}; it must be text or an object by language")
    texts = {_tag(language): text for language, text in found.items() if text is not None}
    for text in texts.values():
        if not isinstance(text, str):
            told = orjson.dumps(text).decode()[:40]
            raise InvalidNames(f"name of node {node_id} has {told}; names by language must be text")
    names = {language: _in(language, texts, languages) or str(node_id) for language in languages}
    return names[languages[0]], names


def _tag(language: str) -> str:
    """Return a language in the one form in which languages are compared, since case has no meaning in them."""
    return language.replace("_", "-").lower()


def _in(language: str, texts: Mapping[str, str], languages: tuple[str, ...]) -> str:
    """Return the name in a language, or the best replacement; empty if there is none.

    >>> _in("en", {"es": "Ventas", "en-us": "Sales"}, ("es", "en")), _in("pt", {"es": "Ventas"}, ("pt", "es"))
    ('Sales', 'Ventas')
    """
    for wanted in map(_tag, (language, *languages)):
        of_language = [key for key in texts if key.partition("-")[0] == wanted.partition("-")[0] and texts[key]]
        if of_language:
            return texts[wanted] if texts.get(wanted) else texts[min(of_language)]
    return next((text for text in texts.values() if text), "")
