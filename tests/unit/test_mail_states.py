"""What is said of a mail: its state from its job and journal, and what to do when its delivery is unknown."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.mail.journal import Line, read_line
from jobs.mail.stream import STREAMS, Stream
from ops.jobs.job import Event
from ops.mail.trace import Facts, State, state_of
from worker.mail.uncertain import Earlier, Unknown, after_unknown, find_earlier

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def event(outcome: str, reason: str = "") -> Event:
    return Event(at=NOW, attempt=1, outcome=outcome, reason=reason)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (Facts(job="ready"), "queued"),
        (Facts(job="scheduled"), "queued"),
        (Facts(job="ready", held=True), "held"),
        (Facts(job="leased"), "sending"),
        (Facts(job="retrying", journal=[event("retry", "main: rcpt 451")]), "deferred"),
        (Facts(job="ready", journal=[event("deferred", "main: closed")]), "deferred"),
        (Facts(job="ready", journal=[event("uncertain", "main: lease lost")]), "deferred"),
        (Facts(job="scheduled", parked="uncertain"), "uncertain"),
        (Facts(job="scheduled", parked="version"), "held"),
        (Facts(job="done", result={"r": {"code": 250}}), "accepted"),
        (Facts(job="done", result={"r": {"state": "suppressed"}}), "suppressed"),
        (Facts(job="suppressed"), "suppressed"),
        (
            Facts(job="dead", journal=[event("dead", "attempt 3 of 3 failed: main recipient: rcpt 550 no")]),
            "bounced",
        ),
        (Facts(job="dead", journal=[event("dead", "main recipient: rcpt 550 5.1.1 no")]), "bounced"),
        (Facts(job="dead", journal=[event("dead", "main message: dot 554 5.6.0 no")]), "dead"),
        (Facts(job="dead", journal=[event("dead", "crash_loop")]), "dead"),
        (Facts(job="dead"), "dead"),
        (Facts(job="unknown", journal=[event("expired")]), "expired"),
        (Facts(job="unknown", journal=[event("cancelled")]), "cancelled"),
        (Facts(job="unknown", journal=[event("accepted", "by ana")]), "accepted"),
        (Facts(job="unknown"), "unknown"),
    ],
)
def test_a_mail_is_in_one_state(facts: Facts, state: State) -> None:
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
    assert after_unknown(Unknown(age, idempotent=idempotent), STREAMS[stream]) == decision


@pytest.mark.parametrize(
    ("journal", "earlier"),
    [
        ([], None),
        ([("retry", "main: rcpt 451")], None),
        ([("uncertain", "main: lease lost")], Earlier(account="main")),
        ([("uncertain", "lease lost")], Earlier()),
        ([("uncertain", "main: no reply"), ("retry", "spare: connect")], Earlier(account="main")),
        ([("uncertain", "main: x"), ("parked", "y"), ("resend", "by ana")], Earlier(account="main", decided=True)),
        ([("uncertain", "main: x"), ("unparked", "")], Earlier(account="main", decided=True)),
        ([("uncertain", "a: x"), ("resend", "by ana"), ("uncertain", "b: y")], Earlier(account="b")),
        ([("resend", "by ana")], None),
    ],
)
def test_the_journal_tells_which_attempt_may_have_delivered_the_mail(
    journal: list[tuple[str, str]], earlier: Earlier | None
) -> None:
    assert find_earlier({"outcome": outcome, "reason": reason} for outcome, reason in journal) == earlier


@pytest.mark.parametrize(
    "line",
    [
        Line("main", "", "dot 250 2.0.0 ok"),
        Line("main", "recipient", "rcpt 550 5.1.1 no"),
        Line("a-1", "account", "x: y\nz"),
    ],
)
def test_a_line_of_the_journal_is_read_as_it_was_written(line: Line) -> None:
    assert read_line(str(line)) == line


@pytest.mark.parametrize("name", ["", "Code", "a b", "x" * 33, "-x"])
def test_a_stream_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a stream"):
        Stream(name=name)
