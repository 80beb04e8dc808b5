"""The functions of the ledger stage what a producer would, in the caller's transaction, and refuse by field."""

import hashlib
import json
import random
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from jobs import JobError, Mail
from jobs.mail.address import normal_address
from ledger.schema import install
from producers.compose import Composer
from producers.envelope import SIZE_LIMIT, read_envelope
from producers.identifier import is_job_id
from producers.send_options import SendOptions
from producers.suppression import digest_of
from tests.ledgers import ledger_of

pytestmark = pytest.mark.ledger_is_there

EPOCH = date(1970, 1, 1)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
PAGE = (Path(__file__).resolve().parents[2] / "docs/ledger.md").read_text(encoding="utf-8")


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[asyncpg.Connection]:
    async with ledger_of(database) as connection:
        yield connection


async def stage(ledger: asyncpg.Connection, **arguments: Any) -> str:
    """Call `stage` with valid arguments and these."""
    given = {"kind": "invoice.send", "payload": '{"order": 7}', "lane": "jobs.invoices"} | arguments
    casts = {"payload": "::jsonb", "due_at": "::timestamptz", "expires_at": "::timestamptz"}
    named = ", ".join(f"{name} => ${n}{casts.get(name, '')}" for n, name in enumerate(given, 1))
    return await ledger.fetchval(f"SELECT momentus_ledger.stage({named})", *given.values())


async def stage_mail(ledger: asyncpg.Connection, **arguments: Any) -> str:
    given = {"recipient": "ana@example.com", "subject": "Hola", "body": "Buenos días"} | arguments
    named = ", ".join(f"{name} => ${n}" for n, name in enumerate(given, 1))
    return await ledger.fetchval(f"SELECT momentus_ledger.stage_mail({named})", *given.values())


async def row(ledger: asyncpg.Connection, job_id: str) -> asyncpg.Record:
    found = await ledger.fetchrow("SELECT * FROM momentus_ledger.jobs WHERE id = $1", job_id)
    assert found is not None
    return found


async def test_a_staged_mail_is_the_one_that_a_producer_composes(ledger: asyncpg.Connection) -> None:
    job_id = await stage_mail(
        ledger, recipient="Ana@EXAMPLE.com", subject=' Cierre «30» "x" ', body="Línea 1\n\tá\\", html="<p>á</p>"
    )
    found = await row(ledger, job_id)
    written = json.loads(found["payload"])
    now = datetime.fromtimestamp(written["et"] / 1000, UTC)
    mail = Mail(to="Ana@EXAMPLE.com", subject=' Cierre «30» "x" ', text="Línea 1\n\tá\\", html="<p>á</p>")
    entry = Composer("default", now=lambda: now).entry(mail, job_id=job_id)
    assert written == json.loads(entry.payload) | {"l": (found["day"] - EPOCH).days}
    assert read_envelope(found["payload"]).kind == Mail.kind
    assert found["payload"].startswith(b'{"v":1,')
    assert (found["lane"], found["recipients"]) == (mail.lane, [digest_of("ana@example.com")])


async def test_a_mail_that_is_due_later_bears_that_date(ledger: asyncpg.Connection) -> None:
    due = datetime.now(UTC) + timedelta(hours=5)
    found = await row(ledger, await stage_mail(ledger, due_at=due, lane="mail.bulk"))
    envelope = read_envelope(found["payload"])
    assert parsedate_to_datetime(str(envelope.payload["date"])) == due.replace(microsecond=0)
    assert abs(envelope.enqueued_ms + envelope.delay_ms - due.timestamp() * 1000) <= 1
    assert found["due_at"] == due


async def test_times_stand_in_the_envelope_as_a_producer_writes_them(ledger: asyncpg.Connection) -> None:
    due, expires = datetime.now(UTC) + timedelta(days=1), datetime.now(UTC) + timedelta(days=2)
    found = await row(
        ledger, await stage(ledger, due_at=due, expires_at=expires, version=3, limit_key="customer:42")
    )
    written = json.loads(found["payload"])
    times = SendOptions(at=due, expires=expires).times(datetime.fromtimestamp(written["et"] / 1000, UTC))
    assert (written["x"], written["pv"]) == (times.expires_ms, 3)
    assert abs(written["d"] - times.wait_ms) <= 1
    assert found["limit_key"] == "customer:42"


