"""The pytest plugin that makes arq's suite a test of ours: our class, the suite's pickle, the known failures."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import arq
import arq.worker
import pytest

from worker.arq_compat import StandIn

_ROW = re.compile(r"^\| `(?P<test>tests/[^`]+)` \| (?P<reason>.+) \|$", re.MULTILINE)


class PickleStandIn(StandIn):
    """The stand-in with the serializers that stock arq takes when it is told none."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        named["job_serializer"] = named.get("job_serializer") or pickle.dumps
        named["job_deserializer"] = named.get("job_deserializer") or pickle.loads
        super().__init__(*arguments, **named)


# As soon as the plugin is imported, before the suite's conftest.py takes the name from arq.
arq.Worker = arq.worker.Worker = PickleStandIn


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect the failures that the page names, so that a new one fails the run, and so does one that is gone."""
    page = Path(os.environ["ARQ_SUITE_PAGE"]).read_text(encoding="utf-8")
    expected = {row["test"]: row["reason"] for row in _ROW.finditer(page)}
    for item in items:
        if item.nodeid in expected:
            item.add_marker(pytest.mark.xfail(reason=expected.pop(item.nodeid), strict=True))
    if expected and not config.getoption("keyword") and config.args == config.getini("testpaths"):
        raise pytest.UsageError(f"docs/arq.md names tests that arq's suite does not have: {', '.join(expected)}")
