"""Settings: what is read, what is refused, and in which words."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import settings
from docs.settings_page import settings_page
from settings import SettingsError, load, load_or_exit

ROOT = Path(settings.__file__).parent
CANARY = "canary-4711"


def problems(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[str]:
    for name, value in variables.items():
        monkeypatch.setenv(f"MOMENTUS_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load()
    return caught.value.problems


def secret_file(folder: Path, text: str, mode: int = 0o600) -> str:
    path = folder / "secret"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_nothing_set_is_a_safe_start() -> None:
    defaults = load()
    assert defaults.redis_url is None
    assert defaults.mail.mode == "sink"
    assert defaults.reader.access == "session"
    assert {defaults.reader.host, defaults.console.host} == {"127.0.0.1"}


def test_every_setting_can_be_given_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTUS_REDIS_URL", "rediss://:secret@db.example:6380/1")
    monkeypatch.setenv("MOMENTUS_WORKER__LEASE", "20s")
    monkeypatch.setenv("MOMENTUS_REPORTS__PATH", "~/reports")
    monkeypatch.setenv("MOMENTUS_CONSOLE__PORT", "0")
    found = load()
    assert found.redis_url is not None
    assert found.redis_url.get_secret_value() == "rediss://:secret@db.example:6380/1"
    assert found.worker.lease == timedelta(seconds=20)
    assert found.reports.path == Path.home() / "reports"
    assert found.console.port == 0


def test_a_variable_that_is_set_but_empty_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTUS_MAIL__HOST", "")
    monkeypatch.setenv("MOMENTUS_MAIL__PASSWORD_FILE", "")
    assert load().mail.host is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 10), ("2.5", 2.5), ("1500ms", 1.5), ("10s", 10), ("5m", 300), ("1h", 3600), ("PT1M30S", 90)],
)
def test_a_duration_is_seconds_or_a_number_with_a_unit_or_iso(
    monkeypatch: pytest.MonkeyPatch, text: str, seconds: float
) -> None:
    monkeypatch.setenv("MOMENTUS_WORKER__GRACE", text)
    assert load().worker.grace == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "WORKER__LEASE",
            "6m",
            "MOMENTUS_WORKER__LEASE='6m': input should be less than or equal to 5 minutes",
        ),
        ("WORKER__LEASE", "soon", "MOMENTUS_WORKER__LEASE='soon': "),
        ("MAIL__PORT", "0", "MOMENTUS_MAIL__PORT='0': input should be greater than or equal to 1"),
        ("MAIL__CONNECTIONS", "201", "MOMENTUS_MAIL__CONNECTIONS='201': "),
        ("MAIL__SENDER", "nobody", "MOMENTUS_MAIL__SENDER='nobody': "),
        ("MAIL__SENDER", "A <a@b.example>\nBcc: c@d.example", "MOMENTUS_MAIL__SENDER="),
        ("MAIL__TLS", "maybe", "MOMENTUS_MAIL__TLS='maybe': input should be 'required', 'implicit' or 'off'"),
        ("TENANT", "Acme", "MOMENTUS_TENANT='Acme': "),
        ("TIMEZONE", "Colombia", "MOMENTUS_TIMEZONE='Colombia': unknown time zone"),
        ("TIMEZONE", "../../etc/passwd", "MOMENTUS_TIMEZONE='../../etc/passwd': unknown time zone"),
        ("READER__HOST", "http://x", "MOMENTUS_READER__HOST='http://x': not a host name or address"),
        ("CONSOLE__HOST", "0.0.0.0", "MOMENTUS_CONSOLE__HOST='0.0.0.0': is reachable from other machines"),  # noqa: S104
    ],
)
def test_a_value_outside_its_limits_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    (problem,) = problems(monkeypatch, **{name: value})
    assert problem.startswith(line)
    assert "; allowed: " in problem


def test_all_mistakes_are_named_at_once_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(
        monkeypatch,
        TENNANT="x",
        TENANT="X",
        MAIL__PORT="x",
        WORKER__LEASE="0",
        REDIS_URL="http://x",
        MAIL__PASSWORD_FILE="/nowhere",
    )
    assert sorted(line.partition("=")[0].split()[0].rstrip(":") for line in found) == [
        "MOMENTUS_MAIL__PASSWORD_FILE",
        "MOMENTUS_MAIL__PORT",
        "MOMENTUS_REDIS_URL",
        "MOMENTUS_TENANT",
        "MOMENTUS_TENNANT",
        "MOMENTUS_WORKER__LEASE",
    ]
    assert not any("\n" in line for line in found)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("REDIS_URI", "MOMENTUS_REDIS_URL"),
        ("WORKER_LEASE", "MOMENTUS_WORKER__LEASE"),
        ("MAIL__PASWORD_FILE", "MOMENTUS_MAIL__PASSWORD_FILE"),
        ("TENANT_FILE", "MOMENTUS_TENANT"),
    ],
)
def test_an_unknown_name_is_refused_and_the_nearest_suggested(
    monkeypatch: pytest.MonkeyPatch, wrong: str, right: str
) -> None:
    assert problems(monkeypatch, **{wrong: "x"}) == [f"MOMENTUS_{wrong}: does not exist; did you mean {right}?"]


@pytest.mark.parametrize("value", ["8710", '{"port": 8710}', '{"port": '])
def test_a_whole_section_cannot_be_given_as_one_value(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    (problem,) = problems(monkeypatch, READER=value)
    assert problem.startswith("MOMENTUS_READER: does not exist")


@pytest.mark.parametrize(
    ("variables", "remedy"),
    [
        (
            {"WORKER__LEASE": "6s"},
            "MOMENTUS_WORKER__LEASE_RENEW: must be less than half of MOMENTUS_WORKER__LEASE",
        ),
        ({"MAIL__HOST": "smtp.x.example"}, "set MOMENTUS_MAIL__MODE=live"),
        ({"MAIL__MODE": "live"}, "set MOMENTUS_MAIL__HOST or __ACCOUNTS"),
        (
            {"MAIL__HOST": "x.example", "MAIL__MODE": "live", "MAIL__TLS": "off"},
            "set it to required or implicit",
        ),
        ({"MAIL__USERNAME": "ana"}, "set both or none"),
        ({"READER__ACCESS": "open", "READER__HOST": "0.0.0.0"}, "set it to session"),  # noqa: S104  the wrong value
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], remedy: str
) -> None:
    (problem,) = problems(monkeypatch, **variables)
    assert problem.startswith("MOMENTUS_")
    assert problem.endswith(remedy)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_what_is_only_for_this_machine_is_allowed_on_loopback_hosts(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("MOMENTUS_MAIL__HOST", host)
    monkeypatch.setenv("MOMENTUS_MAIL__TLS", "off")
    monkeypatch.setenv("MOMENTUS_READER__HOST", host)
    monkeypatch.setenv("MOMENTUS_READER__ACCESS", "open")
    monkeypatch.setenv("MOMENTUS_CONSOLE__HOST", host)
    assert load().mail.host == host


def test_a_secret_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOMENTUS_MAIL__USERNAME", "ana")
    monkeypatch.setenv("MOMENTUS_MAIL__PASSWORD_FILE", secret_file(tmp_path, f" {CANARY} \n"))
    password = load().mail.password
    assert password is not None
    assert password.get_secret_value() == f" {CANARY} "


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        (CANARY, 0o604, "every user of this machine can read"),
        ("\n", 0o600, "is empty"),
        (CANARY, 0o600, "has an unsupported scheme or no address"),
    ],
)
def test_a_secret_file_that_is_open_to_all_or_wrong_is_refused_without_its_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, mode: int, reason: str
) -> None:
    (problem,) = problems(monkeypatch, REDIS_URL_FILE=secret_file(tmp_path, text, mode))
    assert reason in problem
    assert CANARY not in problem


def test_a_secret_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = secret_file(tmp_path, "redis://b")
    (problem,) = problems(monkeypatch, REDIS_URL="redis://a", REDIS_URL_FILE=file)
    assert problem.endswith("keep one of them")


@pytest.mark.parametrize("name", ["REDIS_URL", "POSTGRES_DSN"])
def test_the_value_of_a_refused_secret_is_in_no_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (problem,) = problems(monkeypatch, **{name: f"http://u:{CANARY}@h"})
    assert problem.startswith(f"MOMENTUS_{name}: has an unsupported scheme or no address")
    with pytest.raises(SystemExit):
        load_or_exit()
    assert CANARY not in problem + "".join(capsys.readouterr())


def test_settings_can_be_printed_without_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTUS_REDIS_URL", f"redis://u:{CANARY}@h")
    monkeypatch.setenv("MOMENTUS_POSTGRES_DSN", f"postgresql://u:{CANARY}@h/d")
    monkeypatch.setenv("MOMENTUS_MAIL__USERNAME", "ana")
    monkeypatch.setenv("MOMENTUS_MAIL__PASSWORD", CANARY)
    assert CANARY not in f"{load()} {load()!r} {load().model_dump_json()}"


def test_wrong_settings_end_a_process_with_code_2_and_the_reasons_on_stderr() -> None:
    program = "import settings; settings.load_or_exit()"
    variables = {"MOMENTUS_TENANT": "X", "MOMENTUS_MAIL__PORT": "x"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "MOMENTUS_TENANT='X'" in done.stderr
    assert "MOMENTUS_MAIL__PORT='x'" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_setting_says_what_it_means_and_what_is_allowed() -> None:
    for name, field in settings.each_field():
        assert (field.description or "").endswith("."), name
        assert settings.allowed_values(field), name


def test_the_page_of_settings_is_the_settings() -> None:
    written = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert written == settings_page(), "write it again: ./run settings > docs/settings.md"