async def test_a_key_is_stored_as_a_producer_stores_it(ledger: asyncpg.Connection) -> None:
    first = await row(ledger, await stage_mail(ledger, key="task:42"))
    second = await row(ledger, await stage_mail(ledger, key="task:42"))
    other = await row(ledger, await stage_mail(ledger, key="task:42", subject="Adiós"))
    assert first["key"] == hashlib.sha256(b"task:42").hexdigest()
    assert first["fingerprint"] == second["fingerprint"] != other["fingerprint"]
    assert first["window_ms"] == timedelta(days=7) // timedelta(milliseconds=1)


async def test_ids_are_those_of_producers_and_sort_by_time(ledger: asyncpg.Connection) -> None:
    staged = "SELECT momentus_ledger.stage('a.b', '{}', 'jobs') AS id FROM generate_series(1, 200)"
    job_ids = [one["id"] for one in await ledger.fetch(staged)]
    assert all(map(is_job_id, job_ids))
    assert {len(one) for one in job_ids} == {len("{jobs}") + 26}
    assert len(set(job_ids)) == 200
    assert [one[:17] for one in job_ids] == sorted(one[:17] for one in job_ids)
    made = Composer("default").entry(Mail(to="ana@example.com", subject="a", text="a")).id
    assert made[6:14] == job_ids[-1][6:14], "the same minute"


async def test_a_transaction_that_is_rolled_back_leaves_nothing(ledger: asyncpg.Connection) -> None:
    transaction = ledger.transaction()
    await transaction.start()
    await stage_mail(ledger)
    await transaction.rollback()
    assert await ledger.fetchval("SELECT count(*) FROM momentus_ledger.jobs") == 0
    assert await ledger.fetchval("SELECT count(*) FROM momentus_ledger.pending") == 0


async def test_an_id_of_the_callers_own_is_kept_and_refused_the_second_time(ledger: asyncpg.Connection) -> None:
    assert await stage(ledger, id="{jobs}order-7") == "{jobs}order-7"
    with pytest.raises(asyncpg.UniqueViolationError, match=r"^id: '\{jobs\}order-7' exists"):
        await stage(ledger, id="{jobs}order-7")
    await ledger.execute("DELETE FROM momentus_ledger.pending")
    with pytest.raises(asyncpg.UniqueViolationError, match=r"^id: "):
        await stage(ledger, id="{jobs}order-7")


YEAR_9999 = datetime(9999, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("kind", value) for value in (None, "", "Invoice", "invoice", "invoice.send\n", "a.b.", 'a."b')),
        *(("lane", value) for value in (None, "", "mail", "jobs.", "jobs.A", "jobs.x y", "reports", "mail.x")),
        *(("payload", value) for value in (None, "[]", "7", '"x"', "null")),
        *(("key", value) for value in ("", "x" * 513, "á" * 257)),
        ("due_at", YEAR_9999),
        ("expires_at", datetime(2020, 1, 1, tzinfo=UTC)),
        *(("limit_key", value) for value in ("", "a b", "hold:x", "a:b:c", "x" * 129)),
        *(("version", value) for value in (None, 0, -1)),
        ("fingerprint", "abc"),
        *(("id", value) for value in ("", "x", "{mail}x", "{jobs}", "{jobs}a b", "{jobs}" + "x" * 256)),
        *(("id", value) for value in ("{jobs}año", "{jobs}\U0001f600", "{jobs}a\x7f", "{jobs}a\u200b")),
    ],
)
async def test_an_invalid_argument_is_refused_by_its_name(
    ledger: asyncpg.Connection, field: str, value: object
) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match=f"^{field}: "):
        await stage(ledger, **{field: value})
    assert await ledger.fetchval("SELECT count(*) FROM momentus_ledger.jobs") == 0


async def test_infinite_times_are_refused_or_mean_now(ledger: asyncpg.Connection) -> None:
    for field, value in (("due_at", "infinity"), ("expires_at", "infinity"), ("expires_at", "-infinity")):
        with pytest.raises(asyncpg.InvalidParameterValueError, match=f"^{field}: "):
            await ledger.fetchval(
                f"SELECT momentus_ledger.stage('a.b', '{{}}', 'jobs', {field} => '{value}'::timestamptz)"
            )
    past = "SELECT momentus_ledger.stage('a.b', '{}', 'jobs', due_at => '-infinity'::timestamptz)"
    assert (await row(ledger, await ledger.fetchval(past)))["due_at"] is None


async def test_a_payload_over_the_limit_is_refused(ledger: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match=r"^payload: .* send a reference"):
        await stage(ledger, payload=json.dumps({"x": "y" * SIZE_LIMIT}))


