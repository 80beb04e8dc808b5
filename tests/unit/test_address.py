"""Addresses are checked strictly, never repaired in silence, and never repeated in an error."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, strategies as st

from jobs import InvalidAddress, Mail, MailError, UnsafeHeader
from jobs.mail.address import normal_address

PRIVATE = "secretary"

NO_ADDRESSES = [
    "",
    PRIVATE,
    f"{PRIVATE}@",
    f"@{PRIVATE}.com",
    f"{PRIVATE}@localhost",
    f"{PRIVATE}@{PRIVATE}.test",
    f"{PRIVATE}@{PRIVATE}..com",
    f"{PRIVATE}@-{PRIVATE}.com",
    f"{PRIVATE}@{PRIVATE}_.com",
    f"{PRIVATE}@{PRIVATE}.c0m-",
    f"{PRIVATE}@{PRIVATE}.com.",
    f"{PRIVATE}@{PRIVATE}☃.com",
    f"{PRIVATE}@[127.0.0.1]",
    f"{PRIVATE}@example.com@{PRIVATE}.com",
    f"{PRIVATE}@example.com,bob@{PRIVATE}.com",
    f"{PRIVATE}@example.com;bob@{PRIVATE}.com",
    f"{PRIVATE}@example.com ",
    f" {PRIVATE}@example.com",
    f"{PRIVATE} @example.com",
    f".{PRIVATE}@example.com",
    f"{PRIVATE}..x@example.com",
    f"{PRIVATE}(comment)@example.com",
    f'"{PRIVATE} x"@example.com',
    f"<{PRIVATE}@example.com>",
    f"Ana <{PRIVATE}@example.com>",
    f"{PRIVATE}ñ@example.com",
    f"{PRIVATE}\u200b@example.com",
    f"{PRIVATE}\uff20example.com",
    f"{PRIVATE}{'x' * 60}@example.com",
    f"{PRIVATE}@{'x' * 64}.com",
    f"{PRIVATE}@{('x' * 60 + '.') * 5}com",
]


def long_domain(length: int) -> str:
    """A domain of so many characters."""
    return f"{('x' * 49 + '.') * 6}"[-length + 4 :].lstrip(".") + "x.de"


@pytest.mark.parametrize("value", NO_ADDRESSES)
def test_what_is_no_address_is_refused_without_being_repeated(value: str) -> None:
    with pytest.raises(InvalidAddress) as refusal:
        normal_address(value, field="to")
    assert refusal.value.field == "to"
    assert PRIVATE not in str(refusal.value)


@pytest.mark.parametrize("odd", ["\r\n", "\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"])
def test_a_control_character_anywhere_is_refused(odd: str) -> None:
    for value in (f"{odd}ana@example.com", f"ana{odd}@example.com", f"ana@example.com{odd}"):
        with pytest.raises(UnsafeHeader, match="control character"):
            normal_address(value, field="reply_to")


def test_an_encoded_word_is_refused() -> None:
    with pytest.raises(UnsafeHeader, match="encoded-word"):
        normal_address("=?utf-8?q?ana?=@example.com", field="to")


@pytest.mark.parametrize("value", [None, 5, b"ana@example.com", ["ana@example.com"]])
def test_what_is_no_text_is_refused_by_its_type(value: object) -> None:
    with pytest.raises(InvalidAddress, match=type(value).__name__):
        normal_address(value, field="to")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("Ana@EXAMPLE.Com", "Ana@example.com"),
        ("ana@münchen.de", "ana@xn--mnchen-3ya.de"),
        ("ana+tag@sub.example.co", "ana+tag@sub.example.co"),
        ("o'neil!#$%&*/=?^_`{|}~-@example.com", "o'neil!#$%&*/=?^_`{|}~-@example.com"),
        (f"{'x' * 64}@example.com", f"{'x' * 64}@example.com"),
    ],
)
def test_an_address_comes_out_in_the_form_of_the_wire(value: str, normal: str) -> None:
    assert normal_address(value, field="to") == normal


@pytest.mark.parametrize(
    "domain", ["\uff45xample.com", "ex\u3002com", "\u2460x.com", "\ufb01n.com", "\u24d0lm.nl", "münchen.\uff44e"]
)
def test_a_domain_in_letters_of_another_form_is_refused_and_never_rewritten(domain: str) -> None:
    with pytest.raises(InvalidAddress, match="in ordinary letters") as refusal:
        normal_address(f"{PRIVATE}@{domain}", field="to")
    assert PRIVATE not in str(refusal.value)


@pytest.mark.parametrize("domain", ["MÜNCHEN.de", "mu\u0308nchen.de", "faß.de", "ΣΑΣ.gr", "xn--mnchen-3ya.de"])
def test_upper_case_and_accents_of_their_own_are_the_same_domain(domain: str) -> None:
    normal = normal_address(f"ana@{domain}", field="to")
    assert normal.startswith("ana@xn--")
    assert normal_address(normal, field="to") == normal


@pytest.mark.parametrize("domain", ["nas.local", "NAS.LOCAL", "nas.home.arpa", "a.b.test", "mañana.local"])
def test_a_domain_of_one_s_own_network_is_taken_when_it_is_named_and_refused_otherwise(domain: str) -> None:
    with pytest.raises(InvalidAddress, match="private_domains"):
        normal_address(f"ana@{domain}", field="to")
    named = {"local", "home.arpa", "test"}
    normal = normal_address(f"ana@{domain}", field="to", private_domains=named)
    assert normal.isascii()
    assert normal.rpartition(".")[2] in {"local", "arpa", "test"}
    assert normal_address(normal, field="to", private_domains=named) == normal


@pytest.mark.parametrize(
    "value", ["ana@local", "ana@nas.test", "ana@nas..local", "ana@-nas.local", "ana@nas.example.local "]
)
def test_naming_one_private_domain_allows_nothing_else(value: str) -> None:
    with pytest.raises(InvalidAddress):
        normal_address(value, field="to", private_domains=["local"])
    assert normal_address("ana@example.com", field="to", private_domains=["local"]) == "ana@example.com"


def test_a_mail_names_the_private_domains_that_it_may_go_to() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    mail = Mail(to="ana@nas.local", sender="bob@nas.local", subject="x", text="x", private_domains=("local",))
    frozen = mail.compose(job_id="{mail}0", now=now)
    assert (frozen["to"], frozen["sender"]) == ("ana@nas.local", "bob@nas.local")
    for wrong in ("com", "local", ["example.com"]):
        with pytest.raises(InvalidAddress):
            replace(mail, to="ana@nas.test", private_domains=wrong).compose(job_id="{mail}0", now=now)


LOCAL_PARTS = [
    "ana",
    "Ana",
    "info",
    "INFO",
    "PostMaster",
    "ana.b_c-d+e",
    "a..b",
    ".a",
    "a.",
    "",
    "o'neil",
    "ñ",
    "x" * 65,
]
DOMAINS = [
    "Example.COM",
    "münchen.de",
    "xn--mnchen-3ya.de",
    "xn--a.de",
    "ab--c.de",
    "io",
    "a.test",
    "1.2.3.4",
    "-a.b",
    "a..b",
]


@given(
    st.sampled_from(LOCAL_PARTS) | st.text("aZ09._+-@ ", max_size=70),
    st.sampled_from(DOMAINS) | st.text("aZ09.-_ xn", max_size=12) | st.integers(180, 253).map(long_domain),
)
def test_an_address_is_what_the_validator_makes_of_the_whole(local: str, domain: str) -> None:
    value = f"{local}@{domain}"
    try:
        known = validate_email(value, strict=True, allow_smtputf8=False, check_deliverability=False).ascii_email
    except EmailNotValidError:
        with pytest.raises(InvalidAddress):
            normal_address(value, field="to")
    else:
        assert normal_address(value, field="to") == known


@given(
    st.text() | st.builds("{}@{}".format, st.text(max_size=10), st.sampled_from(["example.com", "ñ.es", "a b.c"]))
)
def test_whatever_passes_is_one_word_of_ascii_and_passes_again(value: str) -> None:
    try:
        normal = normal_address(value, field="to")
    except MailError:
        return
    assert normal.isascii()
    assert normal.isprintable()
    assert not set(normal) & set(' <>(),;:"\\')
    assert normal_address(normal, field="to") == normal
