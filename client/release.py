"""Checks of a release before its tag is set: ``./run release --check``.

A release is a commit whose version (``client/package/__init__.py``) is dated in CHANGELOG.md and is in the wheel
that the commit builds, whose pinned packages are those of pyproject.toml, and whose tag is ``v<version>``. All
complaints are printed, each with its remedy; exit code 0 means that the tag may be set. Nothing is changed: no tag
is set, nothing is uploaded.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from client.wheel import PACKAGE, BrokenWheel, Wheel, build_wheel

ROOT = Path(__file__).resolve().parents[1]
VERSION_FILE = "client/package/__init__.py"
_VERSION = re.compile(r'^__version__ = "([^"\n]*)"$', re.MULTILINE)
_SECTION = re.compile(r"^## \[?([^]\n ]+)\]?([^\n]*)\n", re.MULTILINE)
_DATED = re.compile(r" - (\d{4}-\d{2}-\d{2})")
_RELEASE = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True)
class ReleaseFacts:
    """The facts that the checks need.

    Args:
        version: ``__version__`` of the client.
        changelog: Text of CHANGELOG.md.
        project: The table ``project`` of pyproject.toml.
        wheel: The wheel that this checkout builds, or the builder's error.
        status: Output of ``git status --porcelain``.
        tags: Each tag ``v...`` with the commit it names.
        head: The commit that is checked out.
        stale_locks: Output of ``./run lock --check``; empty if the locks are current.
        today: The date in UTC.
    """

    version: str
    changelog: str
    project: dict[str, Any]
    wheel: Wheel | BrokenWheel
    status: str
    tags: dict[str, str]
    head: str
    stale_locks: str
    today: date


Check = Callable[[ReleaseFacts], Iterator[str]]


def check_version(facts: ReleaseFacts) -> Iterator[str]:
    """Yield a complaint unless the version is three numbers (Semantic Versioning)."""
    if not _RELEASE.fullmatch(facts.version):
        yield f"{VERSION_FILE}: __version__ is not MAJOR.MINOR.PATCH ({facts.version!r}); write three numbers"


def check_changelog(facts: ReleaseFacts) -> Iterator[str]:
    """Yield complaints unless the changelog has an empty `Unreleased`, then this version, dated and filled."""
    sections = changelog_sections(facts.changelog)
    if not sections or sections[0].title != "Unreleased":
        yield "CHANGELOG.md: has no section [Unreleased] at its head; add one, empty"
    elif sections[0].text:
        yield f"CHANGELOG.md: [Unreleased] has lines; move them to the section [{facts.version}]"
    released = [section for section in sections if section.title != "Unreleased"]
    if not released or released[0].title != facts.version:
        newest = released[0].title if released else "none"
        yield f"CHANGELOG.md: the newest version is {newest}, not {facts.version}; add its section"
        return
    yield from _check_section(released[0], facts.today)


def _check_section(section: "ChangelogSection", today: date) -> Iterator[str]:
    dated = _DATED.fullmatch(section.rest)
    if not dated or not _is_date(dated[1]):
        yield f"CHANGELOG.md: [{section.title}] has no date; write ## [{section.title}] - {today}"
    elif date.fromisoformat(dated[1]) > today:
        yield f"CHANGELOG.md: [{section.title}] is dated in the future ({dated[1]}); today is {today} (UTC)"
    if not section.text:
        yield f"CHANGELOG.md: [{section.title}] is empty; write what users notice"


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class ChangelogSection:
    """A section of the changelog: the title in brackets, the rest of the heading, the text without headings."""

    title: str
    rest: str
    text: str


def changelog_sections(changelog: str) -> list[ChangelogSection]:
    """Split a changelog at its headings of the second level."""
    found = list(_SECTION.finditer(changelog))
    ends = [*(heading.start() for heading in found[1:]), len(changelog)]
    return [
        ChangelogSection(heading[1], heading[2].rstrip(), _without_headings(changelog[heading.end() : end]))
        for heading, end in zip(found, ends, strict=False)
    ]


def _without_headings(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("#")).strip()


def check_wheel(facts: ReleaseFacts) -> Iterator[str]:
    """Yield complaints unless the wheel builds, with the metadata of pyproject.toml."""
    if isinstance(facts.wheel, BrokenWheel):
        yield f"wheel: cannot be built: {facts.wheel}"
        return
    yield from _check_metadata(facts.wheel, facts)
    for needed in (f"{PACKAGE}/__init__.py", f"{PACKAGE}/py.typed"):
        if needed not in facts.wheel.names:
            yield f"wheel: {needed} is missing; see [tool.hatch] in pyproject.toml"


def _check_metadata(wheel: Wheel, facts: ReleaseFacts) -> Iterator[str]:
    metadata, project = wheel.metadata, facts.project
    expected = {
        "Name": project["name"],
        "Version": facts.version,
        "Summary": project["description"],
        "License-Expression": project["license"],
    }
    for field, value in expected.items():
        if metadata[field] != value:
            yield f"wheel: {field} is {metadata[field]!r}; pyproject.toml has {value!r}"
    if SpecifierSet(metadata["Requires-Python"] or "") != SpecifierSet(project["requires-python"]):
        yield f"wheel: Requires-Python is {metadata['Requires-Python']!r}, not {project['requires-python']!r}"
    needed = {Requirement(text) for text in metadata.get_all("Requires-Dist", [])}
    if {one for one in needed if one.marker is None} != {Requirement(text) for text in project["dependencies"]}:
        yield "wheel: Requires-Dist differs from the dependencies of pyproject.toml"
    if set(metadata.get_all("Provides-Extra", [])) != set(project.get("optional-dependencies", {})):
        yield "wheel: Provides-Extra differs from the optional dependencies of pyproject.toml"


def check_tree(facts: ReleaseFacts) -> Iterator[str]:
    """Yield a complaint unless everything is committed: the tag must name what is released."""
    if facts.status:
        names = ", ".join(line[3:] for line in facts.status.splitlines()[:5])
        yield f"git: not everything is committed ({names}); commit or remove it"


def check_tag(facts: ReleaseFacts) -> Iterator[str]:
    """Yield complaints unless the tag is free or names this commit, and this commit has no other version."""
    tag = f"v{facts.version}"
    if facts.tags.get(tag, facts.head) != facts.head:
        yield f"git: tag {tag} names another commit ({facts.tags[tag][:12]}); raise the version in {VERSION_FILE}"
    others = sorted(name for name, commit in facts.tags.items() if commit == facts.head and name != tag)
    if others:
        yield f"git: this commit is tagged {', '.join(others)} and says {facts.version}; one of them is wrong"


def check_locks(facts: ReleaseFacts) -> Iterator[str]:
    """Yield a complaint unless the pinned packages follow from pyproject.toml."""
    if facts.stale_locks:
        yield f"lock files: {facts.stale_locks}"


CHECKS: list[Check] = [check_version, check_changelog, check_wheel, check_tree, check_tag, check_locks]


def find_complaints(facts: ReleaseFacts) -> list[str]:
    """Return all complaints, in the order of the checks."""
    return [complaint for check in CHECKS for complaint in check(facts)]


# ---- input and output: git, files, the wheel's builder


def read_facts(root: Path) -> ReleaseFacts:
    """Collect the facts of a checkout; builds the wheel in a temporary folder."""
    version = _VERSION.search((root / VERSION_FILE).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        return ReleaseFacts(
            version=version[1] if version else "",
            changelog=(root / "CHANGELOG.md").read_text(encoding="utf-8"),
            project=tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"],
            wheel=_built(root, Path(scratch)),
            status=_output(root, "git", "status", "--porcelain"),
            tags=_tags(root),
            head=_output(root, "git", "rev-parse", "HEAD"),
            stale_locks=_lock_check(root),
            today=datetime.now(UTC).date(),
        )


def _built(root: Path, folder: Path) -> Wheel | BrokenWheel:
    try:
        return build_wheel(root, folder)
    except BrokenWheel as broken:
        return broken


def _tags(root: Path) -> dict[str, str]:
    """Return each tag with its commit; an annotated tag is followed."""
    tags = _output(root, "git", "tag", "--list", "v[0-9]*").splitlines()
    return {tag: _output(root, "git", "rev-parse", f"{tag}^{{commit}}") for tag in tags}


def _output(root: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603  git, by name
    return done.stdout.rstrip("\n")


def _lock_check(root: Path) -> str:
    done = subprocess.run(  # noqa: S603  our own script
        [root / "run", "lock", "--check"], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else (done.stderr.strip() or "./run lock --check failed")


def main(arguments: list[str]) -> int:
    """Print the complaints, or the command that sets the tag."""
    parser = argparse.ArgumentParser(prog="./run release", description="Check what a release must hold.")
    parser.add_argument("--check", action="store_true", required=True, help="check only; change nothing")
    parser.parse_args(arguments)
    facts = read_facts(ROOT)
    found = find_complaints(facts)
    for complaint in found:
        print(complaint, file=sys.stderr)
    if not found:
        print(f"{facts.version} is ready: git tag -a v{facts.version} -m 'Version {facts.version}'")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
