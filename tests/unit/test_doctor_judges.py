"""The doctor's judgement: pure functions from facts to findings, and words for every finding."""

import ast
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from jobs.mail.account import Account
from ops.depth.live_workers import LiveWorker, WorkerTrouble
from ops.depth.read import Depth
from ops.doctor import texts as words
from ops.doctor.checks_mail import judge_domain, judge_host, judge_server
from ops.doctor.checks_redis import judge_redis
from ops.doctor.checks_workers import judge_worker
from ops.doctor.dns import DomainFacts, HostFacts
from ops.doctor.examine import accounts_of
from ops.doctor.finding import DoctorFinding, wrong
from ops.doctor.postgres import PostgresFacts, judge_postgres
from ops.doctor.redis_facts import RedisFacts
from ops.doctor.smtp import ServerFacts
from ops.language import LANGUAGES

NOW = datetime(2026, 11, 23, tzinfo=UTC)
NOTHING = Depth(at=NOW, lanes=(), workers=(), reports=())
HEALTHY = RedisFacts(
    info={
        "redis_version": "7.2.4",
        "used_memory": 100 * 2**20,
        "maxmemory": 2**30,
        "aof_enabled": 1,
        "evicted_keys": 0,
    },
    config={"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec"},
    skew=0.002,
    mail_bytes=8192,
    depth=NOTHING,
    host="127.0.0.1",
    encrypted=False,
    password=False,
)
ACCOUNT = Account(name="main", host="smtp.example.com", port=587, username="me")
SERVER = ServerFacts(
    account=ACCOUNT,
    starttls=True,
    certificate_ends=NOW + timedelta(days=90),
    offers={"auth": "PLAIN LOGIN", "size": "35882577"},
)
DOMAIN = DomainFacts(
    domain="example.com",
    spf=("v=spf1 include:_spf.google.com ~all",),
    spf_included={"_spf.google.com": "v=spf1 ip4:192.0.2.0/24 ~all"},
    dkim={"google": "v=DKIM1; k=rsa; p=AAAA"},
    dmarc=("v=DMARC1; p=quarantine; rua=mailto:x@example.com",),
    mail_servers=("mx.example.com",),
)


def codes(findings: Iterable[DoctorFinding]) -> dict[str, str]:
    return {one.code: one.severity for one in findings}


def bad(findings: Iterable[DoctorFinding]) -> set[str]:
    return {one.code for one in findings if one.severity != "fine"}


@pytest.mark.parametrize(("bound", "severity"), [(30, "warning"), (2, "wrong")])
def test_a_clock_of_redis_beyond_the_configured_bound_is_wrong(bound: int, severity: str) -> None:
    found = codes(judge_redis(replace(HEALTHY, skew=5.0), bound=timedelta(seconds=bound)))
    assert found["redis.clock"] == severity


@pytest.mark.parametrize(
    ("change", "code", "severity"),
    [
        ({"info": {"redis_version": "6.2.14"}}, "redis.old", "wrong"),
        ({"config": {"maxmemory-policy": "allkeys-lru"}}, "redis.eviction", "wrong"),
        ({"info": {"evicted_keys": 7}}, "redis.evicted", "wrong"),
        ({"config": {"appendonly": "no"}}, "redis.no_aof", "wrong"),
        ({"info": {"aof_last_write_status": "err"}}, "redis.aof_failed", "wrong"),
        ({"config": {"appendfsync": "no"}}, "redis.no_fsync", "warning"),
        ({"info": {"rdb_last_bgsave_status": "err"}}, "redis.save_failed", "wrong"),
        ({"info": {"used_memory": 2**30 - 2**20}}, "redis.full", "wrong"),
        ({"info": {"maxmemory": 110 * 2**20}}, "redis.full", "wrong"),
        ({"info": {"maxmemory": 0, "total_system_memory": 2**33}}, "redis.no_limit", "warning"),
        ({"mail_bytes": 200_000}, "redis.memory", "warning"),
        ({"skew": -4.0}, "redis.clock", "warning"),
        ({"skew": 90.0}, "redis.clock", "wrong"),
        ({"host": "10.0.0.7", "password": True}, "redis.no_tls", "warning"),
        ({"host": "10.0.0.7", "encrypted": True}, "redis.no_password", "wrong"),
    ],
)
def test_each_fault_of_redis_is_found_with_its_severity(change: dict[str, Any], code: str, severity: str) -> None:
    merged: dict[str, Any] = {
        name: {**getattr(HEALTHY, name), **value} if isinstance(value, dict) else value
        for name, value in change.items()
    }
    findings = codes(judge_redis(replace(HEALTHY, **merged)))
    assert findings.get(code) == severity
    assert bad(judge_redis(replace(HEALTHY, **merged))) - {"workers.none"} == {code}


