"""The client in a Django application, with the built wheel, in an environment of its own.

The promises themselves are in tests/django_application, in Django's own form of tests: mails in `mail_promises`,
sessions in `session_promises`. The ordinary run keeps them on one Django, the long run on both.
"""

import re
import subprocess
from pathlib import Path

import pytest

from tests.django_environment import SUITES, django_python, django_sources, django_variables, pins, run_django
from tests.environments import ROOT, client_site

VERSIONS = [pytest.param("5.2", id="5.2"), pytest.param("6", id="6", marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return client_site(tmp_path_factory.mktemp("django"))


@pytest.mark.timeout(600)  # the first run makes the environment
@pytest.mark.parametrize("version", VERSIONS)
def test_django_has_its_mails_queued_and_its_sessions_shared(version: str, site: Path, valkey_url: str) -> None:
    python = django_python(version)
    done = run_django(python, site, "test", "--pattern", "[ms]*_promises.py", SHOP_REDIS=valkey_url)
    assert done.returncode == 0, done.stderr
    assert int(re.findall(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)[0]) >= 40, done.stderr


FIRST_MAIL = """
import sys
import django

django.setup()
from django.core.mail import send_mail

before = {*sys.modules}
assert send_mail("Aviso", "Ya", None, ["ana@example.com"]) == 1
print(sorted(sys.modules.keys() - before))
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_mail_of_a_process_imports_nothing_where_the_application_is_installed(
    version: str, site: Path, valkey_url: str
) -> None:
    done = subprocess.run(
        [django_python(version), "-c", FIRST_MAIL],
        env=django_variables(site) | {"SHOP_REDIS": valkey_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["5.2", "6"])
def test_djangos_own_tests_of_backends_hold(version: str, site: Path, valkey_url: str, tmp_path: Path) -> None:
    python = django_python(version, *pins("pybase64"))
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")  # writes the letters, as a worker does
    sources = django_sources(version)
    done = run_django(
        python,
        site,
        *("test", "--pattern", "[ms]*_suite.py"),
        path=SUITES,
        DJANGO_SETTINGS_MODULE="suite_settings",
        SHOP_REDIS=valkey_url,
        PYTHONPATH=f"{site}:{tmp_path}:{SUITES}:{sources / 'tests'}",
        PYTHONWARNINGS="ignore",
    )
    assert done.returncode == 0, done.stderr
    assert int(re.findall(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)[0]) >= 75, done.stderr


MYPY = """
[mypy]
strict = true
plugins = mypy_django_plugin.main
[mypy.plugins.django-stubs]
django_settings_module = "shop.settings"
"""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_strict_type_checker_that_knows_django_finds_no_fault(site: Path, tmp_path: Path) -> None:
    python = django_python("5.2", "django-stubs==6.1.2", "mypy==2.4.1")
    (tmp_path / "mypy.ini").write_text(MYPY)
    checked = subprocess.run(
        [python, "-m", "mypy", "--config-file", tmp_path / "mypy.ini", "-p", "momentus_client.django"],
        cwd=tmp_path,
        env=django_variables(site) | {"MYPYPATH": str(site), "SHOP_REDIS": "redis://127.0.0.1:1/0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.stdout.startswith("Success"), checked.stdout + checked.stderr
