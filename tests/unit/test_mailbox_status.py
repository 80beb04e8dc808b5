"""What counts against an address: a clear word on its mailbox, and nothing else."""

import pytest

from jobs.mail.mailbox import Weight, weigh_status
from worker.mail.reply import Reply
from worker.mail.suppression import weigh


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
def test_the_weight_of_a_status(status: str, weight: Weight) -> None:
    assert weigh_status(status) == weight


@pytest.mark.parametrize(
    ("reply", "weight"),
    [
        (Reply("rcpt", 550, "5.1.1 no such user"), "hard"),
        (Reply("rcpt", 550, "no such user"), "counted"),
        (Reply("rcpt", 554, "go away"), "none"),
        (Reply("rcpt", 550, "5.7.1 blocked"), "none"),
        (Reply("rcpt", 450, "4.2.0 greylisted"), "none"),
        (Reply("mail", 550, "5.1.1 you"), "none"),
        (Reply("dot", 550, "5.1.1 after the fact"), "none"),
    ],
)
def test_only_a_permanent_refusal_of_the_recipient_says_anything(reply: Reply, weight: Weight) -> None:
    assert weigh(reply) == weight
