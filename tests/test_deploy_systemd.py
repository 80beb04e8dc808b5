"""The units of deploy/systemd: systemd reads them, they are hardened, and what they set are settings of ours."""

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from settings import each_field, is_secret, load, to_duration

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy/systemd"
UNITS = sorted(FOLDER.glob("*.service"))
MOST_EXPOSED = 1.5
"""Of 10, by `systemd-analyze security`: what is left is the network, and this machine's files to read."""
SECRETS = {name for name, field in each_field() if is_secret(field)}
SETTINGS = {name for name, _ in each_field()} | {f"{name}_FILE" for name in SECRETS}
RECORDING_S = 5
"""Beyond its grace, a worker's process ends after these."""
CLIENTS_S = 5
"""For which a reader or console that stops waits for its clients."""

analysed = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def lines_of(unit: Path, key: str) -> list[str]:
    """The values of a key, those in comments included."""
    return re.findall(rf"^(?:# )?{key}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)


def environment_file() -> dict[str, str]:
    text = (FOLDER / "momentus.env").read_text(encoding="utf-8")
    return dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", text, re.MULTILINE))


def placed(unit: Path, folder: Path, text: str = "") -> Path:
    """A copy of the unit whose program is the one of this repository."""
    copy = folder / unit.name
    text = text or unit.read_text(encoding="utf-8")
    copy.write_text(text.replace("/opt/momentus/run", str(ROOT / "run")), encoding="utf-8")
    return copy


def analyse(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("systemd-analyze") or "", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def seconds(text: str) -> float:
    span = to_duration(text)
    assert isinstance(span, timedelta)
    return span.total_seconds()


def verify(unit: Path) -> str:
    """What systemd has to say of a unit; nothing if all is well."""
    checked = analyse("verify", "--man=no", "--recursive-errors=no", unit)
    return checked.stderr or "refused" * checked.returncode


@analysed
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    assert verify(placed(unit, tmp_path)) == ""


@analysed
def test_a_misspelt_key_in_a_unit_would_be_found(tmp_path: Path) -> None:
    text = UNITS[0].read_text(encoding="utf-8").replace("WatchdogSec", "WatchdogSecs")
    assert "WatchdogSecs" in verify(placed(UNITS[0], tmp_path, text))


@analysed
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_exposed_to_no_more_than_it_needs(unit: Path, tmp_path: Path) -> None:
    bound = f"--threshold={MOST_EXPOSED * 10:.0f}"
    checked = analyse("security", "--offline=yes", bound, placed(unit, tmp_path))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@analysed
def test_a_unit_without_its_hardening_would_be_found(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^(Protect|Restrict|SystemCall|Capability).*\n", "", UNITS[0].read_text(encoding="utf-8"))
    bound = f"--threshold={MOST_EXPOSED * 10:.0f}"
    assert analyse("security", "--offline=yes", bound, placed(UNITS[0], tmp_path, text)).returncode != 0


def test_what_the_units_set_are_settings_that_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {line.partition("=")[0] for unit in UNITS for line in lines_of(unit, "Environment")}
    assert named | set(environment_file()) <= SETTINGS
    for name, value in environment_file().items():
        if not value.startswith("/"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("MOMENTUS_MAIL__PASSWORD", "of a file")
    load()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_each_secret_of_a_unit_is_a_credential_that_it_loads(unit: Path) -> None:
    loaded = {line.partition(":")[0] for line in lines_of(unit, "LoadCredential")}
    read = {line.partition("=%d/")[2] for line in lines_of(unit, "Environment")}
    assert loaded
    assert read == loaded
    assert not SECRETS & set(environment_file()), "a secret stands in the file that everybody may read"


def test_a_process_has_longer_to_stop_than_it_may_take() -> None:
    grace = seconds(environment_file()["MOMENTUS_WORKER__GRACE"])
    for unit in UNITS:
        (stop,) = lines_of(unit, "TimeoutStopSec")
        assert seconds(stop) > RECORDING_S + (grace if "worker" in unit.name else CLIENTS_S), unit.name


def test_each_process_of_the_procfile_has_its_unit() -> None:
    names = [line.partition(":")[0] for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()]
    assert {unit.stem for unit in UNITS} == {f"momentus-{name}" for name in names}
    for unit in UNITS:
        assert lines_of(unit, "ExecStart") == [f"/opt/momentus/run {unit.stem.removeprefix('momentus-')}"]
