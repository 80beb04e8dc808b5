"""Reading bounces: what a report says and no more, and nothing that a hostile one can do."""

import base64
from collections.abc import Callable
from email.message import EmailMessage

import pytest
from hypothesis import given, strategies as st

from ops.mail.bounce import SIZE_LIMIT, NotAReport, read_report
from tests.bounces import bounce, opensmtpd_bounce


def test_a_failed_mail_is_read_with_its_id_its_recipient_and_the_servers_words() -> None:
    report = read_report(
        bounce("mail0199-a", "Ana@Example.com", status="5.1.1", diagnostic="smtp; 550 5.1.1 No such user")
    )
    assert report.message_id == "mail0199-a"
    assert report.reporter == "mx.example.com"
    (failure,) = report.failures
    assert failure.addresses == ("ana@example.com",)
    assert (failure.action, failure.status) == ("failed", "5.1.1")
    assert failure.diagnostic == "smtp; 550 5.1.1 No such user"


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_other_actions_are_told_apart_from_failures(action: str) -> None:
    (found,) = read_report(bounce("mail1", "ana@example.com", action=action)).failures
    assert found.action == action


def test_a_status_that_says_nothing_gives_way_to_the_last_servers() -> None:
    octets = bounce(
        "mail1", "ana@example.com", status="5.0.0", diagnostic="smtp; 550-5.1.1 The account does not exist"
    )
    assert read_report(octets).failures[0].status == "5.1.1"


def test_an_address_that_was_rewritten_on_the_way_is_known_by_both() -> None:
    report = read_report(bounce("mail1", "ana@example.com", final="ana.g@inside.example"))
    assert report.failures[0].addresses == ("ana@example.com", "ana.g@inside.example")


def test_the_id_is_found_in_returned_headers_as_in_a_whole_mail_and_in_references() -> None:
    assert read_report(bounce("mail1", "a@b.example", original="headers")).message_id == "mail1"
    assert read_report(bounce("mail1", "a@b.example", original="whole")).message_id == "mail1"
    assert read_report(bounce("mail1", "a@b.example", original="references")).message_id == "mail1"
    assert read_report(bounce("mail1", "a@b.example", original="none")).message_id == ""


def test_the_same_report_has_the_same_name_however_it_came() -> None:
    once = bounce("mail1", "a@b.example")
    again = b"Received: by another.example; Mon, 23 Nov 2026 05:00:00 +0000\r\n" + once
    assert read_report(once).id == read_report(again).id != read_report(bounce("mail2", "a@b.example")).id


def test_a_mail_that_is_no_report_is_refused_without_a_word_of_it() -> None:
    mail = EmailMessage()
    mail["Subject"] = "Undelivered: canary@example.com"
    mail.set_content("550 5.1.1 canary@example.com unknown")
    with pytest.raises(NotAReport) as refusal:
        read_report(mail.as_bytes())
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x00\xff" * 1000,
        b"Content-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/delivery-status\n\n--x--",
        b"Content-Type: multipart/report\r\n\r\nno boundary",
        b"Content-Type: multipart/report; boundary=x\r\n\r\n"
        + b"--x\r\nContent-Type: text/plain\r\n\r\nhi\r\n" * 1000,
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n" * 3000,
        b"Content-Type: message/rfc822\r\n\r\n" * 3000,
        b'Content-Type: multipart/report; boundary="=?x?q?=0a?="\r\n\r\n--\r\n',
        b"Content-Type: multipart/report; charset=no-such-charset; boundary=x\r\n\r\n--x",
    ],
    ids=range(9),
)
def test_what_cannot_be_read_is_refused_and_nothing_worse(octets: bytes) -> None:
    with pytest.raises(NotAReport):
        read_report(octets)


@given(st.binary(max_size=400), st.integers(0, 900))
def test_any_damage_to_a_report_leads_to_a_report_or_to_a_refusal(damage: bytes, at: int) -> None:
    octets = bounce("mail1", "ana@example.com")
    try:
        report = read_report(octets[:at] + damage + octets[at:])
    except NotAReport:
        return
    assert all("\n" not in address for failure in report.failures for address in failure.addresses)


