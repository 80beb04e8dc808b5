"""What servers answer and what it means: the replies of the big providers, and the basic codes by stage."""

import itertools
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from jobs.mail.preset import PRESETS
from tests.replies import Said, in_words, replies
from worker.mail.smtp.reply import Refusal, Stage, judge_reply
from worker.mail.smtp.reply_table import write_table
from worker.mail.smtp.reply_words import PHRASES, essence

AGAIN, WAIT, DEAD = "again", "wait", "dead"
STAGES: tuple[Stage, ...] = ("connect", "login", "mail", "rcpt", "data", "dot")
OF_A_MAIL: tuple[Stage, ...] = ("mail", "rcpt", "data", "dot")
CORPUS = replies()
WORDS = {word for phrases in PHRASES.values() for word in re.split(r"[ |]", " ".join(phrases))} - {".."}

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


@pytest.mark.parametrize("source", sorted({said.source for said in CORPUS}))
def test_what_real_servers_say_is_decided_as_the_corpus_says(source: str) -> None:
    ours = [said for said in CORPUS if said.source == source]
    assert [in_words(judge_reply(said.reply)) for said in ours] == [said.verdict for said in ours]


@pytest.mark.parametrize("source", sorted({said.source for said in CORPUS}))
def test_case_and_spaces_and_the_form_of_several_lines_change_no_verdict(source: str) -> None:
    for said in CORPUS:
        if said.source == source:
            changes_no_verdict(said)


def changes_no_verdict(said: Said) -> None:
    reply, verdict = said.reply, judge_reply(said.reply)
    code = re.match(r"[45]\.\d+\.\d+ ", reply.text)
    several = reply.text.replace(" ", f"\n{code[0]}" if code else "\n", 4).replace("\n", "\n", 1)
    wide = reply.text.replace(" ", "  \t")
    for text in (reply.text.upper(), wide, several, f"  {reply.text}\r\n"):
        assert judge_reply(replace(reply, text=text)) == verdict, text


ACCOUNTS_WORDS = [
    "relay not permitted",
    "Relay access denied",
    "Relaying denied",
    "Unable to relay",
    "sorry, that domain isn't in my list of allowed rcpthosts",
    "authentication required",
    "Client host [192.0.2.1] blocked using zen.example",
    "Client host rejected: cannot find your hostname",
    "Your account has been suspended",
    "Sending paused for this account",
    "tenant has exceeded threshold",
    "Too many concurrent SMTP connections",
    "Throttling failure: Maximum sending rate exceeded",
    "Daily message quota exceeded",
    "too much mail from 192.0.2.1",
]


@pytest.mark.parametrize("words", ACCOUNTS_WORDS)
def test_what_concerns_the_account_waits_at_any_stage_and_by_any_code(words: str) -> None:
    for stage, code in itertools.product(STAGES, [421, 450, 451, 454, 521, 550, 553, 554]):
        for text in (words, f"{code // 100}.7.1 {words}", f"{code // 100}.7.1 <ana@example.com>: {words}"):
            verdict = judge_reply(Refusal(stage, code, text))
            found = (verdict.scope, verdict.decision, verdict.keep_connection)
            assert found == ("account", WAIT, False), f"{stage}: {code} {text}"
            assert verdict.trouble


@pytest.mark.parametrize(
    "text",
    [
        "5.7.1 <ana@example.com>: Recipient address rejected: Access denied",
        "5.7.1 <relay.example.com[192.0.2.1]>: Recipient address rejected: Access denied",
        "5.7.1 <no-relay@blocklist.example>: Recipient address rejected: Access denied",
        "5.7.124 RESOLVER.RST.RestrictedToRecipientsPermission; sender not in allowed-senders list",
        "5.7.1 This group is restricted to its members",
        "5.2.1 The account that you tried to reach is disabled",
    ],
)
def test_one_recipients_policy_is_no_word_about_the_account(text: str) -> None:
    verdict = judge_reply(Refusal("rcpt", 550, text))
    assert (verdict.scope, verdict.decision) == ("recipient", DEAD)


@pytest.mark.parametrize(
    "text", ["5.7.1 blocked: DMARC", "5.7.1 a link in it is on a blacklist", "5.7.1 SPF: your IP"]
)
def test_what_a_mail_holds_or_who_it_is_from_is_no_word_about_this_machine(text: str) -> None:
    assert judge_reply(Refusal("dot", 550, text)).scope == "sender"


@pytest.mark.parametrize(("code", "text"), PERMANENT)
def test_a_refusal_for_good_makes_the_mail_dead_and_the_connection_stays(code: int, text: str) -> None:
    for stage in OF_A_MAIL:
        verdict = judge_reply(Refusal(stage, code, text))
        assert (verdict.decision, verdict.keep_connection) == (DEAD, True), stage


@pytest.mark.parametrize(("code", "text"), PERMANENT)
def test_a_server_that_refuses_the_connection_kills_no_mail(code: int, text: str) -> None:
    assert judge_reply(Refusal("connect", code, text)).decision == WAIT
    assert judge_reply(Refusal("login", code, text)).decision == WAIT


