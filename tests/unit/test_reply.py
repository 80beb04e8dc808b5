"""What servers answer and what it means: the replies of the big providers, and the basic codes by stage."""

import itertools
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from jobs.mail.preset import PRESETS
from worker.mail.reply import Reply, Stage, judge, table

AGAIN, WAIT, DEAD = "again", "wait", "dead"
STAGES: tuple[Stage, ...] = ("connect", "login", "mail", "rcpt", "data", "dot")
OF_A_MAIL: tuple[Stage, ...] = ("mail", "rcpt", "data", "dot")

CONNECTION = [
    (421, "4.3.0 Temporary System Problem. Try again later"),
    (421, "4.4.5 Server busy, try again later"),
    (421, "4.7.0 Try again later, closing connection"),
    (421, "Service not available, quota of connections"),
    (450, "4.3.2 System not accepting network messages"),
    (451, "4.4.2 Timeout waiting for data from client"),
    (454, "4.4.1 no answer from host"),
]
ACCOUNT = [
    (454, "4.7.0 Too many login attempts, please try again later"),
    (454, "4.7.0 Temporary authentication failure"),
    (530, "5.7.0 Authentication Required"),
    (530, "5.7.57 Client not authenticated to send mail"),
    (534, "5.7.9 Application-specific password required"),
    (535, "5.7.8 Username and Password not accepted"),
    (535, "5.7.3 Authentication unsuccessful"),
    (535, "5.7.139 Authentication unsuccessful, the user credentials were incorrect"),
    (538, "5.7.11 Encryption required for requested authentication mechanism"),
    (550, "5.7.30 Basic authentication is not supported for Client Submission"),
    (550, "5.7.3 Requested action aborted; user not authenticated"),
    (432, "4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending"),
    (454, "Throttling failure: Maximum sending rate exceeded"),
    (454, "Throttling failure: Daily message quota exceeded"),
    (450, "4.2.1 Peak SMTP relay limit exceeded for customer"),
    (550, "5.4.5 Daily user sending limit exceeded"),
    (550, "5.4.5 Daily SMTP relay limit exceeded for user"),
    (550, "5.7.1 Daily SMTP relay limit exceeded for customer"),
    (554, "5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message"),
    (421, "4.7.28 Gmail has detected an unusual rate of mail from your account"),
    (450, "4.7.28 Gmail has detected an unusual rate of mail from your account"),
    (550, "5.7.28 Gmail has detected an unusual rate of mail from your account"),
]
PASSING = [
    (450, "4.2.1 The user you are trying to contact is receiving mail too quickly"),
    (450, "4.2.0 Mailbox busy"),
    (451, "4.7.1 Greylisted, please try again in 300 seconds"),
    (451, "4.7.1 Greylisted by 192.0.4.4.2 for 4.3.2.1"),
    (452, "4.2.2 The email account that you tried to reach is over quota"),
    (452, "4.5.3 Too many recipients"),
    (452, "4.3.1 Insufficient system storage"),
    (450, ""),
    (451, "Local error in processing"),
    (552, "5.2.2 Mailbox full"),
    (550, "5.2.2 The recipient's mailbox is full, quota exceeded"),
]
PERMANENT = [
    (550, "5.1.1 The email account that you tried to reach does not exist"),
    (550, "5.1.2 Bad destination system"),
    (553, "5.1.3 Bad destination mailbox address syntax"),
    (550, "5.1.6 Mailbox has moved"),
    (550, "5.1.10 Recipient not found"),
    (550, "5.4.4 Unable to route"),
    (552, "5.3.4 Message size exceeds fixed limit"),
    (552, "5.3.4 Message size limit exceeded"),
    (554, "5.6.0 Message content rejected"),
    (503, "5.5.1 Bad sequence of commands"),
    (554, "5.3.0 Other mail system problem"),
    (554, "5.3.2 Not accepting network messages"),
    (550, "5.7.1 Message rejected as spam"),
    (550, "5.7.26 This mail is unauthenticated"),
    (550, "5.7.515 Access denied, sending domain does not meet the required authentication level"),
    (553, "5.1.8 Sender address rejected"),
    (501, "5.1.7 Bad sender address syntax"),
    (550, ""),
    (554, "Transaction failed"),
    (550, "Refused because of 192.5.7.30 and 5.7.30.1, see version 15.5.7.57"),
]


