"""A letter as commands, and answers as decisions: without a network."""

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from jobs.mail.letter import Letter
from worker.mail.smtp.envelope import find_refusal, refused_recipients, write_body, write_commands
from worker.mail.smtp.errors import MalformedMail
from worker.mail.smtp.protocol import SMTPReply

LETTER = Letter("a@example.com", ("b@example.com", "c@example.com"), b"Subject: x\r\n\r\ny\r\n")
FINE, NO, LATER, GO = SMTPReply(250, "fine"), SMTPReply(550, "no"), SMTPReply(451, "later"), SMTPReply(354, "go")


@given(st.lists(st.binary(max_size=6).map(lambda line: line.translate(None, b"\r\n")), max_size=8))
def test_what_the_server_unstuffs_is_what_was_written(lines: list[bytes]) -> None:
    octets = b"".join(line + b"\r\n" for line in lines)
    sent = write_body(octets) + b".\r\n"
    body, _, rest = (b"\r\n" + sent).partition(b"\r\n.\r\n")
    received = b"".join(line.removeprefix(b".") + b"\r\n" for line in body.split(b"\r\n")[1:])
    assert not rest
    assert received == (octets or b"\r\n")


@given(st.text(alphabet="ab.\r\n", max_size=12).map(str.encode))
def test_no_body_can_end_a_mail_early_by_any_servers_reading(octets: bytes) -> None:
    try:
        sent = write_body(octets)
    except MalformedMail:
        return
    for end in (b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\n.\r", b"\r.\n"):
        assert end not in b"\r\n" + sent


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_address_can_become_a_command(sender: str, recipient: str) -> None:
    try:
        commands = write_commands(replace(LETTER, sender=sender, recipients=(recipient,)), {})
    except MalformedMail:
        return
    assert commands.lines == [
        f"MAIL FROM:<{sender}>\r\n".encode(),
        f"RCPT TO:<{recipient}>\r\n".encode(),
        b"DATA\r\n",
    ]
    assert b"".join(commands.lines).count(b"\n") == 3
    assert not set(sender + recipient) & set("\r\n<> \0")


@pytest.mark.parametrize(
    ("answers", "stage", "code"),
    [
        ([NO, SMTPReply(503, "no sender"), SMTPReply(503, "no sender"), SMTPReply(503, "no")], "mail", 550),
        ([FINE, NO, LATER, SMTPReply(554, "nobody")], "rcpt", 451),
        ([FINE, NO, NO, GO], "rcpt", 550),
        ([FINE, FINE, NO, LATER], "data", 451),
        ([SMTPReply(421, "bye")], "mail", 421),
    ],
)
def test_the_first_refusal_is_the_one_that_counts(answers: list[SMTPReply], stage: str, code: int) -> None:
    refusal = find_refusal(LETTER, answers)
    assert refusal is not None
    assert (refusal.reply.stage, refusal.reply.code) == (stage, code)


@pytest.mark.parametrize("answers", [[], [FINE], [FINE, NO], [FINE, NO, FINE, GO], [FINE, SMTPReply(251, "")]])
def test_as_long_as_somebody_may_get_it_nothing_speaks_against_the_body(answers: list[SMTPReply]) -> None:
    assert find_refusal(LETTER, answers) is None


def test_each_recipient_keeps_their_own_reply() -> None:
    assert {who: reply.code for who, reply in refused_recipients(LETTER, [FINE, FINE, NO, GO]).items()} == {
        "c@example.com": 550
    }
