"""The client in a Django application, with the built wheel, in an environment of its own.

The promises themselves are in tests/django_application, in Django's own form of tests: mails in `mail_promises`,
sessions in `session_promises`. The ordinary run keeps them on one Django, the long run on both.
"""

import re
from pathlib import Path

import pytest

from tests.django_environment import SUITES, django_python, django_sources, run_django
from tests.environments import client_site

VERSIONS = [pytest.param("5.2", id="5.2"), pytest.param("6", id="6", marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return client_site(tmp_path_factory.mktemp("django"))


@pytest.mark.timeout(600)  # the first run makes the environment
@pytest.mark.parametrize("version", VERSIONS)
def test_django_has_its_mails_queued_and_its_sessions_shared(version: str, site: Path, valkey_url: str) -> None:
    python = django_python(version)
    done = run_django(python, site, "test", "--pattern", "*_promises.py", SHOP_REDIS=valkey_url)
    assert done.returncode == 0, done.stderr
    assert int(re.findall(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)[0]) >= 40, done.stderr


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["5.2", "6"])
def test_djangos_own_tests_of_backends_hold(version: str, site: Path, valkey_url: str) -> None:
    python = django_python(version)
    sources = django_sources(python, version)
    done = run_django(
        python,
        site,
        *("test", "--pattern", "*_suite.py"),
        path=SUITES,
        SHOP_REDIS=valkey_url,
        PYTHONPATH=f"{site}:{SUITES}:{sources / 'tests'}",
        PYTHONWARNINGS="ignore",
    )
    assert done.returncode == 0, done.stderr
    assert int(re.findall(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)[0]) >= 75, done.stderr
