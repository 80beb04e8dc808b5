"""The manifests of deploy/kubernetes: Kubernetes takes them, and names, ports and paths in them are ours."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from metrics.listener import LIVE, READY
from metrics.place import ListenPlace
from settings import each_field, is_secret, load, to_duration

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy/kubernetes"
FILES = sorted(file for file in FOLDER.glob("*.yaml") if file.name != "kustomization.yaml")
VERSIONS = ("1.31", "1.34", "1.37")
SECRETS = {name for name, field in each_field() if is_secret(field)}
SETTINGS = {name for name, _ in each_field()} | {f"{name}_FILE" for name in SECRETS}
LISTENS = (
    "MOMENTUS_METRICS__WORKER",
    "MOMENTUS_METRICS__REPORTS",
    "MOMENTUS_READER__PORT",
    "MOMENTUS_CONSOLE__PORT",
)
PATHS = {"worker": {LIVE, READY}, "reader": {"/healthz", READY}, "console": {LIVE, READY}}
"""Of each process's probes; the acceptance tests of health and reader ask for them."""
ENDING_S = 5
"""Beyond its grace a worker's process ends after these; a reader or console waits as long for its clients."""

Document = dict[str, Any]


def documents(kind: str = "") -> list[Document]:
    found = [one for file in FILES for one in YAML(typ="safe").load_all(file)]
    return [one for one in found if one["kind"] == kind or not kind]


def name_of(document: Document) -> str:
    return str(document["metadata"]["name"]).removeprefix("momentus-")


def container(deployment: Document) -> Document:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(only)


def variables(deployment: Document) -> dict[str, str]:
    (shared,) = documents("ConfigMap")
    return {**shared["data"], **{one["name"]: one["value"] for one in container(deployment)["env"]}}


def probes(deployment: Document) -> list[Document]:
    return [probe for name, probe in container(deployment).items() if name.endswith("Probe")]


DEPLOYMENTS = [pytest.param(one, id=name_of(one)) for one in documents("Deployment")]


def validate(version: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", version, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_manifest_fits_the_schema_of_kubernetes(version: str) -> None:
    checked = validate(version, *FILES)
    assert (checked.returncode, "WARN" in checked.stdout) == (0, False), checked.stdout
    assert not [file for file in FILES if f"{file} passed" not in checked.stdout]


def test_a_misspelt_field_of_a_manifest_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "worker.yaml"
    text = (FOLDER / "worker.yaml").read_text(encoding="utf-8")
    wrong.write_text(text.replace("readinessProbe", "readynessProbe"), encoding="utf-8")
    assert validate(VERSIONS[-1], wrong).returncode != 0


def test_each_manifest_is_applied_and_each_process_has_its_own() -> None:
    listed = YAML(typ="safe").load(FOLDER / "kustomization.yaml")["resources"]
    assert sorted(listed) == [file.name for file in FILES]
    processes = [line.partition(":")[0] for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()]
    assert sorted(map(name_of, documents("Deployment"))) == sorted(processes)


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_what_a_deployment_sets_are_settings_that_fit_together(
    deployment: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables(deployment).items():
        assert name in SETTINGS
        if name.endswith("_FILE"):
            monkeypatch.setenv(name.removesuffix("_FILE"), "postgresql://a" if "DSN" in name else "redis://a")
        else:
            monkeypatch.setenv(name, value)
    load()
    assert not SECRETS & set(variables(deployment))
    assert deployment["spec"]["template"]["spec"]["enableServiceLinks"] is False, (
        "MOMENTUS_READER_PORT, of a Service"
    )


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_each_secret_file_of_a_deployment_is_mounted_from_the_secret(deployment: Document) -> None:
    (secret,) = documents("Secret")
    volumes = {one["name"]: one for one in deployment["spec"]["template"]["spec"]["volumes"]}
    (place,) = [one["mountPath"] for one in container(deployment)["volumeMounts"] if one["name"] == "secrets"]
    mounted = {f"{place}/{item['path']}": item["key"] for item in volumes["secrets"]["secret"]["items"]}
    assert set(mounted) == {value for name, value in variables(deployment).items() if name.endswith("_FILE")}
    assert set(mounted.values()) <= set(secret["stringData"])
    assert not volumes["secrets"]["secret"]["defaultMode"] & 0o007, "the settings refuse such a file"


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_the_ports_of_a_deployment_are_those_on_which_its_process_listens(deployment: Document) -> None:
    set_places = [value for name, value in variables(deployment).items() if name in LISTENS]
    ports = {one["containerPort"] for one in container(deployment)["ports"]}
    assert ports == {ListenPlace.read(place).port for place in set_places}


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_the_probes_of_a_deployment_ask_a_port_and_paths_that_its_process_has(deployment: Document) -> None:
    names = {one["name"]: one["containerPort"] for one in container(deployment)["ports"]}
    asked = set()
    for probe in probes(deployment):
        if http := probe.get("httpGet"):
            assert http["port"] in names
            asked.add(http["path"])
        else:
            (found,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", probe["exec"]["command"][-1])
            assert int(found[0]) in names.values()
            asked.add(found[1])
    assert len(probes(deployment)) == 3
    assert asked == PATHS[name_of(deployment)]


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_pod_has_longer_to_stop_than_its_process_may_take(deployment: Document) -> None:
    given = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    grace = to_duration(variables(deployment).get("MOMENTUS_WORKER__GRACE", "5s"))
    hook = (
        container(deployment)
        .get("lifecycle", {})
        .get("preStop", {})
        .get("exec", {})
        .get("command", ["sleep", "0"])
    )
    assert given > grace.total_seconds() + ENDING_S + int(hook[1])  # type: ignore[attr-defined]  # a duration


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_pod_runs_without_rights_that_it_does_not_need(deployment: Document) -> None:
    pod, only = deployment["spec"]["template"]["spec"], container(deployment)
    user = re.search(r"^USER (\d+)$", (ROOT / "Containerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert user
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == int(user[1])
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_what_selects_pods_selects_those_of_a_deployment() -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in documents("Deployment")]
    for one in documents():
        spec = one.get("spec", {})
        chosen = spec.get("podSelector", spec.get("selector", {}))
        chosen = chosen.get("matchLabels", chosen)
        if chosen:
            assert any(chosen.items() <= pod.items() for pod in labels), one["metadata"]
    assert {name_of(one) for one in documents("PodDisruptionBudget")} == {"worker", "reader"}
