"""The one door: ./run sets itself up on a bare machine, survives what may happen to it, and knows its words.

The script is copied to a folder of the test's own, with a space in its name. Package installers are not run
here, since tests do not use the network: `uv` is a small script that builds the environment from this very
interpreter, writes down that it was called, and can be told to wait half-way.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import eventually

ROOT = Path(__file__).resolve().parents[1]
SHELLS = [shell for shell in ("sh", "dash") if shutil.which(shell)]
MADE_FROM = (
    *("run", "durations.py", "settings.py", "docs/settings_page.py", ".githooks/pre-commit"),
    *("requirements/runtime.txt", "requirements/image.txt", "requirements/dev.txt", "pyproject.toml"),
)

UV = """#!/bin/sh
# uv venv --python X FOLDER, or uv pip install ...: a line in the log for each, a pause where one is asked for.
echo "$1" >>"{folder}/calls"
if [ "$1" = venv ]; then
    mkdir -p "$4/bin"
    printf '#!/bin/sh\\nexec "{python}" "$@"\\n' >"$4/bin/python"
    chmod +x "$4/bin/python"
fi
while [ "$1" = pip ] && [ -e "{folder}/pause" ]; do sleep 0.02; done
"""


@dataclass(kw_only=True)
class Checkout:
    """A copy of the script with tools of its own."""

    folder: Path
    tools: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *words: str, path: str | None = None) -> subprocess.Popen[str]:
        """Run it as a bare machine would: no environment, from another folder, in a process group of its own."""
        process = subprocess.Popen(
            [self.folder / "run", *words],
            cwd="/",
            env={"PATH": path or f"{self.tools}:/usr/bin:/bin", "HOME": str(self.tools)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *words: str, path: str | None = None) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        process = self.start(*words, path=path)
        out, err = process.communicate()
        return process.returncode, out, err

    def calls(self) -> list[str]:
        """What was asked of uv so far."""
        log = self.tools / "calls"
        return log.read_text().split() if log.exists() else []

    def proof(self) -> Path:
        """The file that says that the set-up is complete."""
        return self.folder / ".venv/.complete"


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    made = Checkout(folder=tmp_path / "a checkout", tools=tmp_path / "tools")
    made.tools.mkdir()
    for name in MADE_FROM:
        (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, made.folder / name)
    tool(made.tools / "uv", UV.format(folder=made.tools, python=sys.executable))
    tool(made.tools / "python3.14", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    yield made
    for process in made.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def tool(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_plain_posix_shell(shell: str) -> None:
    checked = subprocess.run([shell, "-n", ROOT / "run"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_first_call_prepares_and_the_second_finds_it_done(checkout: Checkout) -> None:
    first = checkout.run("settings")
    assert first[:2] == (0, (ROOT / "docs/settings.md").read_text(encoding="utf-8"))
    assert "preparing .venv" in first[2]
    assert checkout.calls() == ["venv", "pip"]
    assert checkout.run("settings") == (0, first[1], "")
    assert checkout.calls() == ["venv", "pip"]


def test_a_changed_list_of_packages_is_installed_anew(checkout: Checkout) -> None:
    checkout.run("settings")
    (checkout.folder / ".venv/left-over").touch()
    (checkout.folder / "requirements/dev.txt").write_text("changed")
    assert checkout.run("settings")[0] == 0
    assert checkout.calls() == ["venv", "pip"] * 2
    assert not (checkout.folder / ".venv/left-over").exists()


def test_an_image_without_the_list_of_tools_needs_no_preparation(checkout: Checkout) -> None:
    requirements, venv = checkout.folder / "requirements", checkout.folder / ".venv"
    (requirements / "dev.txt").unlink()
    (venv / "bin").mkdir(parents=True)
    tool(venv / "bin/python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    shutil.copy(requirements / "image.txt", venv / ".complete")
    code, _, err = checkout.run("settings")
    assert (code, err) == (0, "")
    assert checkout.calls() == []


def test_variables_come_from_a_file_where_the_environment_has_none(checkout: Checkout) -> None:
    """Cron and a mail server's alias start it without any."""
    tool(checkout.tools / "python3.14", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (checkout.folder / "docs/settings_page.py").write_text(
        "import os\nprint([(k, v) for k, v in sorted(os.environ.items()) if k.startswith('MOMENTUS_')])\n"
    )
    file = checkout.tools / "settings.env"
    file.write_text(
        "# Redis\n\nMOMENTUS_REDIS_URL='redis://:$(p)`a`;=s\\@h/0'\nexport MOMENTUS_TENANT=\"a b\"\nMOMENTUS_X=1"
    )
    _, out, _ = checkout.run("--env", str(file), "settings")
    variables = [
        ("MOMENTUS_REDIS_URL", "redis://:$(p)`a`;=s\\@h/0"),
        ("MOMENTUS_TENANT", "a b"),
        ("MOMENTUS_X", "1"),
    ]
    assert out == f"{variables}\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("MOMENTUS_X=1\nnonsense\n", "line 2: is not NAME=value"),
        ("$(touch x)=1\n", "line 1: is not NAME=value"),
        (None, "cannot be read by user"),
    ],
)
def test_a_file_of_variables_that_cannot_be_used_is_refused_by_its_name(
    checkout: Checkout, content: str | None, words: str
) -> None:
    file = checkout.tools / "settings.env"
    if content is not None:
        file.write_text(content)
    code, _, err = checkout.run("--env", str(file), "settings")
    assert code == 2
    assert f"--env {file}" in err
    assert words in err
    assert checkout.calls() == []