@pytest.mark.parametrize(("code", "text"), CONNECTION)
@pytest.mark.parametrize("stage", OF_A_MAIL)
def test_a_connections_fault_is_tried_again_on_another_connection(stage: Stage, code: int, text: str) -> None:
    verdict = judge(Reply(stage, code, text))
    assert (verdict.scope, verdict.decision, verdict.keep_connection) == ("connection", AGAIN, False)


@pytest.mark.parametrize(("code", "text"), ACCOUNT)
@pytest.mark.parametrize("stage", STAGES)
def test_an_accounts_fault_waits_and_never_makes_a_mail_dead(stage: Stage, code: int, text: str) -> None:
    verdict = judge(Reply(stage, code, text))
    assert (verdict.scope, verdict.decision, verdict.keep_connection) == ("account", WAIT, False)
    assert verdict.trouble in {"login", "throttle", "connections", "day"}


@pytest.mark.parametrize(("code", "text"), PASSING)
def test_what_passes_at_the_recipient_is_tried_again_on_this_connection(code: int, text: str) -> None:
    verdict = judge(Reply("rcpt", code, text))
    assert (verdict.scope, verdict.decision, verdict.keep_connection) == ("recipient", AGAIN, True)


@pytest.mark.parametrize(("code", "text"), PERMANENT)
@pytest.mark.parametrize("stage", OF_A_MAIL)
def test_a_refusal_for_good_makes_the_mail_dead_and_the_connection_stays(
    stage: Stage, code: int, text: str
) -> None:
    verdict = judge(Reply(stage, code, text))
    assert (verdict.decision, verdict.keep_connection) == (DEAD, True)


@pytest.mark.parametrize(("code", "text"), PERMANENT)
def test_a_server_that_refuses_the_connection_kills_no_mail(code: int, text: str) -> None:
    assert judge(Reply("connect", code, text)).decision == AGAIN
    assert judge(Reply("login", code, text)).decision == WAIT


def test_552_means_too_many_for_now_at_the_recipient_and_too_large_elsewhere() -> None:
    assert judge(Reply("rcpt", 552, "Requested action aborted")).decision == AGAIN
    assert judge(Reply("rcpt", 552, "5.3.4 Message too big")).decision == DEAD
    assert judge(Reply("dot", 552, "Requested action aborted")).decision == DEAD


@pytest.mark.parametrize("code", [450, 451, 452, 550, 552])
@pytest.mark.parametrize("text", ["mailbox quota exceeded", "user is over quota", "storage limit exceeded"])
def test_a_full_mailbox_of_the_recipient_does_not_pause_the_account(code: int, text: str) -> None:
    assert judge(Reply("rcpt", code, text)).decision != WAIT


@pytest.mark.parametrize("stage", OF_A_MAIL)
def test_no_temporary_reply_ever_makes_a_mail_dead(stage: Stage) -> None:
    for code, text in itertools.product(range(400, 500), ("", "try later", "5.1.1 says no")):
        assert judge(Reply(stage, code, text)).decision != DEAD


@pytest.mark.parametrize(
    ("text", "enhanced"),
    [
        ("5.1.1 no", "1.1"),
        ("no mailbox here (#5.1.1)", "1.1"),
        ("4.7.139. Later", "7.139"),
        ("first line\n5.7.57 second", "7.57"),
        ("3.1.1 no class", ""),
        ("5.1.1.2", ""),
        ("15.1.1", ""),
        ("client 192.5.7.57 and [5.7.30.1]", ""),
        ("5.1.1000", ""),
        ("", ""),
    ],
)
def test_an_enhanced_code_is_found_and_an_ip_address_is_none(text: str, enhanced: str) -> None:
    assert Reply("rcpt", 550, text).enhanced == enhanced


