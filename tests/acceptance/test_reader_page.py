"""The files of the managers' page, as the reader serves them; tests/acceptance/test_managers_page.py opens it."""

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reader.page.files import PageFiles
from tests.reader_process import Client, LastingReaders, read_reply, request

WEB = Path(__file__).resolve().parents[2] / "reader/page/web"
NAMES = sorted(path.name for path in WEB.iterdir())
VERSION = PageFiles().version


@pytest.fixture
async def anybody(valkey_url: str, lasting_readers: LastingReaders) -> AsyncIterator[Client]:
    """A client without a session, of a reader that needs one for reports."""
    async with Client(await lasting_readers.port(valkey_url)) as client:
        yield client


async def test_anybody_gets_the_page_which_may_load_its_own_files_and_nothing_else(anybody: Client) -> None:
    reply = await anybody.get("/")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert reply.headers["cache-control"] == "no-cache"
    policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[f"{kind}-src"] for kind in ("script", "style", "img", "connect")} == {"'self'"}
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert policy["trusted-types"] == "'none'", "no text becomes HTML"
    assert (reply.headers["x-content-type-options"], reply.headers["referrer-policy"]) == (
        "nosniff",
        "no-referrer",
    )
    named = re.findall(rb'(?:href|src)="([^"]+)"', reply.body)
    for path in named:
        assert (await anybody.get(f"/{path.decode()}")).status == 200
    assert {path.decode().rpartition("/")[2] for path in named} == {*NAMES} - {"index.html"}, (
        "all are loaded early"
    )


async def test_a_file_is_kept_for_a_year_under_the_version_of_all_files(anybody: Client) -> None:
    kept = await anybody.get(f"/page/{VERSION}/main.js")
    assert (kept.status, kept.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert kept.body == (WEB / "main.js").read_bytes()
    of_another_build = await anybody.get(f"/page/{'0' * 16}/main.js")
    assert (of_another_build.status, of_another_build.headers["cache-control"]) == (200, "no-cache")
    assert of_another_build.body == kept.body


async def test_what_the_browser_has_is_not_sent_again_and_a_head_sends_nothing(anybody: Client) -> None:
    for path in ("/", f"/page/{VERSION}/style.css"):
        first = await anybody.get(path)
        again = await anybody.get(path, If_None_Match=first.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        assert again.headers["cache-control"] == first.headers["cache-control"]
        packed = await anybody.get(path, Accept_Encoding="gzip, br")
        assert (packed.headers["content-encoding"], gzip.decompress(packed.body)) == ("gzip", first.body)
    reader, writer = await anybody.connect()
    writer.write(request("/").replace(b"GET", b"HEAD", 1))
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = len((await anybody.get("/")).body)
    assert b"content-length: %d\r\n" % length in head


async def test_no_other_file_can_be_had_by_a_path(anybody: Client) -> None:
    paths = [
        "/page/",
        "/index.html",
        f"/page/{VERSION}/index.html",
        f"/page/{VERSION}/files.py",
        "/page/x/main.js",
    ]
    paths += [f"/page/{VERSION}/../files.py", f"/page/{VERSION}/%2e%2e%2ffiles.py", f"/page/{VERSION}/main.js/"]
    assert {(await anybody.get(path)).problem for path in paths} == {"not-found"}
    reader, writer = await anybody.connect()
    writer.write(request("/").replace(b"GET", b"POST", 1))
    assert (await read_reply(reader)).problem == "method-not-allowed"


async def test_the_page_of_an_open_reader_has_the_names_of_this_machine_alone(
    valkey_url: str, lasting_readers: LastingReaders
) -> None:
    async with Client(await lasting_readers.port(valkey_url, READER__ACCESS="open")) as client:
        reader, writer = await client.connect()
        writer.write(request("/").replace(b"localhost", b"evil.example"))
        assert (await read_reply(reader)).problem == "misdirected"


# ---- the files themselves


def test_all_files_of_the_page_together_have_at_most_60_kb() -> None:
    assert sum((WEB / name).stat().st_size for name in NAMES) <= 60_000


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_no_script_of_the_page_makes_html_of_text_or_names_another_host(name: str) -> None:
    text = (WEB / name).read_text(encoding="utf-8")
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
    assert set(re.findall(r"https?://[^'\s]*", text)) <= {"http://www.w3.org/2000/svg"}


def test_each_text_of_the_page_is_there_in_both_languages_with_the_same_places() -> None:
    text = (WEB / "texts.js").read_text(encoding="utf-8")
    spanish, english = text.split("\n  es: {")[1].split("\n  en: {")
    places = [
        {name: sorted(re.findall(r"\{\w+\}", words)) for name, words in texts_in(part)}
        for part in (spanish, english)
    ]
    assert places[0] == places[1]
    assert len(places[0]) > 30


def texts_in(part: str) -> list[tuple[str, str]]:
    return re.findall(r"^    '?([\w-]+)'?: (.*(?:\n      .*)*)", part.split("\n  },", maxsplit=1)[0], re.MULTILINE)
