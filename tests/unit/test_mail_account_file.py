"""The accounts file: what it may say, what is told about mistakes, and the limits that follow from it."""

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from durations import read_duration
from jobs.mail.account import Account, AccountsError, AccountsFile, read_accounts
from jobs.mail.ehlo import choose_ehlo_name
from jobs.mail.preset import PRESETS
from jobs.mail.stream import STREAMS, stream_of
from worker.mail.accounts.setup import limit_of

MAIN = '[accounts.main]\npreset = "microsoft365"\nusername = "tasks@example.com"\npassword_file = "/x"\n'


def _read(text: str) -> AccountsFile:
    return read_accounts(text, read_duration)


def test_an_account_is_its_preset_with_what_the_file_changes() -> None:
    (main,) = _read(MAIN + "per_minute = 20\n").accounts
    assert (main.host, main.port, main.tls) == ("smtp.office365.com", 587, "required")
    assert (main.per_minute, main.per_day, main.connections) == (20, 10_000, 3)
    assert main.preset == "microsoft365"


def test_accounts_stay_in_the_order_of_the_file() -> None:
    text = MAIN + '[accounts.a]\nhost = "localhost"\n[accounts.z]\nhost = "localhost"\n'
    assert [one.name for one in _read(text).accounts] == ["main", "a", "z"]


def test_the_domains_that_an_account_sends_for_are_in_the_form_in_which_mails_have_them() -> None:
    text = MAIN + 'sender_domains = ["Example.COM", "münchen.example"]\n[accounts.any]\nhost = "localhost"\n'
    main, anybody = _read(text).accounts
    assert main.sender_domains == ("example.com", "xn--mnchen-3ya.example")
    assert anybody.sender_domains == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "[accounts.NAME]: is missing"),
        ("accounts = 3", "accounts: must hold tables"),
        ("not toml at all", "is not TOML"),
        ("[acounts.main]", "acounts: unknown table"),
        (MAIN + "per_minuet = 3", "[accounts.main] per_minuet: unknown key; did you mean per_minute?"),
        (MAIN + "per_day = -1", "[accounts.main] per_day: must be a whole number from 0"),
        (MAIN + "per_day = true", "[accounts.main] per_day: must be a whole number from 0"),
        (MAIN + 'per_day = "many"', "[accounts.main] per_day: must be a whole number from 0"),
        (MAIN + 'sender_domains = "example.com"', "[accounts.main] sender_domains: must be a list of domains"),
        (MAIN + 'sender_domains = ["a@example.com"]', "[accounts.main] sender_domains: must be a list of domains"),
        (MAIN + "sender_domains = [3]", "[accounts.main] sender_domains: must be a list of domains"),
        (MAIN + "urgent_share = 100", "[accounts.main] urgent_share: must be a whole number from 0 to 90"),
        (MAIN + 'tls = "maybe"', "[accounts.main] tls: must be one of required, implicit, off"),
        (MAIN + 'tls = "off"', '[accounts.main] tls: "off" is for loopback hosts only'),
        (MAIN + 'auth = "microsoft"', '[accounts.main] auth: "microsoft" needs tenant and client_id'),
        (MAIN + 'password = "secret"', "[accounts.main] password: unknown key; did you mean password_file?"),
        (
            '[accounts.main]\npreset = "gmial"',
            "[accounts.main] preset: 'gmial' is unknown; allowed: generic, exim, gmail",
        ),
        ('[accounts.main]\npreset = "gmail"', "[accounts.main] username: is missing"),
        ('[accounts.main]\npreset = "ses"\nusername = "me"', "[accounts.main] host: is missing"),
        ('[accounts.Main]\nhost = "localhost"', "[accounts.Main] is not an account name"),
        (MAIN + '[streams.x]\nuncertain = "maybe"', "[streams.x] uncertain: must be one of resend, hold"),
        (MAIN + "[streams.x]\nunsubscribe = 1", "[streams.x] unsubscribe: must be one of true, false"),
        (MAIN + '[streams.x]\nexpires = "soon"', "[streams.x] expires: 'soon' is not a duration"),
        (
            MAIN + '[streams.x]\nauto_submitted = "yes"',
            "auto_submitted: must be one of auto-generated, auto-replied, no",
        ),
        (MAIN + "[streams.X]\n", "[streams.X] is not a stream name"),
    ],
)
def test_a_mistake_is_told_with_its_table_and_key(text: str, complaint: str) -> None:
    with pytest.raises(AccountsError) as error:
        _read(text)
    assert complaint in str(error.value)
    assert "secret" not in str(error.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(AccountsError) as error:
        _read(MAIN + "port = 0\nper_day = -1\n[streams.x]\nuncertain = 3\n")
    assert len(error.value.problems) == 3


def test_a_stream_says_whether_machines_may_answer_its_mails() -> None:
    streams = _read(MAIN + '[streams.notes]\nauto_submitted = "no"\n[streams.code]\nexpires = "5m"\n').streams
    assert (streams["notes"].auto_submitted, streams["code"].auto_submitted) == ("no", "auto-generated")
    assert {one.auto_submitted for one in STREAMS.values()} == {"auto-generated"}


def test_a_private_domain_may_be_a_sender_s() -> None:
    (main,) = _read(MAIN + 'sender_domains = ["NAS.local"]\n').accounts
    assert main.sender_domains == ("nas.local",)


def test_streams_are_those_of_the_product_and_those_of_the_file() -> None:
    text = MAIN + '[streams.payroll]\nuncertain = "hold"\nexpires = "3d"\n[streams.code]\nexpires = "5m"\n'
    streams = _read(text).streams
    assert streams["payroll"].uncertain == "hold"
    assert streams["payroll"].expires == timedelta(days=3)
    assert (streams["code"].uncertain, streams["code"].expires) == ("hold", timedelta(minutes=5))
    assert streams["bulk"] == STREAMS["bulk"]
    assert stream_of("nobody-described-it", streams) == STREAMS["transactional"]


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda one: one.name)
def test_every_preset_makes_an_account_whose_limits_the_engine_takes(preset: object) -> None:
    name = getattr(preset, "name", "")
    text = (
        f'[accounts.main]\npreset = "{name}"\nhost = "mail.example.com"\nusername = "me"\npassword_file = "/x"\n'
    )
    limit = limit_of(_read(text).accounts[0])
    assert limit.key == "account:main"
    assert limit.reserve == 0.2