def test_a_mail_returned_whole_is_read_up_to_the_limit() -> None:
    octets = bounce("mail1", "ana@example.com", original="whole", filling=b"x" * 70 + b"\r\n")
    octets = octets.replace(b"x" * 70, (b"x" * 70 + b"\r\n") * (SIZE_LIMIT // 60))
    assert len(octets) > SIZE_LIMIT
    assert read_report(octets).message_id == "mail1"


def test_many_recipients_are_read_up_to_a_limit() -> None:
    blocks = "\n\n".join(
        f"Final-Recipient: rfc822; u{number}@b.example\nAction: failed\nStatus: 5.1.1" for number in range(500)
    )
    octets = (
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n--b\r\n'
        b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\n"
        + blocks.replace("\n", "\r\n").encode()
        + b"\r\n--b--\r\n"
    )
    assert len(read_report(octets).failures) == 100


def test_a_report_of_opensmtpd_is_read_with_the_reply_that_only_its_text_quotes() -> None:
    report = read_report(opensmtpd_bounce("mail1", "ana@example.com", reply="550 5.1.1 No such user"))
    (failure,) = report.failures
    assert (report.message_id, report.reporter) == ("mail1", "mx.example.com")
    assert (failure.action, failure.status, failure.diagnostic) == (
        "failed",
        "5.1.1",
        "smtp; 550 5.1.1 No such user",
    )


def test_a_text_that_quotes_no_reply_leaves_the_status_as_it_is() -> None:
    report = read_report(
        opensmtpd_bounce("mail1", "ana@example.com", reply="Destination seems to reject all mails")
    )
    (failure,) = report.failures
    assert (failure.status, failure.diagnostic) == ("5.0.0", "")


def forwarded(report: bytes) -> bytes:
    """A report that somebody passed on as an attachment."""
    head = b'From: luz@example.com\r\nContent-Type: multipart/mixed; boundary="fwd"\r\n\r\n'
    return (
        head + b"--fwd\r\n\r\nsee below\r\n--fwd\r\nContent-Type: message/rfc822\r\n\r\n" + report + b"--fwd--\r\n"
    )


def in_base64(report: bytes) -> bytes:
    """A report whose status part is encoded, against RFC 3464."""
    head = b"Content-Type: message/delivery-status\r\n"
    before, status, after = report.partition(head)
    content, rest = after.lstrip(b"\r\n").split(b"--part", 1)
    encoded = b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(content)
    return before + status + encoded + b"\r\n--part" + rest


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.replace(b"multipart/report; report-type=delivery-status", b"multipart/mixed"),
        lambda it: it.replace(b"report-type=delivery-status", b"report-type=disposition-notification"),
        lambda it: it.replace(b" report-type=delivery-status;", b""),
        lambda it: it.replace(b"message/delivery-status", b"message/global-delivery-status"),
        lambda it: it.replace(b"Reporting-MTA: dns; mx.example.com\r\nArrival", b"Arrival"),
        lambda it: it.replace(b"Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n", b""),
        forwarded,
        in_base64,
    ],
    ids=["mixed", "wrong type", "no type", "smtputf8", "no reporter", "no diagnostic", "forwarded", "base64"],
)
def test_the_wrapping_of_a_report_does_not_matter(change: Callable[[bytes], bytes]) -> None:
    changed = change(bounce("mail1", "ana@example.com"))
    assert changed != bounce("mail1", "ana@example.com")
    report = read_report(changed)
    (failure,) = report.failures
    assert (report.message_id, failure.addresses, failure.status) == ("mail1", ("ana@example.com",), "5.1.1")


def test_a_report_inside_a_mail_that_was_returned_is_not_taken_for_the_report() -> None:
    inner = bounce("mail-inner", "eva@example.com").decode()
    outer = bounce("mail-outer", "ana@example.com", original="whole", filling=b"x")
    octets = outer.replace(b"\r\nx\r\n", b"\r\n" + inner.replace("part", "inner").encode() + b"\r\n")
    (failure,) = read_report(octets).failures
    assert failure.addresses == ("ana@example.com",)


def test_all_groups_of_recipients_are_read_and_one_without_a_recipient_is_passed_over() -> None:
    group = b"Final-Recipient: rfc822; eva@example.com\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\n"
    more = b"X-Note: nobody\r\n\r\n" + group
    octets = bounce("mail1", "ana@example.com").replace(
        b"--part\r\nContent-Type: text/rfc822", more + b"--part\r\nContent-Type: text/rfc822"
    )
    assert [(one.addresses[0], one.action) for one in read_report(octets).failures] == [
        ("ana@example.com", "failed"),
        ("eva@example.com", "delivered"),
    ]
