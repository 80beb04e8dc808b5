"""What counts against an address: a clear word on its mailbox, and nothing else."""

import pytest

from jobs.mail.mailbox import Weight, weigh_reply, weigh_status
from worker.mail.smtp.reply import Refusal
from worker.mail.suppression import classify_refusal


@pytest.mark.parametrize(
    ("status", "weight"),
    [
        ("5.1.1", "hard"),
        ("5.1.6", "hard"),
        ("5.1.10", "hard"),
        ("4.1.1", "counted"),
        ("5.1.2", "counted"),
        ("5.2.2", "counted"),
        ("4.4.7", "counted"),
        ("5.4.4", "counted"),
        ("5.1.351", "counted"),
        ("5.4.310", "counted"),
        ("5.4.316", "counted"),
        ("5.4.300", "counted"),
        ("5.4.31", "none"),
        ("5.7.1", "none"),
        ("5.7.515", "none"),
        ("5.3.4", "none"),
        ("5.6.0", "none"),
        ("5.0.0", "none"),
        ("2.1.5", "none"),
        ("", "none"),
        ("nonsense", "none"),
    ],
)
def test_a_status_weighs_what_its_class_and_detail_say(status: str, weight: Weight) -> None:
    assert weigh_status(status) == weight


@pytest.mark.parametrize(
    ("reply", "weight"),
    [
        (Refusal("rcpt", 550, "5.1.1 no such user"), "hard"),
        (Refusal("rcpt", 550, "no such user"), "counted"),
        (Refusal("rcpt", 550, "5.1.1 rejected, your address is listed by zen.spamhaus.org"), "none"),
        (Refusal("rcpt", 550, "5.1.1 mailbox full"), "counted"),
        (Refusal("rcpt", 550, "5.1.1 your IP is listed"), "none"),
        (Refusal("rcpt", 550, "5.1.1 hourly limit"), "none"),
        (Refusal("rcpt", 550, "5.1.1 unsolicited mail"), "none"),
        (Refusal("rcpt", 550, "5.1.1 sender verification failed"), "none"),
        (Refusal("rcpt", 550, "5.1.1 access denied"), "none"),
        (Refusal("rcpt", 550, "5.1.1 User ana@example.com not listed in Domino Directory"), "hard"),
        (Refusal("rcpt", 554, "go away"), "none"),
        (Refusal("rcpt", 550, "5.7.1 blocked"), "none"),
        (Refusal("rcpt", 450, "4.2.0 greylisted"), "none"),
        (Refusal("mail", 550, "5.1.1 you"), "none"),
        (Refusal("dot", 550, "5.1.1 after the fact"), "none"),
    ],
)
def test_only_a_permanent_refusal_of_the_recipient_says_anything(reply: Refusal, weight: Weight) -> None:
    assert classify_refusal(reply) == weight


@pytest.mark.parametrize(
    ("status", "words", "weight"),
    [
        (
            "5.1.1",
            "smtp; 550 5.1.1 <ana@example.com>: Recipient address rejected: User unknown in relay recipient table",
            "hard",
        ),
        (
            "5.1.1",
            "smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please try double-checking",
            "hard",
        ),
        ("5.0.0", "smtp; 550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found by SMTP address lookup", "hard"),
        ("5.1.1", "", "hard"),
        ("5.1.1", "smtp; 550 5.7.1 Service unavailable; client blocked", "none"),
        ("5.1.1", "smtp; 554 Service unavailable; Client host blocked using zen.spamhaus.org", "none"),
        ("5.1.1", "smtp; 550 rejected: 192.0.2.7 is in our blocklist", "none"),
        ("5.1.1", "smtp; 450 4.2.1 receiving mail at a rate that prevents delivery", "none"),
        ("5.1.1", "smtp; 550 5.1.1 too many messages, slow down", "none"),
        ("5.1.1", "smtp; 550 Sender address rejected", "none"),
        ("5.1.1", "smtp; 554 5.7.1 Relay access denied", "none"),
        ("5.1.1", "smtp; 552 5.2.2 over quota", "counted"),
        ("5.1.1", "smtp; 552 mailbox is full", "counted"),
        ("5.1.1", "smtp; 451 4.3.0 try again later", "none"),
        ("5.1.1", "smtp; 450 no such user", "counted"),
        ("5.1.1", "smtp; 550 account is disabled", "counted"),
        ("5.1.10", "dns; domain not found", "counted"),
        ("5.7.1", "smtp; 550 5.1.1 user unknown", "none"),
        (
            "5.1.351",
            "smtp; 550 5.1.351 Remote server returned unknown recipient -> 550 5.1.1 user unknown",
            "hard",
        ),
        (
            "5.1.351",
            "smtp; 550 5.1.351 Remote server returned unknown recipient or mailbox unavailable",
            "counted",
        ),
        ("5.1.351", "smtp; 550 5.1.351 Remote server returned -> 550 5.7.1 rejected", "none"),
        ("5.4.316", "smtp; 550 5.4.316 Message expired, connection refused", "counted"),
    ],
)  # fmt: skip  a reply a line
def test_where_a_status_and_the_quoted_reply_disagree_the_narrower_is_believed(
    status: str, words: str, weight: Weight
) -> None:
    assert weigh_reply(status, words) == weight
