"""Who is measured: how each server is started, and under which path it has a document.

Ours is the reader as it ships, three ways: with the session check (everything on), open, and with its own copy.
Node with our duty (ioredis/duty.js) checks and sends the same. The others check nothing and send a document as it
is stored; nginx sends a file, which is the ceiling.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bench.queue_peers.install import NotInstalled, install_environment, install_modules

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
OURS = "/v1/reports/bench/{}"
PLAIN = "/{}"


@dataclass(frozen=True, slots=True)
class Start:
    """How a server is started.

    Attributes:
        path: of a document, with a place for its number.
        session: whether requests carry a token.
    """

    argv: tuple[str, ...]
    path: str = PLAIN
    environment: Mapping[str, str] = field(default_factory=dict)
    session: bool = False


Making = Callable[[str, int, Path], Start]
"""From the address of Redis, a port and an empty folder.

Raises:
    NotInstalled: with the reason.
"""


def ours(settings: Mapping[str, str], root: Path = _ROOT) -> Making:
    """Return how the reader of a checkout of this repository is started, with these settings."""

    def make(url: str, port: int, _folder: Path) -> Start:
        named = {f"MOMENTUS_READER__{name.upper()}": value for name, value in settings.items()}
        environment = {"MOMENTUS_REDIS_URL": url, "MOMENTUS_READER__PORT": str(port), "PYTHONPATH": str(root)}
        session = settings.get("access") != "open"
        return Start((sys.executable, "-m", "reader"), OURS, environment | named, session)

    return make


def _uvicorn(name: str) -> Making:
    def make(url: str, port: int, _folder: Path) -> Start:
        python = install_environment("reader", _HERE / "requirements.txt")
        loop = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error")
        app = (str(python), "-m", "uvicorn", f"bench.reader_peers.apps:{name}", "--port", str(port))
        return Start((*app, *loop), PLAIN, {"BENCH_REDIS_URL": url, "PYTHONPATH": str(_ROOT)})

    return make


def _granian(url: str, port: int, _folder: Path) -> Start:
    python = install_environment("reader", _HERE / "requirements.txt")
    kind = ("--interface", "asgi", "--loop", "uvloop", "--workers", "1", "--no-log")
    app = (str(python), "-m", "granian", "bench.reader_peers.apps:raw", "--port", str(port))
    return Start((*app, *kind), PLAIN, {"BENCH_REDIS_URL": url, "PYTHONPATH": str(_ROOT)})


def _node(script: str, path: str, *, session: bool) -> Making:
    def make(url: str, port: int, _folder: Path) -> Start:
        modules = install_modules(_HERE / "ioredis")
        argv = (modules.node, str(_HERE / "ioredis" / script), str(port))
        return Start(argv, path, {**modules.environment, "BENCH_REDIS_URL": url}, session)

    return make


def _webdis(url: str, port: int, folder: Path) -> Start:
    redis_port = int(url.rsplit(":", 1)[1].partition("/")[0])
    password = url.partition("://")[2].rpartition("@")[0].lstrip(":")
    wishes = {
        "redis_host": "127.0.0.1",
        "redis_port": redis_port,
        "redis_auth": password or None,
        "http_host": "127.0.0.1",
        "http_port": port,
        "threads": os.cpu_count(),
        "pool_size": 20,
        "daemonize": False,
        "verbosity": 0,
        "logfile": str(folder / "webdis.log"),
        "acl": [{"disabled": ["DEBUG"]}],
    }
    (folder / "webdis.json").write_bytes(orjson.dumps(wishes))
    return Start((_program("webdis"), str(folder / "webdis.json")), "/GET/{}")


def _nginx(_url: str, port: int, folder: Path) -> Start:
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers could not read our folder
    lines = f"""
    {user} daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
    events {{ worker_connections 1024; }}
    http {{
      access_log off; sendfile on; keepalive_requests 1000000; default_type application/json;
      open_file_cache max=2000; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
      fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
      server {{ listen 127.0.0.1:{port}; root {folder}/documents; }}
    }}
    """
    (folder / "nginx.conf").write_text(lines, "utf-8")
    return Start((_program("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)))


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if found is None:
        raise NotInstalled(f"skipped: no {name} on this machine")
    return found


def versions() -> str:
    """Return the versions of the peers on this machine, in one line."""
    packages = (_HERE / "requirements.txt").read_text("utf-8").replace("==", " ").splitlines()
    ioredis = orjson.loads((_HERE / "ioredis" / "package.json").read_bytes())["dependencies"]["ioredis"]
    programs = [f"{name} {_version(name)}" for name in ("nginx", "webdis", "wrk")]
    return ", ".join([*packages, f"ioredis {ioredis}", *programs])


def _version(name: str) -> str:
    """Return a program's version as Debian names it; asked itself, webdis starts to serve."""
    query = ["dpkg-query", "--show", "--showformat=${Version}", name]
    try:
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout  # noqa: S603  fixed words
    except (OSError, subprocess.CalledProcessError):
        return "(of unknown version)"


OURS_BY_NAME: Mapping[str, Mapping[str, str]] = {
    "momentus, session": {},
    "momentus, open": {"access": "open"},
    "momentus, session and copy": {"copy_mib": "64"},
}

PEERS: Mapping[str, Making] = {
    **{name: ours(settings) for name, settings in OURS_BY_NAME.items()},
    "webdis": _webdis,
    "node, our duty": _node("duty.js", OURS, session=True),
    "node, ioredis": _node("server.js", PLAIN, session=False),
    "fastapi": _uvicorn("fast"),
    "starlette": _uvicorn("star"),
    "raw asgi": _uvicorn("raw"),
    "granian": _granian,
    "nginx, files": _nginx,
}
