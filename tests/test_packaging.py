"""What is handed to others: pinned packages without addresses, a compose file that is one, settings that exist."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from ruamel.yaml import YAML

from metrics.listener import READY
from settings import load, to_duration

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WRITTEN = PROJECT["dependency-groups"]


def group(name: str) -> list[str]:
    """A dependency group with what it includes (PEP 735)."""
    return [
        one
        for entry in WRITTEN[name]
        for one in ([entry] if isinstance(entry, str) else group(entry["include-group"]))
    ]


GROUPS = {name: group(name) for name in WRITTEN}
RUNTIME = [*PROJECT["project"]["dependencies"], *GROUPS["runtime"]]
LOCKS = {
    "requirements/runtime.txt": RUNTIME,
    "requirements/image.txt": [*RUNTIME, *GROUPS["microsoft"], *GROUPS["google"]],
    "requirements/dev.txt": [*RUNTIME, *GROUPS["embedded"], *GROUPS["dev"]],
}

# In pieces, so that this file does not hold the words it looks for.
HOSTS = [
    ".".join(pieces)
    for pieces in [
        ("pypi", "org"),
        ("python" + "hosted", "org"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("gcr", "io"),
        ("quay", "io"),
        ("azure" + "cr", "io"),
        ("public", "ecr", "aws"),
        ("mcr", "microsoft"),
        ("registry", "npmjs"),
        ("npm" + "js", "org"),
        ("proxy", "golang"),
        ("static", "crates"),
        ("jfrog", "io"),
    ]
] + ["arti" + "factory", "dev" + "pi"]
OPTIONS = [
    "-".join(pieces) for pieces in [("index", "url"), ("find", "links"), ("trusted", "host"), ("extra", "index")]
]


def lock_entries(name: str) -> dict[str, str]:
    """A requirements file as its entries: the line `name==version ; marker` to the hashes below it."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", "")
    return dict(line.partition(" --hash=")[::2] for line in text.splitlines() if line.strip())


def pinned(name: str) -> dict[str, Version]:
    """Package to version."""
    requirements = [Requirement(line) for line in lock_entries(name)]
    return {wanted.name: Version(str(wanted.specifier).removeprefix("==")) for wanted in requirements}


def forbidden(text: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word in text.lower()]


