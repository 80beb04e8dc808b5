"""The words of a server in a log line: its own, and nothing that the mail has as well."""

import pytest
from hypothesis import given, strategies as st

from worker.mail.failure_fields import MASK, failure_fields, mask_mail

MAIL = {
    "to": [{"address": "ana.garcia@example.com", "name": "Ana García Ruiz"}],
    "cc": [{"address": "u2@example.org", "name": ""}],
    "sender": "no-reply@company.example",
    "subject": "Cierre de noviembre",
    "text": "La tarea Cierre de noviembre vence el viernes, dice Luis.",
    "html": "<p>La tarea <b>Cierre de noviembre</b> vence el viernes</p>",
}


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        (
            "main recipient: rcpt 452 4.2.2 mailbox full",
            {
                "account": "main",
                "failure": "recipient",
                "stage": "rcpt",
                "code": "452",
                "reply": "4.2.2 mailbox full",
            },
        ),
        (
            "attempt 30 of 30 failed: main message: dot 554 5.7.1 rejected as spam",
            {
                "account": "main",
                "failure": "message",
                "stage": "dot",
                "code": "554",
                "reply": "5.7.1 rejected as spam",
            },
        ),
        (
            "main: ConnectionResetError at data",
            {"account": "main", "failure": "connection", "reply": "ConnectionResetError at data"},
        ),
        (
            "main account: the server cannot be reached: timeout at connect",
            {"account": "main", "failure": "account", "reply": "the server cannot be reached: timeout at connect"},
        ),
        ("every recipient was refused before", {"failure": "mail", "reply": "every recipient was refused before"}),
    ],
)
def test_a_reason_is_told_by_its_parts(reason: str, fields: dict[str, str]) -> None:
    assert failure_fields(reason, MAIL) == fields


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("<ana.garcia@example.com> over quota", f"<{MASK}> over quota"),
        ("ANA.GARCIA: user unknown", f"{MASK}.{MASK}: user unknown"),
        ("no such user 'Ana García Ruiz'", f"no such user '{MASK} {MASK} {MASK}'"),
        ("u2@example.org unknown", f"{MASK} unknown"),
        ("subject cierre de noviembre is blocked", f"subject {MASK} {MASK} {MASK} is blocked"),
        ("contains: la tarea cierre de", MASK),
        ("vence el viernes, dice", MASK),
        ("try again later", "try again later"),
        ("a\nb\t c", "a b c"),
    ],
)
def test_what_the_mail_has_too_is_taken_out_of_a_reply(reply: str, told: str) -> None:
    assert mask_mail(reply, MAIL) == told


def test_an_address_of_another_is_taken_out_too_and_a_long_reply_is_cut() -> None:
    assert mask_mail("ask postmaster@provider.example", {}) == f"ask {MASK}"
    assert len(mask_mail("word " * 1000, {})) == 300


@given(
    local=st.from_regex(r"[a-z]{3,10}", fullmatch=True), before=st.text(max_size=20), after=st.text(max_size=20)
)
def test_no_reply_carries_the_name_of_a_recipient(local: str, before: str, after: str) -> None:
    told = mask_mail(f"{before} {local} {after}", {"to": f"{local}@example.com"})
    assert f" {local} " not in f" {told} "
