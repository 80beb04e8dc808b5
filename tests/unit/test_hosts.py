"""Under which names a server of this machine may be asked."""

import pytest

from hosts import AllowedHosts


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8710",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.9.8.7:8710",
        "[::1]",
        "[::1]:8710",
    ],
)
def test_the_names_of_this_machine_are_taken_with_any_port(host: str) -> None:
    assert AllowedHosts().allows(host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8710",
            "10.0.0.1:80",
        ),
        *(
            "localhost@evil.example",
            "localhost:80:80",
            "localhost:http",
            "localhost/",
            " localhost",
            "[::1",
            "::1",
        ),
        *("[::2]", "[::1]x", "localhost, evil.example", "localhost\n", "loc\u0430lhost", "-", "1270.0.0.1"),
    ],
)
def test_no_other_name_is(host: str) -> None:
    assert not AllowedHosts().allows(host)
    assert not AllowedHosts(["reports.example"]).allows(host)


def test_names_that_are_listed_are_taken_besides() -> None:
    hosts = AllowedHosts(["reports.example", "Intranet", "10.0.0.7", "[fd00::7]"])
    for host in (
        "Reports.Example",
        "reports.example.:443",
        "intranet:8710",
        "10.0.0.7",
        "[FD00::7]:8710",
        "localhost",
    ):
        assert hosts.allows(host), host
    assert not hosts.allows("www.reports.example")
