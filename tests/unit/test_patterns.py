"""No pattern costs more than its text is long, whoever wrote the text.

The walk finds each pattern of the product, in Python and in Lua, and what is done with it. A new one is measured
without anybody's doing; one that the walk cannot read fails it.
"""

import ast
import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from lupa.lua51 import LuaRuntime

from ops.mail import bounces
from tests.growth import MOST, growth, hostile_texts, texts_of
from tests.sources import nodes, parsed
from worker.mail.policies import OpenedMail

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("jobs", "producers", "sessions", "reader", "worker", "ops")
CALLS = frozenset({"match", "fullmatch", "search", "sub", "subn", "split", "finditer", "findall"})
COMPUTED = {
    ("local/sink/page.py", "pattern"): ("local.sink.page", "_VIEWS"),
    ("ops/console/page.py", "pattern"): ("ops.console.page", "_VIEWS"),
    ("worker/mail/smtp/reply_words.py", "pattern"): ("worker.mail.smtp.reply_words", "_PATTERNS"),
}
"""Patterns that stand in a table of their module, by the name they have where they are used."""
LUA_NAMED = re.compile(r"^local (\w+) = ('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")$", re.MULTILINE)
LUA_CALL = re.compile(
    r"string\.(g?match|find|gsub)\((?:[^,()\n]|\([^()\n]*\))+,\s*('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\w+)"
)
LUA_COMPUTED = {
    ("worker/engine/scripts/claim.lua", "sequence"): (
        "'[\\240-\\244][\\128-\\191][\\128-\\191][\\128-\\191]'",
        "'[\\224-\\239][\\128-\\191][\\128-\\191]'",
        "'[\\194-\\223][\\128-\\191]'",
    ),
    **{("ops/jobs/scripts/find_jobs.lua", name): ("'@example.com\"'",) for name in ("text", "domain")},  # plain
    ("worker/engine/scripts/return_strays.lua", "own_token"): ("'^worker%.(%d+):(%d+)$'",),
}
"""Patterns that a script makes or takes out of a list, by the name they have where they are used."""
LUA_CLASSES = "a0 @.-:<>\"'(),;[]\\{}é"


@dataclass(frozen=True)
class Found:
    """A pattern, where it is, and what is done with it."""

    place: str
    pattern: re.Pattern[Any]
    uses: frozenset[str]