@given(
    per_second=st.integers(0, 1000),
    per_minute=st.integers(0, 10_000),
    per_day=st.integers(0, 1_000_000),
    connections=st.integers(0, 1000),
)
def test_no_window_of_a_limit_sees_more_than_the_provider_allows(
    per_second: int, per_minute: int, per_day: int, connections: int
) -> None:
    account = Account(
        name="main", per_second=per_second, per_minute=per_minute, per_day=per_day, connections=connections
    )
    limit = limit_of(account)
    allowed = [count for count in (per_day, per_second, per_minute) if count]
    assert [rate.most for rate in limit.rates] == allowed
    assert limit.concurrency == (connections or None)


@pytest.mark.parametrize(
    "name", ["app", "192.0.2.1", "[192.0.2]", "[2001:db8::1]", "a b.example", "-a.example.com", "x." * 130]
)
def test_a_name_to_greet_with_is_a_full_one_or_an_address_in_brackets(name: str) -> None:
    with pytest.raises(AccountsError, match="ehlo_name: must be a full host name or an address in brackets"):
        _read(f'accounts.main = {{host = "mx.example.com", ehlo_name = "{name}"}}')
    for good in ("app.example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]", ""):
        file = _read(f'accounts.main = {{host = "mx.example.com", ehlo_name = "{good}"}}')
        assert file.accounts[0].ehlo_name == good


@pytest.mark.parametrize(
    ("host_name", "own_address", "said"),
    [
        ("app", "192.0.2.1", "[192.0.2.1]"),
        ("app.example.com.", "192.0.2.1", "app.example.com"),
        ("localhost.localdomain", "127.0.0.1", "[127.0.0.1]"),
        ("my_machine.example.com", "2001:db8::1", "[IPv6:2001:db8::1]"),
        ("10.0.0.5", "fe80::1%eth0", "[IPv6:fe80::1]"),
        ("", "::ffff:192.0.2.1", "[192.0.2.1]"),
    ],
)
def test_without_a_setting_the_machines_full_name_is_said_or_its_address(
    host_name: str, own_address: str, said: str
) -> None:
    assert choose_ehlo_name("", host_name, own_address) == said