def test_a_redis_as_it_must_be_is_fine_and_tells_its_room_in_mails() -> None:
    findings = list(judge_redis(HEALTHY))
    assert bad(findings) == {"workers.none"}
    (memory,) = [one for one in findings if one.code == "redis.memory"]
    assert memory.values["mails"] == (2**30 - 100 * 2**20) // 8192


def test_a_managed_redis_that_tells_no_configuration_is_judged_by_what_it_tells() -> None:
    info = {**HEALTHY.info, "maxmemory_policy": "volatile-lru", "aof_enabled": 0}
    assert bad(judge_redis(replace(HEALTHY, config={}, info=info))) == {
        "redis.eviction",
        "redis.no_aof",
        "workers.none",
    }


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (replace(SERVER, greeting="mx.example.com ESMTP Exim 4.96 Sat"), "smtp.exim"),
        (ServerFacts(account=ACCOUNT, fault="ConnectionRefusedError"), "smtp.away"),
        (ServerFacts(account=ACCOUNT, starttls=False), "smtp.no_starttls"),
        (ServerFacts(account=ACCOUNT, starttls=True, tls_fault="self-signed"), "smtp.tls_failed"),
        (replace(SERVER, certificate_ends=NOW + timedelta(days=3)), "smtp.certificate"),
        (replace(SERVER, offers={}), "smtp.no_auth"),
        (replace(SERVER, offers={"auth": "GSSAPI NTLM"}), "smtp.no_password"),
        (replace(SERVER, account=replace(ACCOUNT, auth="google")), "smtp.no_xoauth2"),
        (replace(SERVER, offers={**SERVER.offers, "size": "1000000"}), "smtp.small"),
        (replace(SERVER, account=replace(ACCOUNT, preset="microsoft365")), "smtp.basic_auth"),
    ],
)
def test_each_fault_of_a_mail_server_is_found(facts: ServerFacts, code: str) -> None:
    assert bad(judge_server(facts, now=NOW)) == {code}


def test_a_mail_server_as_it_must_be_is_fine() -> None:
    assert codes(judge_server(SERVER, now=NOW)) == dict.fromkeys(
        ("smtp.ehlo", "smtp.tls", "smtp.auth", "smtp.size"), "fine"
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"spf": ()}, "spf.none"),
        ({"spf": ("v=spf1 -all", "v=spf1 ~all")}, "spf.many"),
        ({"spf": ("v=spf1 mx ~all",), "spf_included": {}}, "spf.provider"),
        ({"spf": ("v=spf1 include:_spf.google.com +all",)}, "spf.everybody"),
        ({"spf": ("v=spf1 include:_spf.google.com all",)}, "spf.everybody"),
        ({"spf": ("v=spf1 include:_spf.google.com ?all",)}, "spf.open"),
        (
            {"spf": ("v=spf1 include:_spf.google.com a:mx.example.com mx" + " exists:%{i}.x" * 9 + " -all",)},
            "spf.lookups",
        ),
        ({"dkim": {}}, "dkim.unseen"),
        ({"dkim": {"google": "v=DKIM1; p="}}, "dkim.unseen"),
        ({"dmarc": ()}, "dmarc.none"),
        ({"dmarc": ("v=DMARC1; p=none", "v=DMARC1; p=reject")}, "dmarc.many"),
        ({"dmarc": ("v=DMARC1; p=none",)}, "dmarc.watching"),
        ({"dmarc": ("v=DMARC1; rua=mailto:x@y.z",)}, "dmarc.unreadable"),
        ({"mail_servers": ()}, "domain.no_mx"),
        ({"mail_servers": ("",)}, "domain.no_mx"),
        ({"unanswered": ("TXT example.com",)}, "dns.unanswered"),
    ],
)
def test_each_fault_of_a_sender_domain_is_found(change: dict[str, Any], code: str) -> None:
    facts = replace(DOMAIN, **change)
    assert bad(judge_domain(facts, presets=frozenset({"google-workspace"}), our_key="", our_selector="")) == {code}


def test_a_sender_domain_as_it_must_be_is_fine() -> None:
    assert not bad(judge_domain(DOMAIN, presets=frozenset({"google-workspace"}), our_key="", our_selector=""))


def test_what_was_not_answered_is_not_judged() -> None:
    silent = ("TXT example.com", "TXT google._domainkey.example.com", "TXT _dmarc.example.com", "MX example.com")
    facts = DomainFacts(domain="example.com", unanswered=silent)
    assert bad(judge_domain(facts, presets=frozenset(), our_key="", our_selector="")) == {"dns.unanswered"}


@pytest.mark.parametrize(
    ("published", "code"),
    [({}, "dkim.missing"), ({"s1": "v=DKIM1; p=BBBB"}, "dkim.other"), ({"s1": "v=DKIM1;p=AA AA"}, "dkim.right")],
)
def test_our_own_dkim_key_must_be_the_one_that_is_published(published: dict[str, str], code: str) -> None:
    facts = replace(DOMAIN, dkim=published)
    findings = judge_domain(
        facts, presets=frozenset({"generic"}), our_key="v=DKIM1; k=rsa; p=AAAA", our_selector="s1"
    )
    (found,) = [one for one in findings if one.code.startswith("dkim.")]
    assert found.code == code
    if found.severity == "wrong":
        assert "p=AAAA" in words.remedy_text(found)


