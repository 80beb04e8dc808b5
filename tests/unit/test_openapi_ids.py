"""The description of the routes has the form of each report's node ids."""

import json
import re
from typing import Any

import pytest

from reader.openapi import describe_api
from reports.schema import document_schema
from tests.boards import report

UUID = "0b7f0c3e-1d6b-4a53-8a0e-0f3a4f1c9a55"


def described(columns: dict[str, str]) -> tuple[Any, Any, Any]:
    """Return the schemas of the scope in a document, in a path and in a list."""
    entry = {"title": "Sales", "schema": document_schema(report(), columns)}
    found = describe_api({"sales": json.dumps(entry).encode()}, guarded=False)
    in_path = found["paths"]["/v1/reports/sales/{scope}"]["get"]["parameters"][0]
    in_list = found["paths"]["/v1/reports/sales"]["get"]["parameters"][0]
    document = found["components"]["schemas"]["sales"]["properties"]
    assert document["data"]["properties"]["node"]["properties"]["path"]["items"] == document["scope"]
    return document["scope"], in_path["schema"], in_list["schema"]


def test_integers_are_described_as_numbers() -> None:
    document, path, several = described({"node_id": "int8", "amount": "int8"})
    assert (document, path["type"], path["minimum"]) == ({"type": "integer"}, "integer", 1)
    assert re.search(several["pattern"], "1,2")
    assert not re.search(several["pattern"], UUID)


@pytest.mark.parametrize(
    ("columns", "form"),
    [
        ({"node_id": "uuid"}, {"type": "string", "format": "uuid"}),
        ({"node_id": "text"}, {"type": "string"}),
        ({"node_id": "unit_code"}, {"type": "string"}),
        ({}, {"type": ["integer", "string"]}),
    ],
)
def test_other_ids_are_described_as_texts_that_urls_contain_as_they_are(
    columns: dict[str, str], form: Any
) -> None:
    document, path, several = described(columns)
    assert (document, path["type"]) == (form, "string")
    for one in (UUID, "17", "grupo.es~1"):
        assert re.search(path["pattern"], one)
        assert re.search(several["pattern"], f"{one},{one}")
    for one in ("", "a/b", "a b", "x" * 65):
        assert not re.search(path["pattern"], one)
