"""All that a process keeps is bounded by bytes: each cache and growing table of the source is named here.

A cache of texts that come from outside is a `Memo`, a `RecentNotes` or the reader's `Copy`, which weigh what they
keep. All others stand in a table with the reason for which they cannot grow: what they are keyed by is bounded by
the deployment (its reports, templates, lanes), by what is open or running and ends, or is of one small size.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from reader.connection import Connection
from reader.guard import KnownToken, weigh_known
from reader.memo import MEMOS, RecentNotes
from reader.store import StoredReports
from sessions.quick_load import QuickLoad
from sessions.token import new_token, place_of
from tests.sources import parsed

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("reader", "producers", "sessions", "reports", "ledger", "worker", "jobs")
MIB = 1 << 20
GROWING = {"dict", "OrderedDict", "defaultdict", "set", "Counter", "WeakKeyDictionary", "WeakValueDictionary"}
CACHES = {"cache", "lru_cache"}

DEPLOYED = "keyed by what is deployed"
OPEN = "holds what is open or running, and ends with it"
ONE_VALUE = "belongs to one message, report, refresh or reply"

KNOWN = {
    # weighed, by a class of its own
    "reader ReplyCache._entries": "weighed there: MOMENTUS_READER__COPY_MIB",
    "reader ReplyCache._keys": "of the same entries",
    "reader CachedKey.parts": "of the same entries",
    "reader ParsedRequests._requests": "weighed there: 16 MiB",
    "reader ParsedRequests._seen": "8,192 hashes",
    "reader Backlog._held": "weighed there: 64 MiB",
    # counted, of entries that have one small size
    "reader of_document": "16,384 of an ETag of 16 digits and a number: 10 MiB",
    "reader Standings._found": "64 reports",
    "reader _first_lines": "256 lines of 80 bytes",
    "reader _length": "16,384 lines of 30 bytes: 3 MiB",
    "reader _in_words": "1,024 texts of 20 bytes",
    "reader RedisClock._told": "four words",
    "reader RedisClock.doubts": "four words",
    "worker _decide": "4,096 of a code and the known words among a reply's first 1,000 characters",
    "worker OrderBook._latest": "three lane groups",
    "worker _apply_pause": "256 of a verdict of the table and a duration",
    "worker JobCounts.by_kind": "kinds and lanes of this worker, and `unknown`",
    "worker JobCount.outcomes": "thirteen words",
    "worker JobCount.errors": "31 names of classes",
    "producers _tracer": "one value",
    "worker REFUSALS": "six stages by 201 codes",
    "worker REFRESHES": "keyed by what is deployed: boards",
    "worker QUERIES": "keyed by what is deployed: reports",
    "worker FAILURES": "keyed by what is deployed: reports",
    "worker RefusedDomains._refused": "1,000 domain names with the codes of a reply",
    "jobs _is_ordinary": "64 dates",
    "jobs _all_readings": "64 dates",
    "jobs _once_a_day": "64 dates",
    "jobs _kind": "annotations of job classes, which are the program's",
    "jobs _hints": "job classes, which are the program's",
    "jobs _plain_kinds": "job classes, which are the program's",
    "jobs _validated": "4,096 addresses of at most 254 characters; a refusal is not kept",
    "jobs _date_field": "64 seconds",
    "jobs _remembered": "256 style sheets of at most 16 KiB",
    "jobs Templates._asked": "1,000 names of templates with a locale of at most 64 characters",
    "reports names_of_calls": "256 queries of report files",
    "reports top_of": "256 words of report files",
    "reports ratio_of": "256 words of report files",
    "reports weight_of": "256 words of report files",
    # keyed by what is deployed
    "reader Connection._refused": DEPLOYED + ": three kinds of notes",
    "reader Metrics._outcomes": DEPLOYED + ": the outcomes in the source",
    "producers read_script": DEPLOYED + ": scripts",
    "producers script_named": DEPLOYED + ": scripts",
    "producers _single": DEPLOYED + ": three styles of parameters",
    "producers _many": DEPLOYED + ": three styles of parameters",
    "producers _text": DEPLOYED + ": two statements",
    "producers SlotLinks._links": DEPLOYED + ": servers",
    "sessions script_source": DEPLOYED + ": scripts",
    "worker _statement": DEPLOYED + ": files of worker/ledger/sql",
    "worker Relay._resting": DEPLOYED + ": lanes",
    "worker Reconciler._ended_days": DEPLOYED + ": days that are kept",
    "worker WorkerDuties.context": DEPLOYED,
    "worker WorkerDuties.lane_limits": DEPLOYED + ": lanes",
    "worker WorkerDuties.policies": DEPLOYED,
    "worker EffectMarks._batchers": DEPLOYED + ": lane groups",
    "worker UnansweredClaims.lanes": DEPLOYED + ": lanes",
    "worker Handler.upcasters": DEPLOYED + ": versions of a payload",
    "worker _cached_method": DEPLOYED + ": events in the source",
    "worker _script": DEPLOYED + ": scripts",
    "worker _finish_keys": DEPLOYED + ": lanes",
    "worker _claim_keys": DEPLOYED + ": lanes",
    "worker _context": DEPLOYED + ": certificates",
    "reports RefreshMemo._trees": DEPLOYED + ": the last result of each tree query",
    "reports RefreshMemo._etags": DEPLOYED + ": the last result of each report",
    "reports RefreshMemo._columns": DEPLOYED + ": queries, by at most 1,000 processes of the server",
    "reports RefreshMemo._catalogues": DEPLOYED + ": boards",
    "reports RefreshMemo._last": DEPLOYED + ": the last set of each report",
    "reports RefreshMemo._distrusted": DEPLOYED + ": reports",
    "reports Keepers._boards": DEPLOYED + ": boards",
    "reports RolledUp._own": ONE_VALUE,
    "reports RolledUp._merged": ONE_VALUE,
    "reports Deadlines._of": ONE_VALUE,
    "worker Prober._said": DEPLOYED + ": boards",
    "worker Prober._waiting": DEPLOYED + ": boards",
    "worker TROUBLES": DEPLOYED + ": parts of a worker",
    "jobs _inline": DEPLOYED + ": one function",
    "jobs Templates._known": DEPLOYED + ": templates in the languages that they are written in",
    # open or running
    "reader ClusterGuard._sliding": OPEN,
    "reader Reader._tasks": OPEN,
    "reader Hints._followers": OPEN + ": streams, at most 1,000",
    "reader Listener.clients": OPEN + ": connections, at most 4,096",
    "producers Links._by_loop": OPEN + ": event loops",
    "producers _LOOP_OF": OPEN + ": redis-py clients that applications hand in",
    "producers LevelSender._late": OPEN + ": calls",
    "producers Waker._wanted": OPEN + ": event loops, each with at most the lane groups",
    "producers Waker._tasks": OPEN + ": event loops",
    "producers SyncSlotLinks._links": OPEN + ": primaries of a cluster",
    "producers Queue._turns": OPEN + ": calls",
    "producers Race._reaching": OPEN + ": servers that are asked for the primary",
    "worker Lane.running": OPEN + ": jobs",
    "worker Pump._cycles": OPEN + ": cycles",
    "worker Runner._attempts": OPEN + ": jobs",
    "worker Threads._running": OPEN + ": jobs",
    "worker Processes._all": OPEN + ": child processes, the same",
    "worker _ModuleFinder._specs": OPEN + ": imports",
    "worker Runner._newest": OPEN + ": jobs",
    "worker StandIn._claims": OPEN + ": jobs",
    "worker Rejection.fields": OPEN + ": a claim",
    "worker CycleResult.faults": OPEN + ": a cycle",
    "worker Gate._reports": OPEN + ": calls",
    "worker SMTPPool._opening": OPEN + ": connections",
    "worker SMTPPool._background": OPEN + ": connections",
    "worker WaitingMails._alone": OPEN + ": mails",
    # of one value
    "producers Batch._receipts": ONE_VALUE,
    "producers JobDescription.payload": ONE_VALUE,
    "worker SMTPConnection._extensions": ONE_VALUE,
    "worker Acceptance.refused": ONE_VALUE,
    "reports Catalogue.proofs": ONE_VALUE,
    "reports Probe.marks": ONE_VALUE,
    "reports Probe.taken": ONE_VALUE,
    "reports TakenMarks.nodes": ONE_VALUE + ", of at most 2,000 ids",
    "worker BoardOutcome.reports": ONE_VALUE,
    "worker BoardOutcome.failed": ONE_VALUE,
    "reports DatabaseSnapshot._trees": ONE_VALUE,
    "reports DatabaseSnapshot._earliest": ONE_VALUE,
    "jobs Mail.values": ONE_VALUE,
    "jobs NamedJob.payload": ONE_VALUE,
    "worker Recipients.suppressed": ONE_VALUE,
    "worker Recipients.settled": ONE_VALUE,
    "jobs _MessageParts._bodies": ONE_VALUE,
    "jobs _MessageParts._alternatives": ONE_VALUE,
    "jobs JobHandler.upcasters": ONE_VALUE,
    "worker OwnJobs.handlers": ONE_VALUE,
    "worker OwnJobs.lanes": ONE_VALUE,
    "reader DocumentList.found": ONE_VALUE,
    "reports Report.node_columns": ONE_VALUE,
    "reports Report.schema": ONE_VALUE,
    "reports Report.titles": ONE_VALUE,
    "reports Report.zones": ONE_VALUE,
    "reports HeadPlace.lines": ONE_VALUE,
    # for tests of backends
    "producers MemoryQueue._standing": "stands in for Redis in tests",
    "producers MemoryQueue._waiting": "stands in for Redis in tests",
    "producers MemoryQueue._running": "stands in for Redis in tests",
    "producers MemoryQueue._following": "stands in for Redis in tests",
    "sessions SessionMemory._records": "stands in for Redis in tests",
    "sessions SessionMemory._pointers": "stands in for Redis in tests",
    "sessions SessionMemory._epochs": "stands in for Redis in tests",
    "producers MemoryQueue._results": "stands in for Redis in tests",
    "producers MemoryQueue._digests": "stands in for Redis in tests",
    "producers MemorySuppression._reasons": "stands in for Redis in tests",
}


def name_of(node: ast.AST) -> str:
    """The last part of what is named or called."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    if isinstance(node, ast.Subscript):
        return name_of(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def begins_empty(value: ast.expr | None) -> bool:
    """Whether a value is a container to be filled later."""
    if isinstance(value, ast.Dict):
        return not value.keys
    if not isinstance(value, ast.Call):
        return False
    if name_of(value) == "field":
        factories = [one.value for one in value.keywords if one.arg == "default_factory"]
        return any(name_of(one) in GROWING for one in factories)
    return name_of(value) in GROWING and (not value.args or name_of(value) == "defaultdict")


def growing(body: list[ast.stmt], owner: str = "") -> Iterator[str]:
    """Functions that are cached, and containers that a module or the objects of a class keep."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from growing(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if CACHES & set(map(name_of, node.decorator_list)):
                yield node.name
            yield from (
                f"{owner}{name}" for name in _assigned(ast.walk(node)) if owner and name.startswith("self.")
            )
        else:
            yield from (f"{owner}{name}" for name in _assigned([node]))


def _assigned(nodes: Iterator[ast.AST] | list[ast.stmt]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign) and begins_empty(node.value):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            mine = isinstance(target, ast.Attribute) and name_of(target.value) == "self"
            yield f"self.{name_of(target)}" if mine else name_of(target)


def found_in(tree: ast.Module) -> list[str]:
    return [name.replace(".self.", ".") for name in growing(tree.body)]


def test_every_cache_and_growing_table_of_the_source_is_known_with_what_bounds_it() -> None:
    found = {
        f"{room} {name}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        for name in found_in(parsed(path))
    }
    assert found - KNOWN.keys() == set(), "keep it in a Memo or a Latest, or name here what bounds its bytes"
    assert KNOWN.keys() - found == set(), "is no longer there"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("@lru_cache(maxsize=9)\ndef look(text): ...", "look"),
        ("@functools.cache\ndef look(): ...", "look"),
        ("class A:\n def __init__(self):\n  self._b: dict[str, int] = {}", "A._b"),
        ("class A:\n def reset(self):\n  self._b = OrderedDict[str, int]()", "A._b"),
        ("class A:\n b: set[str] = field(default_factory=set)", "A.b"),
        ("_known = defaultdict(list)", "_known"),
    ],
)
def test_the_walk_sees_each_kind_of_cache(source: str, name: str) -> None:
    assert found_in(ast.parse(source)) == [name]


def test_what_a_function_fills_and_returns_is_no_cache() -> None:
    source = "def f():\n found = {}\n return found\nclass A:\n def g(self):\n  seen = set()"
    assert found_in(ast.parse(source)) == []


def test_all_memos_of_a_reader_together_are_bounded() -> None:
    assert sum(one.limit for one in MEMOS) <= 128 * MIB


def test_notes_are_kept_up_to_their_bytes_and_the_oldest_goes_first() -> None:
    latest = RecentNotes[str, str](limit=MIB, weigh=lambda key, value: len(key) + len(value))
    for number in range(20_000):
        latest.add_note(f"{number % 15_000}".rjust(500), "x" * (number % 100))
    assert latest.held == sum(len(key) + len(value) + 300 for key, value in latest.items()) <= MIB
    assert next(reversed(latest)) == f"{19_999 % 15_000}".rjust(500)
    before = latest.held
    latest.drop_note("never noted")
    assert latest.held == before


def test_known_tokens_weigh_what_their_texts_take() -> None:
    token = new_token("u" * 200)
    place = place_of(token)
    assert place is not None
    glance = QuickLoad.at_place(place, "u" * 200)
    known = KnownToken(place, glance, b"x" * 500)
    texts = (token, place.tag, place.digest, place.session_key, *glance.record, *glance.epoch)
    assert weigh_known(token, known) >= len(known.commands) + sum(map(len, texts)) / 2 + 500


def test_documents_without_a_variant_are_remembered_up_to_a_bound() -> None:
    store = StoredReports(Connection("redis://127.0.0.1:1"), tenant="t" * 100)  # nothing is asked
    for scope in range(1, 150_000):
        asked = store.lookup_of(store.key("r" * 60), str(scope), "zstd")
        store.read_snapshot(asked, [None, b"head", None, b"meta", None])
    assert store._plain.held <= 32 * MIB
    assert len(store._plain) > 10_000
