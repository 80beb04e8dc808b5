"""No value shows content in its repr, as asyncio, a debugger or a careless line would print it."""

import asyncio
import dataclasses
import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs import Attachment, Mail
from jobs.mail.letter import LetterSender, write_letter
from producers.envelope import read_envelope, write_envelope
from producers.keys import LaneKeys
from worker.engine import GiveUp, Park, TryLater
from worker.engine.admit import admit_claim
from worker.engine.attempt import Attempt, AttemptResult, Effect
from worker.engine.handler import handler
from worker.engine.lane import Claim, Completion, Lane
from worker.engine.outcome import Outcome
from worker.engine.progress import Progress
from worker.mail.deliver import send_mail
from worker.mail.policies import OpenedMail
from worker.mail.smtp.envelope import write_body, write_commands
from worker.mail.smtp.errors import MailRefused
from worker.mail.smtp.protocol import RepliesInterrupted, SMTPReply
from worker.mail.smtp.reply import Refusal

ROOMS = ("jobs", "producers", "sessions", "ledger", "worker", "reader")
CONTENT = {
    *(
        "to",
        "subject",
        "text",
        "html",
        "body",
        "head",
        "octets",
        "sender",
        "sender_name",
        "reply_to",
        "recipients",
    ),
    *(
        "recipient",
        "address",
        "username",
        "password",
        "values",
        "value",
        "headers",
        "fields",
        "attachments",
        "content",
    ),
    *("payload", "arguments", "items", "lines", "commands", "record", "data", "label", "user", "words_of_server"),
    *("told", "result", "redirect_to", "reply", "token", "fingerprint", "key_of_caller", "options", "context"),
}
"""Names of fields that hold what people wrote, who they are, or what opens a door."""
WHOLE = ("bytes", "object", "typing.Any", "Any")
"""In the type of a field: it may hold anything."""
HARMLESS = {
    ("Preset", "username"): "a provider's word for all its customers",
    ("_CompiledTemplate", "subject"): "templates hide their own",
    ("_CompiledTemplate", "text"): "templates hide their own",
    ("_CompiledTemplate", "html"): "templates hide their own",
    ("HeadPlace", "lines"): "numbers",
    ("Standing", "headers"): "ages and a tag",
    ("StoredScope", "head"): "a tag and instants",
    ("Claim", "token"): "of a lease; the log needs it",
    ("Mailer", "attachments"): "a folder",
    ("Turn", "faults"): "of Redis's scripts",
    ("Report", "schema"): "declared in a file",
    ("HeadTable", "values"): "of a report's file",
    ("NewSet", "costs"): "numbers",
    ("DatabaseSnapshot", "_connection"): "hides its own",
    ("DatabaseSnapshot", "_earliest"): "instants",
    ("Mailer", "sender"): "hides its own",
    ("_Question", "heard"): "None",
    ("Request", "found"): "of the routes in the code",
    ("LimitState", "held"): "hides its own",
    ("Sent", "message"): "hides its own",
    ("BoardOutcome", "reports"): "counts",
    ("Probe", "snapshot"): "hides its own",
}


def _is_value(one: object, module: str) -> bool:
    """A dataclass of this module; what a dataclass says in its own words is tested below."""
    if not (inspect.isclass(one) and one.__module__ == module and dataclasses.is_dataclass(one)):
        return False
    return hasattr(one.__repr__, "__wrapped__")


def value_classes() -> Iterator[type]:
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            if module.name.endswith("__main__"):
                continue
            for one in vars(importlib.import_module(module.name)).values():
                if _is_value(one, module.name):
                    yield one


def may_hold_content(one: "dataclasses.Field[Any]") -> bool:
    kind = one.type if isinstance(one.type, str) else getattr(one.type, "__name__", "") + str(one.type)
    callables = "Callable" in kind
    return one.name in CONTENT or (not callables and any(word in kind for word in WHOLE))


@pytest.mark.parametrize(
    "one", sorted(value_classes(), key=str), ids=lambda one: f"{one.__module__}.{one.__name__}"
)
def test_a_field_that_may_hold_content_is_not_shown(one: type) -> None:
    value: object = object.__new__(one)
    for part in dataclasses.fields(one):
        object.__setattr__(value, part.name, f"canary of {part.name}.")
    shown = repr(value)
    for part in dataclasses.fields(one):
        if may_hold_content(part) and (one.__name__, part.name) not in HARMLESS:
            assert f"canary of {part.name}." not in shown, f"{part.name}: add field(repr=False)"


async def _tells_nothing(_: Claim, _key: str, _told: bytes) -> None:
    """Nobody asks."""


async def _is_marked(_: Claim, _key: str, _note: str) -> bool:
    return True


async def test_no_value_on_the_way_of_a_mail_shows_what_is_in_it() -> None:
    mail = Mail(
        to="canary@example.com",
        subject="canary-subject",
        text="canary-body",
        reply_to="canary-reply@example.com",
        headers={"X-Canary": "canary-header"},
        attachments=[Attachment(name="canary.txt", content=b"canary-content")],
    )
    frozen = mail.compose(job_id="{mail}1", now=datetime.now(UTC))
    envelope = write_envelope(Mail.kind, frozen, enqueued_ms=1)
    claim = Claim("mail.normal", "{mail}1", envelope, 1, 1, 1, 0, "w-1:1")
    sender = LetterSender("canary-sender@example.com", "canary-name")
    letter = write_letter(frozen, default_sender=sender, attached={})
    answer = SMTPReply(550, "5.1.1 <canary@example.com> canary")
    reply = Refusal("rcpt", 550, answer.text)
    lane = Lane(LaneKeys("mail.normal"), 1)
    progress = Progress(_tells_nothing, claim, "key", asyncio.get_running_loop())
    attempt = Attempt(lane, claim, Effect(_is_marked, claim, "key"), progress, lambda *_: None)
    values: list[object] = [
        *(attempt, mail, read_envelope(envelope), claim, sender, letter, answer, reply, OpenedMail(frozen)),
        admit_claim(claim, {Mail.kind: handler(send_mail, kind=Mail.kind)}),
        *(
            write_commands(letter, {}),
            RepliesInterrupted([answer], TimeoutError()),
            MailRefused(reply, {"canary": reply}),
        ),
        *(GiveUp("canary"), TryLater("canary"), Park("canary"), Outcome("dead", reason="canary")),
        AttemptResult(Outcome("done"), b"canary"),
        Completion(claim, "done", timedelta(0), b"canary", timedelta(0), "canary"),
    ]
    assert write_body(letter.content)
    for value in values:
        assert "canary" not in repr(value).lower(), type(value)


def test_a_refusal_shows_no_word_of_the_server_in_a_traceback() -> None:
    refusal = MailRefused(Refusal("rcpt", 550, "5.1.1 <canary@example.com>"))
    assert "canary" not in "".join(traceback.format_exception(refusal))
