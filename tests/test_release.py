"""A release is refused for each thing that it lacks, and this checkout is one away from its tag at most."""

import dataclasses
from collections.abc import Callable
from datetime import date
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from client.release import (
    CHECKS,
    ReleaseFacts,
    changelog_sections,
    check_changelog,
    check_locks,
    check_tree,
    find_complaints,
    main,
    read_facts,
)
from client.wheel import BrokenWheel, Wheel

ROOT = Path(__file__).resolve().parents[1]
PROJECT = {
    "name": "momentus-client",
    "description": "A client",
    "license": "MIT",
    "requires-python": ">=3.11,<3.15",
    "dependencies": ["orjson>=3.10", "redis[hiredis]>=5.2,<6"],
    "optional-dependencies": {"seal": ["cryptography>=44"]},
}
CHANGELOG = """# Changelog

## [Unreleased]

### Added

## [1.2.0] - 2026-11-27

### Added

- A thing.

## [1.1.0] - 2026-01-01

- Another.
"""


def metadata(**changed: str) -> Message:
    fields = {
        "Name": "momentus-client",
        "Version": "1.2.0",
        "Summary": "A client",
        "License-Expression": "MIT",
        "Requires-Python": "<3.15,>=3.11",
        "Provides-Extra": "seal",
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    made = Message()
    for name, value in fields.items():
        made[name] = value
    for needed in ("orjson>=3.10", "redis[hiredis]<6,>=5.2", "cryptography>=44; extra == 'seal'"):
        made["Requires-Dist"] = needed
    return made


NAMES = frozenset({"momentus_client/__init__.py", "momentus_client/py.typed"})
READY = ReleaseFacts(
    version="1.2.0",
    changelog=CHANGELOG,
    project=PROJECT,
    wheel=Wheel(Path("x.whl"), NAMES, metadata()),
    status="",
    tags={"v1.1.0": "aaa"},
    head="bbb",
    stale_locks="",
    today=date(2026, 11, 28),
)


def wheel(names: frozenset[str] = NAMES, **changed: str) -> dict[str, Any]:
    return {"wheel": Wheel(Path("x.whl"), names, metadata(**changed))}


def log(change: Callable[[str], str]) -> dict[str, Any]:
    return {"changelog": change(CHANGELOG)}


@pytest.mark.parametrize(
    "changed",
    [{}, {"tags": {"v1.2.0": "bbb"}}, log(lambda text: text.replace("2026-11-27", "2026-11-28"))],
    ids=["not tagged yet", "tagged already", "dated today"],
)
def test_what_holds_everything_may_be_released(changed: dict[str, Any]) -> None:
    assert find_complaints(dataclasses.replace(READY, **changed)) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"version": "1.2", **wheel(Version="1.2")}, "not MAJOR.MINOR.PATCH ('1.2')"),
        ({"version": "1.2.0rc1", **wheel(Version="1.2.0rc1")}, "not MAJOR.MINOR.PATCH"),
        ({"version": "", **wheel(Version="")}, "not MAJOR.MINOR.PATCH"),
        ({"version": "1.3.0", **wheel(Version="1.3.0")}, "the newest version is 1.2.0"),
        (log(lambda text: text.replace("## [Unreleased]\n", "")), "has no section [Unreleased]"),
        (log(lambda text: text.replace("sed]\n", "sed]\n\n- New.\n")), "[Unreleased] has lines"),
        (log(lambda _: "## [Unreleased]\n"), "the newest version is none"),
        (log(lambda text: text.replace(" - 2026-11-27", "")), "write ## [1.2.0] - 2026-11-28"),
        (log(lambda text: text.replace("2026-11-27", "2026-11-31")), "[1.2.0] has no date"),
        (log(lambda text: text.replace("2026-11-27", "2026-11-29")), "dated in the future"),
        (log(lambda text: text.replace("### Added\n\n- A thing.\n", "")), "[1.2.0] is empty"),
        ({"wheel": BrokenWheel("no such file")}, "cannot be built: no such file"),
        (wheel(Version="1.1.0"), "wheel: Version is '1.1.0'; pyproject.toml has '1.2.0'"),
        (wheel(Name="momentus"), "wheel: Name is"),
        (wheel(Requires_Python=">=3.9"), "wheel: Requires-Python"),
        (wheel(Provides_Extra="html"), "wheel: Provides-Extra"),
        ({"project": PROJECT | {"dependencies": ["orjson>=3.10"]}}, "wheel: Requires-Dist"),
        (wheel(NAMES - {"momentus_client/py.typed"}), "momentus_client/py.typed is missing"),
        ({"status": " M run\n?? notes.txt"}, "not everything is committed (run, notes.txt)"),
        ({"tags": {"v1.2.0": "aaa"}}, "tag v1.2.0 names another commit (aaa)"),
        ({"tags": {"v1.3.0": "bbb"}}, "this commit is tagged v1.3.0 and says 1.2.0"),
        ({"stale_locks": "do not fit pyproject.toml: requirements/runtime.txt"}, "lock files: do not fit"),
    ],
)
def test_what_a_release_lacks_is_named(changed: dict[str, Any], words: str) -> None:
    found = find_complaints(dataclasses.replace(READY, **changed))
    assert words in found[0]


def test_all_that_is_wrong_is_told_at_once() -> None:
    nothing = dataclasses.replace(
        READY,
        version="",
        changelog="",
        wheel=BrokenWheel("x"),
        status=" M x",
        tags={"v9.9.9": "bbb"},
        stale_locks="x",
    )
    assert len(find_complaints(nothing)) >= len(CHECKS)


def test_this_checkout_holds_what_every_commit_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.release._lock_check", lambda _root: "")  # asks a registry; tests do not
    facts = read_facts(ROOT)
    of_the_moment = {check_tree, check_locks, check_changelog}
    assert [text for check in CHECKS if check not in of_the_moment for text in check(facts)] == []
    titles = [section.title for section in changelog_sections(facts.changelog)]
    assert titles[:2] == ["Unreleased", facts.version]
    assert not [text for text in check_changelog(facts) if "[Unreleased] has lines" not in text]


def test_the_program_prints_each_complaint_and_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("client.release.read_facts", lambda _root: dataclasses.replace(READY, status=" M run"))
    assert main(["--check"]) == 1
    assert "not everything is committed" in capsys.readouterr().err
    monkeypatch.setattr("client.release.read_facts", lambda _root: READY)
    assert main(["--check"]) == 0
    assert capsys.readouterr().out == "1.2.0 is ready: git tag -a v1.2.0 -m 'Version 1.2.0'\n"