def files() -> list[Path]:
    """Every file that is or could be committed; without git, every file outside hidden folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        return [
            p
            for p in ROOT.rglob("*")
            if p.is_file() and not any(x.startswith(".") for x in p.relative_to(ROOT).parts)
        ]
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


# ---- pinned packages


@pytest.mark.parametrize("name", [*LOCKS, "pyproject.toml"])
def test_no_list_of_packages_carries_an_address_or_an_index(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not forbidden(text, OPTIONS)
    assert (
        not re.search(r"^\s*-(?!-hash)", text.replace("    --hash", "--hash"), re.MULTILINE) or name not in LOCKS
    )
    assert not {"index", "sources", "find-links"} & set(PROJECT["tool"].get("uv", {}))


def test_no_file_names_the_host_of_a_registry() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {word}"
        for file in files()
        for word in forbidden(file.read_text(encoding="utf-8", errors="ignore"), HOSTS)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("word", [*HOSTS, *OPTIONS])
def test_the_search_for_hosts_and_options_finds_them(word: str) -> None:
    assert forbidden(f"x https://{word.upper()}/simple", [*HOSTS, *OPTIONS])


@pytest.mark.parametrize("name", LOCKS)
def test_every_pinned_package_has_its_hashes(name: str) -> None:
    entries = lock_entries(name)
    assert entries
    assert all(
        re.fullmatch(r"sha256:[0-9a-f]{64}( +--hash=sha256:[0-9a-f]{64})*", hashes) for hashes in entries.values()
    )


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, wanted in LOCKS.items() for text in wanted])
def test_the_pinned_version_is_one_that_pyproject_asks_for(name: str, text: str) -> None:
    wanted, versions = Requirement(text), pinned(name)
    assert versions[wanted.name] in wanted.specifier
    assert wanted.extras <= set(versions)  # our one extra, redis[hiredis], is named like the package it brings


def test_what_runs_is_a_subset_of_what_is_tested() -> None:
    runs, image, tested = (
        lock_entries(f"requirements/{name}.txt").items() for name in ("runtime", "image", "dev")
    )
    assert runs <= image <= tested


# ---- compose.yaml and Containerfile


def compose_text() -> str:
    return (ROOT / "compose.yaml").read_text(encoding="utf-8")


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = YAML(typ="safe").load(StringIO(compose_text()))["services"]
    return found


def check_compose(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compose_yaml_is_a_valid_compose_file() -> None:
    checked = check_compose(ROOT / "compose.yaml")
    assert checked.returncode == 0, checked.stdout


def test_a_misspelt_key_in_compose_yaml_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(compose_text().replace("stop_grace_period", "stop_grace_perid", 1), encoding="utf-8")
    checked = check_compose(wrong)
    assert checked.returncode != 0
    assert "stop_grace_perid" in checked.stdout


@pytest.mark.parametrize("name", services())
def test_the_settings_of_a_service_are_settings(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for variable, value in services()[name].get("environment", {}).items():
        monkeypatch.setenv(variable, str(value))
    load()


def test_a_service_waits_until_what_it_needs_is_healthy() -> None:
    for name, service in services().items():
        for needed, terms in service.get("depends_on", {}).items():
            assert terms["condition"] == "service_healthy", f"{name} on {needed}"
            assert "healthcheck" in services()[needed], needed


def test_a_health_check_asks_a_port_and_path_of_its_process() -> None:
    asked = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", compose_text())
    assert asked == [
        (services()["worker"]["environment"]["MOMENTUS_METRICS__WORKER"], READY),
        ("8710", "/healthz"),
    ]
    assert "127.0.0.1:8710:8710" in services()["reader"]["ports"]


def test_a_worker_has_longer_to_stop_than_it_gives_its_jobs() -> None:
    worker = services()["worker"]
    grace = to_duration(worker["environment"]["MOMENTUS_WORKER__GRACE"])
    assert to_duration(worker["stop_grace_period"]) > grace  # type: ignore[operator]


def test_our_processes_run_without_rights_they_do_not_need() -> None:
    for name in ("worker", "reader", "console"):
        service = services()[name]
        assert service["user"] != "0"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_every_port_is_published_to_this_machine_only() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_an_image_is_named_without_the_host_it_comes_from() -> None:
    containerfile = (ROOT / "Containerfile").read_text(encoding="utf-8")
    images = [service["image"] for service in services().values()] + re.findall(
        r"^FROM (\S+)", containerfile, re.MULTILINE
    )
    assert not [image for image in images if re.match(r"[^/]*[.:][^/]*/", image)]


def test_the_image_holds_every_room_and_no_more_than_what_runs() -> None:
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    rooms = [
        "jobs",
        "producers",
        "sessions",
        "reports",
        "ledger",
        "metrics",
        "worker",
        "reader",
        "ops",
        "client/package",
    ]
    files = [
        "run",
        "requirements/image.txt",
        "settings.py",
        "log.py",
        "background.py",
        "clocks.py",
        "durations.py",
        "hosts.py",
    ]
    assert sorted(let_in) == sorted([*files, *rooms])


def test_the_image_installs_the_pinned_packages_that_run_needs_and_keeps_no_installer() -> None:
    packages, image = (ROOT / "Containerfile").read_text(encoding="utf-8").split("\nFROM ")[-2:]
    assert "venv --without-pip .venv" in packages
    assert "--require-hashes --only-binary :all: -r requirements/image.txt" in packages
    assert "cp requirements/image.txt .venv/.complete" in packages, "or ./run would want to make it again"
    assert "COPY --from=packages /app/.venv .venv" in image
    assert "pip uninstall --yes" in image
    assert "ensurepip" in image
    assert " install " not in image


def test_the_processes_of_the_procfile_are_commands_of_run() -> None:
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    assert [line.split(": ") for line in lines] == [
        [name, f"./run {name}"] for name in ("worker", "reader", "console")
    ]