@pytest.mark.parametrize(
    ("text", "code", "trouble"),
    [
        ("4.3.2 Concurrent connections limit exceeded", 432, "connections"),
        ("Throttling failure: Maximum sending rate exceeded", 454, "throttle"),
        ("Throttling failure: Daily message quota exceeded", 454, "day"),
        ("4.2.1 Peak SMTP relay limit exceeded for customer", 450, "throttle"),
        ("5.4.5 Daily user sending limit exceeded", 550, "day"),
        ("5.7.1 Daily SMTP relay limit exceeded for customer", 550, "day"),
        ("5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException", 554, "day"),
        ("4.7.28 unusual rate of mail from your account", 450, "throttle"),
        ("4.7.0 Too many login attempts", 454, "login"),
        ("5.7.139 Authentication unsuccessful", 535, "login"),
    ],
)
def test_the_account_hears_what_is_wrong_with_it(text: str, code: int, trouble: str) -> None:
    assert judge(Reply("dot", code, text)).trouble == trouble


@pytest.mark.parametrize(
    ("stage", "code", "text", "scope"),
    [
        ("rcpt", 550, "5.1.1 no such user", "recipient"),
        ("dot", 550, "5.1.10 recipient not found", "recipient"),
        ("mail", 550, "5.1.8 sender refused", "sender"),
        ("dot", 550, "5.7.1 spam", "sender"),
        ("rcpt", 550, "5.7.26 unauthenticated mail", "sender"),
        ("dot", 552, "5.3.4 too large", "message"),
        ("dot", 554, "5.6.0 content", "message"),
        ("mail", 550, "no", "sender"),
        ("rcpt", 550, "no", "recipient"),
        ("data", 554, "no", "message"),
        ("dot", 554, "no", "message"),
    ],
)
def test_a_refusal_for_good_says_whose_fault_it_is(stage: Stage, code: int, text: str, scope: str) -> None:
    verdict = judge(Reply(stage, code, text))
    assert (verdict.scope, verdict.decision) == (scope, DEAD)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("4.7.1 greylisted", timedelta(minutes=5)),
        ("4.7.1 greylisted, please try again in 300 seconds", timedelta(seconds=300)),
        ("greylisting in action, come back in 7 min", timedelta(minutes=7)),
        ("4.3.1 try again after 90s", timedelta(seconds=90)),
        ("4.3.1 try again in 90000 minutes", timedelta(hours=1)),
        ("4.3.1 try again in 0 seconds", None),
        ("4.3.1 try again later", None),
    ],
)
def test_a_server_that_says_how_long_to_wait_is_heeded(text: str, after: timedelta | None) -> None:
    assert judge(Reply("rcpt", 451, text)).after == after


def test_what_one_provider_alone_means_by_a_code_counts_for_its_accounts_alone() -> None:
    full = Reply("dot", 554, "5.2.2 mailbox full")
    assert judge(full, "microsoft365").scope == "account"
    assert judge(full, "gmail").scope == "recipient"
    assert judge(Reply("rcpt", 554, "5.2.2 mailbox full"), "microsoft365").scope == "recipient"
    unverified = Reply("dot", 554, "Message rejected: Email address is not verified")
    assert judge(unverified, "ses").scope == "sender"
    assert judge(unverified).scope == "message"


@given(
    stage=st.sampled_from(STAGES),
    code=st.integers(200, 599),
    text=st.one_of(st.text(max_size=80), st.from_regex(r"[245]\.[0-7]\.\d{1,3} [a-z ]{0,20}", fullmatch=True)),
    provider=st.sampled_from(["", *PRESETS]),
)
def test_every_reply_has_a_verdict_that_holds_together(stage: Stage, code: int, text: str, provider: str) -> None:
    verdict = judge(Reply(stage, code, text), provider)
    assert (verdict.scope == "account") == (verdict.decision == "wait")
    assert (verdict.scope in {"account", "connection"}) == bool(verdict.trouble)
    assert not verdict.keep_connection if verdict.trouble else verdict.keep_connection
    if stage in {"connect", "login"} or code < 500:
        assert verdict.decision != DEAD


def test_the_page_shows_the_table() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/mail.md").read_text(encoding="utf-8")
    assert table() in page