def test_552_means_too_many_for_now_at_the_recipient_and_too_large_elsewhere() -> None:
    assert judge_reply(Refusal("rcpt", 552, "Requested action aborted")).decision == AGAIN
    assert judge_reply(Refusal("rcpt", 552, "5.3.4 Message too big")).decision == DEAD
    assert judge_reply(Refusal("dot", 552, "Requested action aborted")).decision == DEAD


@pytest.mark.parametrize("code", [450, 451, 452, 550, 552])
@pytest.mark.parametrize("text", ["mailbox quota exceeded", "user is over quota", "storage limit exceeded"])
def test_a_full_mailbox_of_the_recipient_does_not_pause_the_account(code: int, text: str) -> None:
    assert judge_reply(Refusal("rcpt", code, text)).decision != WAIT


@pytest.mark.parametrize("stage", OF_A_MAIL)
def test_no_temporary_reply_ever_makes_a_mail_dead(stage: Stage) -> None:
    for code, text in itertools.product(range(400, 500), ("", "try later", "5.1.1 says no")):
        assert judge_reply(Refusal(stage, code, text)).decision != DEAD


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
    assert Refusal("rcpt", 550, text).enhanced == enhanced


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
    assert judge_reply(Refusal("dot", code, text)).trouble == trouble


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
    verdict = judge_reply(Refusal(stage, code, text))
    assert (verdict.scope, verdict.decision) == (scope, DEAD)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("4.7.1 greylisted", timedelta(minutes=5)),
        ("4.7.1 greylisted, please try again in 300 seconds", timedelta(seconds=300)),
        ("greylisting in action, come back in 7 min", timedelta(minutes=7)),
        ("4.3.1 try again after 90s", timedelta(seconds=90)),
        ("4.3.1 try again in 90000 minutes", timedelta(hours=4)),
        ("4.3.1 retry in 2 hours", timedelta(hours=2)),
        ("4.3.1 wait 1 day", timedelta(hours=4)),
        ("4.7.1 greylisting in action, please come back in 00:05:00", timedelta(minutes=5)),
        ("4.3.1 slow down; Retry-After: 90", timedelta(seconds=90)),
        ("4.3.1 more than 500 messages in 10 minutes", None),
        ("4.3.1 try again in 0 seconds", None),
        ("4.3.1 try again later", None),
    ],
)
def test_a_server_that_says_how_long_to_wait_is_heeded(text: str, after: timedelta | None) -> None:
    assert judge_reply(Refusal("rcpt", 451, text)).after == after


def test_what_one_provider_alone_means_by_a_code_counts_for_its_accounts_alone() -> None:
    full = Refusal("dot", 554, "5.2.2 mailbox full")
    assert judge_reply(full, "microsoft365").scope == "account"
    assert judge_reply(full, "gmail").scope == "recipient"
    assert judge_reply(Refusal("rcpt", 554, "5.2.2 mailbox full"), "microsoft365").scope == "recipient"
    unverified = Refusal("dot", 554, "Message rejected: Email address is not verified")
    assert judge_reply(unverified, "ses").scope == "sender"
    assert judge_reply(unverified).scope == "message"


@given(
    stage=st.sampled_from(STAGES),
    code=st.integers(200, 599),
    text=st.one_of(st.text(max_size=80), st.from_regex(r"[245]\.[0-7]\.\d{1,3} [a-z ]{0,20}", fullmatch=True)),
    provider=st.sampled_from(["", *PRESETS]),
)
def test_every_reply_has_a_verdict_that_holds_together(stage: Stage, code: int, text: str, provider: str) -> None:
    verdict = judge_reply(Refusal(stage, code, text), provider)
    assert (verdict.scope == "account") <= (verdict.decision == "wait")
    assert (verdict.scope == "account") <= bool(verdict.trouble)
    assert bool(verdict.trouble) <= (verdict.scope in {"account", "connection"})
    assert bool(verdict.trouble) <= (not verdict.keep_connection)
    if stage in {"connect", "login"} or code < 500:
        assert verdict.decision != DEAD
    assert not (code == 421 and verdict.keep_connection)


@given(
    stage=st.sampled_from(STAGES),
    code=st.integers(400, 599),
    words=st.lists(st.sampled_from([*sorted(WORDS), "5.7.1", "4.2.0", "300", "<ana@example.com>:"]), max_size=12),
    gaps=st.lists(st.sampled_from([" ", "  ", "\t", "\n", "\r\n", " \n "]), min_size=12, max_size=12),
)
def test_no_form_of_a_text_changes_what_it_means(
    stage: Stage, code: int, words: list[str], gaps: list[str]
) -> None:
    plain = " ".join(words)
    other = "".join(word.upper() + gap for word, gap in zip(words, gaps, strict=False))
    assert judge_reply(Refusal(stage, code, other)) == judge_reply(Refusal(stage, code, plain))


def test_no_text_makes_the_decision_slow_out_of_proportion() -> None:
    """Work is counted in known words, of which a fixed number is looked at, whatever a server sends."""
    for words in ("relay ", "too many ", "not ", "account ", "1:1:1:", "9 ", "again "):
        assert len(essence(words * 20_000)) <= 1000
        judge_reply(Refusal("rcpt", 550, words * 5_000))


def test_the_page_shows_the_table() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/mail.md").read_text(encoding="utf-8")
    assert write_table() in page
