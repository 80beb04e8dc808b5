"""What is said of a mail: its state from its job and journal, and what to do when its delivery is unknown."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.mail.journal import JournalEntry, read_line
from jobs.mail.stream import STREAMS, Stream
from ops.jobs.job import HistoryEvent
from ops.mail.trace import State, TraceFacts, state_of
from worker.mail.uncertain import EarlierDelivery, UnknownDelivery, decide_after_unknown, find_earlier

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def event(outcome: str, reason: str = "") -> HistoryEvent:
    return HistoryEvent(at=NOW, attempt=1, outcome=outcome, reason=reason)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (TraceFacts(job="ready"), "queued"),
        (TraceFacts(job="scheduled"), "queued"),
        (TraceFacts(job="ready", held=True), "held"),
        (TraceFacts(job="leased"), "sending"),
        (TraceFacts(job="retrying", journal=[event("retry", "main: rcpt 451")]), "deferred"),
        (TraceFacts(job="ready", journal=[event("deferred", "main: closed")]), "deferred"),
        (TraceFacts(job="ready", journal=[event("uncertain", "main: lease lost")]), "deferred"),
        (TraceFacts(job="scheduled", parked="uncertain"), "uncertain"),
        (TraceFacts(job="scheduled", parked="version"), "held"),
        (TraceFacts(job="done", result={"r": {"code": 250}}), "accepted"),
        (TraceFacts(job="done", result={"r": {"state": "suppressed"}}), "suppressed"),
        (TraceFacts(job="suppressed"), "suppressed"),
        (
            TraceFacts(job="dead", journal=[event("dead", "attempt 3 of 3 failed: main recipient: rcpt 550 no")]),
            "bounced",
        ),
        (TraceFacts(job="dead", journal=[event("dead", "main recipient: rcpt 550 5.1.1 no")]), "bounced"),
        (TraceFacts(job="dead", journal=[event("dead", "main message: dot 554 5.6.0 no")]), "dead"),
        (TraceFacts(job="dead", journal=[event("dead", "crash_loop")]), "dead"),
        (TraceFacts(job="dead"), "dead"),
        (TraceFacts(job="unknown", journal=[event("expired")]), "expired"),
        (TraceFacts(job="unknown", journal=[event("cancelled")]), "cancelled"),
        (TraceFacts(job="unknown", journal=[event("accepted", "by ana")]), "accepted"),
        (TraceFacts(job="unknown"), "unknown"),
    ],
)
def test_a_mail_is_in_one_state(facts: TraceFacts, state: State) -> None:
    assert state_of(facts) == state


@pytest.mark.parametrize(
    ("stream", "idempotent", "age", "decision"),
    [
        ("transactional", False, timedelta(0), "resend"),
        ("code", False, timedelta(0), "hold"),
        ("code", True, timedelta(hours=23), "resend"),
        ("code", True, timedelta(hours=25), "hold"),
    ],
)
def test_the_stream_decides_about_an_unknown_outcome_unless_the_provider_drops_copies(
    stream: str,
    idempotent: bool,  # noqa: FBT001  a row of the table
    age: timedelta,
    decision: str,
) -> None:
    assert decide_after_unknown(UnknownDelivery(age, idempotent=idempotent), STREAMS[stream]) == decision


@pytest.mark.parametrize(
    ("journal", "earlier"),
    [
        ([], None),
        ([("retry", "main: rcpt 451")], None),
        ([("uncertain", "main: lease lost")], EarlierDelivery(account="main")),
        ([("uncertain", "lease lost")], EarlierDelivery()),
        ([("uncertain", "main: no reply"), ("retry", "spare: connect")], EarlierDelivery(account="main")),
        (
            [("uncertain", "main: x"), ("parked", "y"), ("resend", "by ana")],
            EarlierDelivery(account="main", decided=True),
        ),
        ([("uncertain", "main: x"), ("unparked", "")], EarlierDelivery(account="main", decided=True)),
        ([("uncertain", "a: x"), ("resend", "by ana"), ("uncertain", "b: y")], EarlierDelivery(account="b")),
        ([("resend", "by ana")], None),
    ],
)
def test_the_journal_tells_which_attempt_may_have_delivered_the_mail(
    journal: list[tuple[str, str]], earlier: EarlierDelivery | None
) -> None:
    assert find_earlier({"outcome": outcome, "reason": reason} for outcome, reason in journal) == earlier


@pytest.mark.parametrize(
    "line",
    [
        JournalEntry("main", "", "dot 250 2.0.0 ok"),
        JournalEntry("main", "recipient", "rcpt 550 5.1.1 no"),
        JournalEntry("a-1", "account", "x: y\nz"),
    ],
)
def test_a_line_of_the_journal_is_read_as_it_was_written(line: JournalEntry) -> None:
    assert read_line(str(line)) == line


@pytest.mark.parametrize("name", ["", "Code", "a b", "x" * 33, "-x"])
def test_a_stream_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="name: must be a lower-case letter"):
        Stream(name=name)