def test_a_mail_servers_address_needs_a_name_that_leads_back() -> None:
    names = {"192.0.2.1": ("mx.example.com",), "192.0.2.2": (), "192.0.2.3": ("else.example",)}
    facts = HostFacts(host="mx.example.com", names=names, confirmed=frozenset({"192.0.2.1"}))
    assert [one.code for one in judge_host(facts)] == ["ptr.right", "ptr.none", "ptr.unconfirmed"]
    assert [one.code for one in judge_host(HostFacts(host="x"))] == ["ptr.no_address"]


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (PostgresFacts(fault="ConnectionRefusedError"), "postgres.away"),
        (PostgresFacts(version=120_004), "postgres.old"),
        (PostgresFacts(version=160_001, standby=True), "postgres.standby"),
        (PostgresFacts(version=160_001), "postgres.right"),
    ],
)
def test_each_fault_of_postgres_is_found(facts: PostgresFacts, code: str) -> None:
    assert [one.code for one in judge_postgres(facts)][:1] == [code]


def test_every_finding_has_words_and_every_row_is_found() -> None:
    folder = Path(words.__file__).parent
    trees = [ast.parse(file.read_text()) for file in folder.glob("*.py") if not file.name.startswith("texts")]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    codes_like = {text for text in texts if isinstance(text, str) and re.fullmatch(r"[a-z]+\.[a-z_0-9]+", text)}
    rooms = {code.partition(".")[0] for code in words.ENGLISH}
    assert {text for text in codes_like if text.partition(".")[0] in rooms} == set(words.ENGLISH)


def test_every_finding_with_a_remedy_has_a_paragraph_that_begins_with_its_severity() -> None:
    page = (Path(words.__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([a-z]+\.[a-z_0-9]+)` \| ((?:wrong|look|ok)[^.]*)\.", page, re.MULTILINE))
    assert set(told) == {code for code, (_, remedy) in words.ENGLISH.items() if remedy}
    folder = Path(words.__file__).parent
    source = "\n".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    of_call = {"wrong": "wrong", "warning": "look"}
    for name, code in re.findall(r"\b(wrong|warning)\(\s*\"([a-z]+\.[a-z_0-9]+)\"", source):
        assert of_call[name] in told[code], code


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_language_has_every_text_with_the_same_values_settings_and_commands() -> None:
    assert set(words.LANGUAGES) == set(words.MARKS) == set(words.COUNTS) == set(LANGUAGES)
    same = re.compile(r"MOMENTUS_[A-Z_]+|\./run [a-z]+ [a-z-]+|docs/[a-z]+\.md")
    for rows in words.LANGUAGES.values():
        assert set(rows) == set(words.ENGLISH)
        for code, row in rows.items():
            for text, english in zip(row, words.ENGLISH[code], strict=True):
                assert bool(text) == bool(english), code
                assert placeholders(text) == placeholders(english), code
                named = same.findall(text.replace("docs/es/", "docs/"))
                assert {one.strip() for one in named} == {one.strip() for one in same.findall(english)}


def test_a_finding_is_told_in_the_language_asked_for_without_control_characters() -> None:
    finding = wrong("spf.none", "example.com")
    assert words.cause_text(finding) == "has no SPF record"
    assert words.cause_text(finding, "es") == "no tiene registro SPF"
    told = words.findings_text([finding], "es").splitlines()
    assert told[0] == "FALLO  example.com: no tiene registro SPF"
    assert told[-1] == "1 con fallo, 0 por revisar, 0 bien"
    assert "\x1b" not in words.findings_text(
        [DoctorFinding(severity="wrong", code="smtp.away", where="x", values={"fault": "\x1b[2J"})]
    )


def test_the_account_of_the_settings_has_the_name_that_all_other_commands_give_it() -> None:
    (account,) = accounts_of({"host": "mail.example.com", "port": 587, "tls": "required"})
    assert account.name == "default"


@pytest.mark.parametrize(
    ("part", "code"),
    [("reports", "worker.no_database"), ("ledger relay", "worker.ledger_stands"), ("rights", "worker.no_right")],
)
def test_a_part_of_a_worker_that_stands_is_wrong_after_a_quarter_of_a_minute(part: str, code: str) -> None:
    found = [
        (one.code, one.severity)
        for for_s in (0, 14, 15)
        for one in judge_worker(
            LiveWorker(
                id="w",
                host="h",
                pid=1,
                seen_ms=0,
                lanes={},
                troubles=(WorkerTrouble(part=part, error="it is away", for_s=for_s),),
            )
        )
    ]
    assert found == [(code, "warning"), (code, "warning"), (code, "wrong")]