async def test_a_mail_waits_in_a_lane_of_mails(ledger: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match=r"^lane: jobs takes no mails"):
        await stage(ledger, kind="mail.send", lane="jobs")


async def test_a_mail_to_several_is_recorded_for_each(ledger: asyncpg.Connection) -> None:
    payload = {"to": [{"address": "ana@example.com"}], "cc": [{"address": "LUIS@example.com", "name": "L"}]}
    found = await row(ledger, await stage(ledger, kind="mail.send", lane="mail.bulk", payload=json.dumps(payload)))
    assert sorted(found["recipients"]) == sorted(map(digest_of, ("ana@example.com", "luis@example.com")))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("subject", value)
            for value in (None, "", " \t", "\u00a0\u3000", "x" * 256, "a\nb", "a\u2028b", "a\x85b", "=?a?q?b?=")
        ),
        *(("body", value) for value in (None, "", " \n", "\u00a0", "x" * 262_145)),
        ("html", '<img src="cid:logo">'),
        *(("lane", value) for value in (None, "jobs", "reports")),
    ],
)
async def test_a_mail_that_no_producer_would_take_is_refused_without_quoting_it(
    ledger: asyncpg.Connection, field: str, value: object
) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match=f"^{field}: ") as refusal:
        await stage_mail(ledger, **{field: value})
    assert "ana@" not in str(refusal.value)


ADDRESSES = [
    *("ana@example.com", "a.b+c@sub.example.co", "o'neil@example.com", "x@1.example.com", "A@EXAMPLE.COM"),
    *(f"{'x' * 64}@example.com", "a@xn--mnchen-3ya.de", "a@ab--cd.com", "=?a?q?b?=@example.com", "a@example.c0m"),
    *(
        "",
        "a",
        "@example.com",
        "a@",
        "a@b",
        "a@@example.com",
        "a b@example.com",
        "a@exa mple.com",
        "a@example.com\n",
    ),
    *(
        "a,b@example.com",
        "Ana <a@example.com>",
        "a@example..com",
        "a@-a.com",
        "a@a-.com",
        "a@example.com.",
        ".a@a.com",
    ),
    *("a.@a.com", "a..b@a.com", "á@example.com", "a@münchen.de", '"a"@example.com', "a@[127.0.0.1]", "a@1.2.3.4"),
    *("a@x.local", "a@test", "a@x.test", "a@localhost", "a@home.arpa", "a@x.onion", "a@x.invalid", "a@latest.com"),
    *(f"{'x' * 65}@example.com", f"a@{'x' * 64}.com", f"a@{'x.' * 125}com", f"{'x' * 64}@{'y.' * 93}com"),
    *("a@example.co_m", "a(x)@example.com", "a;b@example.com", "a@b@example.com", "a@example.com,b@example.com"),
]


async def test_an_address_that_is_accepted_is_one_that_a_producer_sends_unchanged(
    ledger: asyncpg.Connection,
) -> None:
    accepted, refusals = [], list[str]()
    for address in ADDRESSES:
        try:
            job_id = await stage_mail(ledger, recipient=address)
        except asyncpg.InvalidParameterValueError as refusal:
            refusals.append(str(refusal))
            continue
        written = json.loads((await row(ledger, job_id))["payload"])["k"]["to"]
        assert written == normal_address(address, field="to"), address
        accepted.append(address)
    assert all(one.startswith("recipient: ") and "@e" not in one for one in refusals)
    refused = set(ADDRESSES) - set(accepted)
    assert {one for one in refused if _is_good(one)} == {"a@xn--mnchen-3ya.de", "a@münchen.de"}
    assert len(accepted) > 5


def _is_good(address: str) -> bool:
    try:
        normal_address(address, field="to")
    except JobError:
        return False
    return True


@pytest.fixture
async def roles(ledger: asyncpg.Connection) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """Change to the role of a backend, a worker or a stranger; the server has them, so their names are new."""
    names = {one: f"test_{one}_{secrets.token_hex(4)}" for one in ("backend", "worker", "stranger")}
    await ledger.execute("".join(f"CREATE ROLE {name};" for name in names.values()))
    await install(ledger, backends=[names["backend"]], workers=[names["worker"]])

    async def change(role: str) -> None:
        await ledger.execute(f"SET ROLE {names[role]}")

    yield change
    await ledger.execute("RESET ROLE; DROP SCHEMA momentus_ledger CASCADE")
    await ledger.execute("".join(f"DROP ROLE {name};" for name in names.values()))