def product() -> list[Path]:
    files = [ROOT / "settings.py", ROOT / "log.py"]
    return files + [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def with_patterns() -> list[str]:
    """Files that use regular expressions."""
    return [str(path.relative_to(ROOT)) for path in product() if "import re\n" in path.read_text(encoding="utf-8")]


@cache
def patterns_of(where: str) -> list[Found]:
    return list(_patterns(where, parsed(ROOT / where)))


def _patterns(where: str, tree: ast.Module) -> Iterator[Found]:
    module = importlib.import_module(where.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    uses = uses_of(nodes(tree))
    for node in nodes(tree):
        if not (isinstance(node, ast.Call) and is_of_re(node.func)):
            continue
        call = node.func.attr  # type: ignore[attr-defined]  # is_of_re has looked
        place = f"{where}:{node.lineno}"
        if call == "compile":
            name = name_of(tree, node)
            pattern = getattr(module, name)
            yield Found(place, pattern, uses.get(name) or frozenset({"search", "fullmatch"}))
        elif call in CALLS:
            for pattern in written(where, node):
                yield Found(place, pattern, frozenset({call}))


def is_of_re(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re"
    )


def name_of(tree: ast.Module, call: ast.Call) -> str:
    """What a compiled pattern is bound to, at the head of its module."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is call:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if isinstance(target, ast.Name):
                return target.id
    raise AssertionError(f"line {call.lineno}: bind a pattern to a name at the head of its module")


def uses_of(every: Iterable[ast.AST]) -> dict[str, frozenset[str]]:
    """Which of a pattern's methods are used, by its name; a name that goes elsewhere as a whole is not listed."""
    uses: dict[str, set[str]] = {}
    seen, by_method = Counter[str](), Counter[str]()
    for node in every:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            seen[node.id] += 1
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in CALLS:
            uses.setdefault(node.value.id, set()).add(node.attr)
            by_method[node.value.id] += 1
    return {name: frozenset(used) for name, used in uses.items() if 0 < seen[name] == by_method[name]}


def written(where: str, call: ast.Call) -> list[re.Pattern[Any]]:
    """The patterns of a call such as ``re.split(...)``."""
    given = call.args[0]
    if isinstance(given, ast.Name):
        module, table = COMPUTED[where, given.id]
        return [re.compile(one) for one in getattr(importlib.import_module(module), table)]
    return [re.compile(ast.literal_eval(given))]


def test_the_walk_finds_the_patterns_of_the_product() -> None:
    every = [found for where in with_patterns() for found in patterns_of(where)]
    files = {found.place.partition(":")[0] for found in every}
    with_re = {
        str(path.relative_to(ROOT))
        for path in product()
        if re.search(
            r"^\s+.*\bre\.[a-z]+\(|^[A-Z_]+.* = re\.compile\(", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert with_re <= files
    assert len(every) > 90


@pytest.mark.parametrize("where", with_patterns())
def test_the_patterns_of_a_file_cost_what_their_texts_are_long(where: str) -> None:
    for found in patterns_of(where):
        costs_what_its_text_is_long(found)


def costs_what_its_text_is_long(found: Found) -> None:
    binary = isinstance(found.pattern.pattern, bytes)
    text = found.pattern.pattern.decode("latin-1") if binary else found.pattern.pattern
    flags = found.pattern.flags & ~re.UNICODE if binary else found.pattern.flags
    for make in hostile_texts(text, flags & ~re.UNICODE):
        for use in sorted(found.uses):
            steep = growth(using(found.pattern, use), encoded(make) if binary else make)
            assert steep < MOST, f"{found.place} .{use}: eight times {make(40)!r} costs {steep:.0f} times as much"


def using(pattern: re.Pattern[Any], use: str) -> Callable[[Any], object]:
    if use in ("sub", "subn"):
        nothing = b"" if isinstance(pattern.pattern, bytes) else ""
        return lambda text: pattern.sub(nothing, text)
    if use == "finditer":
        return lambda text: sum(1 for _ in pattern.finditer(text))
    return getattr(pattern, use)


def encoded(make: Callable[[int], str]) -> Callable[[int], bytes]:
    return lambda size: make(size).encode("latin-1", "replace")


@cache
def lua_patterns() -> list[tuple[str, str, str]]:
    found = []
    for path in scripts():
        source, where = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        named = dict(LUA_NAMED.findall(source))
        for call in LUA_CALL.finditer(source):
            line = source.count("\n", 0, call.start()) + 1
            texts = LUA_COMPUTED.get((where, call[2])) or (named.get(call[2], call[2]),)
            found += [(f"{where}:{line}", str(call[1]), str(one)) for one in texts]
    return found


def scripts() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.lua"))


def test_the_walk_finds_the_patterns_of_the_scripts() -> None:
    calls = sum(len(re.findall(r"string\.(?:g?match|find|gsub)\(", path.read_text())) for path in scripts())
    assert calls == len(lua_patterns()) - sum(len(texts) - 1 for texts in LUA_COMPUTED.values())
    assert all(pattern[0] in "'\"" for _, _, pattern in lua_patterns()), "name it in LUA_COMPUTED"


@pytest.mark.parametrize(("place", "use", "pattern"), lua_patterns(), ids=lambda one: one if ":" in one else "")
def test_a_pattern_of_a_script_costs_what_its_text_is_long(place: str, use: str, pattern: str) -> None:
    replaced = ", ''" if use == "gsub" else ""
    body = f"string.{use}(text, {pattern}{replaced})"
    counted = f"for _ in {body} do end" if use == "gmatch" else f"return {body}"
    run = LuaRuntime(encoding="latin-1").eval(f"function(text) {counted} end")
    for make in texts_of((*LUA_CLASSES, "a@", "@a", '"verified_us":', "1 ", "a:")):
        steep = growth(run, make)
        assert steep < MOST, f"{place}: eight times {make(40)!r} costs {steep:.0f} times as much"


@pytest.mark.parametrize("pattern", [r"[a-z]+@[a-z]+", r"<a[^>]*>", r'"[^x]*x'])
def test_the_measure_tells_a_quadratic_pattern(pattern: str) -> None:
    search = re.compile(pattern).search
    assert any(growth(search, make, short=250) >= MOST for make in hostile_texts(pattern))


@pytest.mark.parametrize(
    "pattern", [r"(?<![^\s<>])[^\s<>]+@[^\s<>]+", r"\s*x", r"<a[^<>]*>", r"a{1,320}\Z", r"[a-z]+"]
)
def test_the_measure_lets_a_linear_pattern_pass(pattern: str) -> None:
    match = re.compile(pattern).match
    assert all(growth(match, make) < MOST for make in hostile_texts(pattern))


RUN = r"[^\s<>\"'(),;:\[\]]"


@given(st.text(st.sampled_from("ab@@. <>,;:'[]\t\nñ")))
def test_masks_still_find_each_address(text: str) -> None:
    """As the plain pattern does, which is quadratic."""
    plain = re.compile(f"{RUN}+@{RUN}+")
    assert OpenedMail(fields={}, sealed=True).mask_text(text) == plain.sub("[masked]", text)
    in_bounces = re.compile(plain.pattern.replace(r"\[\]", ""))
    assert bounces._ADDRESS.sub("[address]", text) == in_bounces.sub("[address]", text)
    assert mask_of_erase()(text) == plain.sub("[masked]", text)


@cache
def mask_of_erase() -> Callable[[str], str]:
    (erase,) = [one for place, _, one in lua_patterns() if place.startswith("worker/mail/scripts/erase.lua")]
    return LuaRuntime().eval(f"function(text) return (string.gsub(text, {erase}, '[masked]')) end")


def test_a_server_may_answer_at_any_length_without_holding_the_worker() -> None:
    words = "x" * 64 * 1024
    opened = OpenedMail(fields={}, sealed=True)
    assert opened.mask_text(words) == words
    assert opened.mask_text(f"{words}@example.com") == "[masked]"
