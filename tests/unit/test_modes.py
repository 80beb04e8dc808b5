"""Safety modes: outside `live` no real person is written to, whatever a mail says."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from jobs import Mail
from jobs.mail.letter import LetterSender, write_letter
from worker.mail.modes import (
    DirectDelivery,
    Mode,
    ModeHold,
    ModeRefusal,
    Redirection,
    Safety,
    add_original_recipient,
    decide_delivery,
    redirect_mail,
)

ALL = "all@test.example"


@pytest.mark.parametrize(
    ("mode", "allowed", "redirect_to", "way"),
    [
        ("live", "", "", DirectDelivery()),
        ("sink", "", "", DirectDelivery()),
        ("live", "example.com", "", DirectDelivery()),
        ("live", "com", "", DirectDelivery()),
        ("live", "other.example", ALL, Redirection(ALL)),
        ("sink", "other.example", ALL, Redirection(ALL)),
        ("redirect", "", ALL, Redirection(ALL)),
        ("redirect", "example.com", ALL, DirectDelivery()),
        ("hold", "example.com", ALL, ModeHold),
        ("live", "other.example", "", ModeRefusal),
        ("live", "ple.com", "", ModeRefusal),
    ],
)
def test_the_mode_and_the_allowed_domains_decide_where_a_mail_goes(
    mode: Mode, allowed: str, redirect_to: str, way: object
) -> None:
    safety = Safety(mode=mode, redirect_to=redirect_to, allowed_domains=frozenset(allowed.split()))
    found = decide_delivery("ana@Example.com", safety)
    assert isinstance(found, way) if isinstance(way, type) else found == way


@given(st.emails(), st.sampled_from(["redirect", "hold"]))
def test_without_a_list_neither_redirect_nor_hold_writes_to_anybody_but_the_catch_all(
    address: str, mode: Mode
) -> None:
    assert decide_delivery(address, Safety(mode=mode, redirect_to=ALL)) in (
        Redirection(ALL),
        decide_delivery("x@y.z", Safety(mode="hold")),
    )


def test_a_reason_names_the_setting_and_the_domain_and_no_address() -> None:
    safety = Safety(mode="live", allowed_domains=frozenset({"other.example"}))
    forbidden = decide_delivery("ana.garcia@example.com", safety)
    assert isinstance(forbidden, ModeRefusal)
    assert "MOMENTUS_MAIL__ALLOWED_DOMAINS" in forbidden.reason
    assert "example.com" in forbidden.reason
    assert "ana" not in forbidden.reason


def test_redirecting_without_an_address_is_refused_when_it_is_configured() -> None:
    with pytest.raises(ValueError, match="REDIRECT_TO"):
        Safety(mode="redirect")


def test_a_redirected_mail_tells_for_whom_it_was() -> None:
    mail = Mail(to="ana@example.com", subject="Reunión", text="Hola")
    frozen = redirect_mail(mail.compose(job_id="{mail}1", now=datetime.now(UTC)), ALL)
    letter = add_original_recipient(
        write_letter(frozen, default_sender=LetterSender("no-reply@momentus.example")), "ana@example.com"
    )
    assert letter.recipients == (ALL,)
    assert letter.content.startswith(b"X-Original-To: ana@example.com\r\n")
    assert str(frozen["subject"]) == "[ana@example.com] Reunión"
    assert b"\r\nTo: all@test.example\r\n" in letter.content