Roles = Callable[[str], Awaitable[None]]
ROW = "INSERT INTO momentus_ledger.jobs (day, id, lane, kind, payload) VALUES (current_date, 'a', 'l', 'k', '')"


async def test_a_backend_may_stage_and_nothing_else(ledger: asyncpg.Connection, roles: Roles) -> None:
    await roles("backend")
    await stage_mail(ledger)
    await ledger.execute(ROW)
    reads = [f"SELECT FROM momentus_ledger.{table}" for table in ("jobs", "pending", "ends", "effects")]
    for command in (*reads, "DELETE FROM momentus_ledger.jobs", "SELECT momentus_ledger.make_partitions(1)"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ledger.execute(command)


async def test_a_worker_may_take_up_record_and_make_partitions(ledger: asyncpg.Connection, roles: Roles) -> None:
    await ledger.execute(ROW)
    await roles("worker")
    await ledger.fetch("SELECT FROM momentus_ledger.pending FOR UPDATE SKIP LOCKED")
    await ledger.execute("INSERT INTO momentus_ledger.ends (day, id, state) VALUES (current_date, 'a', 'done')")
    await ledger.execute("DELETE FROM momentus_ledger.jobs")
    assert await ledger.fetchval("SELECT momentus_ledger.make_partitions(8)") == 3


async def test_a_role_without_a_grant_may_not_even_stage(ledger: asyncpg.Connection, roles: Roles) -> None:
    await roles("stranger")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await stage_mail(ledger)


async def test_every_statement_of_the_page_stages_a_job_with_the_rights_of_a_backend(
    ledger: asyncpg.Connection, roles: Roles
) -> None:
    statements = [
        one for block in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) for one in block.split(";\n") if one
    ]
    await roles("backend")
    for statement in statements:
        await ledger.execute(statement)
    await ledger.execute("RESET ROLE")
    rows = await ledger.fetch("SELECT * FROM momentus_ledger.jobs JOIN momentus_ledger.pending USING (day, id)")
    assert len(rows) == len(statements) == 3
    for found in rows:
        envelope = read_envelope(found["payload"])
        assert (envelope.kind, envelope.enqueued_ms > 0, is_job_id(found["id"])) == (found["kind"], True, True)
        assert json.loads(found["payload"])["l"] == (found["day"] - EPOCH).days


ATTEMPT = """
CREATE FUNCTION pg_temp.attempt(recipient text, subject text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    job_id text;
BEGIN
    job_id := momentus_ledger.stage_mail(recipient, subject, 'text');
    RETURN (SELECT convert_from(payload, 'UTF8')::jsonb -> 'k' FROM momentus_ledger.jobs WHERE id = job_id);
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN NULL;
END
$$
"""
"""The payload of a mail, or NULL for one that is refused."""
ADDRESS_PARTS = [
    *"abX01.-_+'!#$%&*/=?^`{|}~@\"(),:;<>[]\\ \t\n",
    "..",
    "--",
    "com",
    "a@b.com",
    ".test",
    "=?a?q?b?=",
]
SUBJECT_PARTS = [*"aB =?ñ\x01\x1f\x7f\x85\xa0\t\n\u200b\u2028\u3000\xad\U0001f600", "=?u?q?x"]


async def test_a_recipient_and_a_subject_are_accepted_if_and_only_if_a_producer_accepts_them(
    ledger: asyncpg.Connection,
) -> None:
    await ledger.execute(ATTEMPT)
    chance = random.Random(7)  # noqa: S311  examples

    def some(parts: list[str]) -> str:
        return "".join(chance.choice(parts) for _ in range(chance.randint(0, 7)))

    accepted = 0
    for number in range(1500):
        address = [some(ADDRESS_PARTS), f"{some(ADDRESS_PARTS)}@example.com", f"a@{some(ADDRESS_PARTS)}.com"][
            number % 3
        ]
        for recipient, subject in ((address, "a"), ("a@b.com", some(SUBJECT_PARTS))):
            found = await ledger.fetchval("SELECT pg_temp.attempt($1, $2)", recipient, subject)
            try:
                composed = Mail(to=recipient, subject=subject, text="text").compose(job_id="{mail}a", now=NOON)
            except JobError:
                composed = {}
            payload = json.loads(found or "{}")
            said = (recipient, subject)
            assert [payload.get(name) for name in ("to", "subject")] == [
                composed.get(name) for name in ("to", "subject")
            ], said
            accepted += found is not None
    assert 300 < accepted < 2700