async def test_a_set_up_killed_half_way_does_not_count_as_done(checkout: Checkout) -> None:
    (checkout.tools / "pause").touch()
    killed = checkout.start("settings")
    await eventually(lambda: "pip" in checkout.calls())
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not checkout.proof().exists()
    (checkout.tools / "pause").unlink()
    assert checkout.run("settings")[0] == 0
    assert checkout.calls() == ["venv", "pip"] * 2


async def test_of_two_calls_at_once_one_prepares_and_the_other_waits(checkout: Checkout) -> None:
    (checkout.tools / "pause").touch()
    first = checkout.start("settings")
    await eventually(lambda: "pip" in checkout.calls())
    second = checkout.start("settings")
    assert second.stderr is not None
    assert "another ./run is preparing" in second.stderr.readline()
    (checkout.tools / "pause").unlink()
    answers = [process.communicate()[0] for process in (first, second)]
    assert answers[0] == answers[1] != ""
    assert (first.returncode, second.returncode) == (0, 0)
    assert checkout.calls() == ["venv", "pip"]


def test_without_a_way_to_install_it_stops_and_says_what_was_tried(checkout: Checkout) -> None:
    for name in ("uv", "python3.14"):
        tool(
            checkout.tools / name,
            f'#!/bin/sh\n[ "$1" = -m ] && {{ echo "no $2 here"; exit 1; }}\n'
            f'[ "$1" = -c ] || [ "$1" = - ] || exit 1\nexec "{sys.executable}" "$@"\n',
        )
    code, out, err = checkout.run("settings")
    assert (code, out) == (2, "")
    assert "no venv here" in err
    assert "no pip here" in err
    assert "apt install python3-venv" in err
    assert not checkout.proof().exists()


def test_without_a_python_it_stops_and_says_which_one_it_needs(checkout: Checkout, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("sh", "dirname", "cmp", "cp", "rm", "cat"):
        (bare / name).symlink_to(shutil.which(name) or "")
    code, out, err = checkout.run("test", path=str(bare))
    assert (code, out) == (2, "")
    assert "needs Python 3.11" in err


def test_help_names_every_word_and_an_unknown_word_is_refused_with_it(checkout: Checkout) -> None:
    commands = ["demo", "test", "lint", "check", "up", "worker", "reader", "console", "ops", "bench"]
    words = [*commands, "settings", "docs", "hooks", "lock", "release", "--env", "help"]
    code, text, _ = checkout.run("help")
    assert (code, [line.split()[1] for line in text.splitlines()]) == (0, words)
    assert checkout.run() == (0, text, "")
    assert checkout.run("tset") == (2, "", f"run: no such command: tset\n{text}")
    assert not checkout.calls()


def test_a_measurement_that_does_not_exist_is_refused(checkout: Checkout) -> None:
    code, _, err = checkout.run("bench", "nothing")
    assert (code, err) == (2, "run: no bench/nothing.py; ./run bench lists them\n")


@pytest.mark.parametrize(
    ("appended", "stale"),
    [
        ("", ""),
        ("requirements/runtime.txt", " requirements/runtime.txt"),
        ("requirements/image.txt", " requirements/image.txt"),
        ("requirements/dev.txt", " requirements/dev.txt"),
    ],
)
def test_pins_that_do_not_fit_are_named_and_left_alone(checkout: Checkout, appended: str, stale: str) -> None:
    lists = [f"requirements/{name}.txt" for name in ("runtime", "image", "dev")]
    pins = {name: (checkout.folder / name).read_text() for name in lists}
    line = f'case $file in */"{appended}" | "{appended}") echo "other==1" >>"$file" ;; esac\n' if appended else ""
    tool(checkout.tools / "uv", f"#!/bin/sh\nfor file do :; done\n{line}")
    code, _, err = checkout.run("lock", "--check")
    assert (code, err) == ((1, f"run: do not fit pyproject.toml:{stale}; run ./run lock\n") if stale else (0, ""))
    assert {name: (checkout.folder / name).read_text() for name in pins} == pins


@pytest.mark.parametrize("words", [["docs"], ["docs", "pdf"]])
def test_only_the_api_is_written_by_docs(checkout: Checkout, words: list[str]) -> None:
    assert checkout.run(*words) == (2, "", "run: docs: api is all there is to write; ./run docs api [FOLDER]\n")


@pytest.mark.parametrize("passes", [True, False])
def test_a_commit_is_refused_when_the_lint_refuses_it(checkout: Checkout, passes: bool) -> None:  # noqa: FBT001  a case
    def git(*words: str) -> subprocess.CompletedProcess[str]:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        return subprocess.run(
            [shutil.which("git") or "git", *who, *words],
            cwd=checkout.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    env = {"PATH": f"{checkout.tools}:/usr/bin:/bin", "HOME": str(checkout.tools), "GIT_CONFIG_NOSYSTEM": "1"}
    git("init", "-q")
    assert checkout.run("hooks")[0] == 0
    (checkout.folder / "run").write_text(f"#!/bin/sh\n[ $1 = lint ] && {'true' if passes else 'false'}\n")
    git("add", ".")
    assert (git("commit", "-q", "-m", "A change").returncode == 0) == passes
    assert (git("rev-parse", "HEAD").returncode == 0) == passes
