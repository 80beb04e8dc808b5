"""The heads that different browsers send: each its own session, analytics cookie, order of fields and wishes.

A head is written in two parts, between which the benchmark puts `If-None-Match`; so a request is one of a session,
a document and a condition, and hardly any two are the same bytes.
"""

from collections.abc import Callable, Sequence

_FIREFOX = "Mozilla/5.0 ({}; rv:{}.0) Gecko/20100101 Firefox/{}.0"
_CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
_SAFARI = "Mozilla/5.0 ({}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{}.1 Safari/605.1.15"
_SYSTEMS = ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64")
_LANGUAGES = ("es-ES,es;q=0.9,en;q=0.8", "es-MX,es;q=0.8,en-US;q=0.5,en;q=0.3", "en-GB,en;q=0.9", "es")
_HOST = "Host: localhost"
_PAGE = "Referer: http://localhost/page/dashboard?node={}"

Head = tuple[list[str], list[str]]
"""Fields before and after the condition."""


def heads(tokens: Sequence[str]) -> list[Head]:
    """Return the head of one browser for each token, of four kinds in turn."""
    kinds: tuple[Callable[[int, str], Head], ...] = (_chrome, _firefox, _safari, _program)
    return [kinds[number % len(kinds)](number, token) for number, token in enumerate(tokens)]


def as_line(head: Head) -> str:
    """Return a head as one line of a file: fields end with U+001F, the parts are separated by U+001E."""
    return "\x1e".join("".join(f"{one}\x1f" for one in part) for part in head)


def _cookies(number: int, token: str) -> str:
    """Return the cookies of a browser: ours is the first, the last or between others, which are its own."""
    others = [f"_ga=GA1.1.{number * 7919 + 104729}.1764{number:06d}", f"theme={'dark' if number % 3 else 'light'}"]
    others.insert(number % 3, f"__Host-momentus={token}")
    return "Cookie: " + "; ".join(others)


def _chrome(number: int, token: str) -> Head:
    version = 128 + number % 15
    before = [
        _HOST,
        "Connection: keep-alive",
        'sec-ch-ua-platform: "Windows"',
        f"User-Agent: {_CHROME.format(_SYSTEMS[number % 3], version)}",
        "Accept: application/json",
        f'sec-ch-ua: "Chromium";v="{version}", "Google Chrome";v="{version}", "Not?A_Brand";v="24"',
        "sec-ch-ua-mobile: ?0",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Dest: empty",
        _PAGE.format(number),
        f"Accept-Encoding: {'gzip, deflate, br, zstd' if number % 8 else 'gzip, deflate, br'}",
        f"Accept-Language: {_LANGUAGES[number % 4]}",
        _cookies(number, token),
    ]
    return before, []


def _firefox(number: int, token: str) -> Head:
    version = 126 + number % 14
    before = [
        _HOST,
        f"User-Agent: {_FIREFOX.format(_SYSTEMS[number % 3], version, version)}",
        "Accept: */*",
        f"Accept-Language: {_LANGUAGES[number % 4]}",
        "Accept-Encoding: gzip, deflate, br, zstd",
        _PAGE.format(number),
        "DNT: 1",
        "Connection: keep-alive",
        _cookies(number, token),
        "Sec-Fetch-Dest: empty",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Site: same-origin",
    ]
    return before, ["Priority: u=4"]


def _safari(number: int, token: str) -> Head:
    before = [
        _HOST,
        "Accept: application/json, text/plain, */*",
        "Sec-Fetch-Site: same-origin",
        _cookies(number, token),
    ]
    after = [
        "Sec-Fetch-Dest: empty",
        f"Accept-Language: {_LANGUAGES[number % 4]}",
        "Sec-Fetch-Mode: cors",
        f"User-Agent: {_SAFARI.format(_SYSTEMS[1], 16 + number % 3)}",
        _PAGE.format(number),
        "Accept-Encoding: gzip, deflate, br",
        "Connection: keep-alive",
    ]
    return before, after


def _program(number: int, token: str) -> Head:
    before = ["accept: application/json", f"authorization: Bearer {token}"]
    after = [
        f"user-agent: dashboard-export/{number % 20}.{number % 7}",
        f"accept-encoding: {('identity', 'gzip', 'gzip, deflate')[number // 4 % 3]}",
        f"x-request-id: {number:08x}",
        "host: localhost",
    ]
    return before, after
