"""Bad requests that the reader is asked again and again, each with the seed of the forms that are made of it.

A new one that is found by any means is added here, with the status that is right for it.
"""

from dataclasses import dataclass
from random import Random

GENERAL = "/v1/reports/general/17"
FORGED = "ms1.00000000." + "A" * 43
_ODD = [
    "\x00",
    "\n",
    "\r\n",
    "\xff",
    "é",
    "%",
    "%00",
    "..",
    "/",
    ";",
    ",",
    "=",
    '"',
    "*",
    " ",
    "9" * 30,
    "q=",
    "\t",
]


@dataclass(frozen=True, slots=True)
class Bad:
    """One request and the status that it gets from a reader with sessions.

    Attributes:
        seed: of `forms`.
        logged_in: whether a good session goes with it.
    """

    seed: int
    status: int
    method: str = "GET"
    path: str = GENERAL
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    logged_in: bool = True

    def forms(self, count: int) -> "list[Bad]":
        """Requests that differ from this one in places; the same ones each time. Their status is not known."""
        dice = Random(self.seed)  # noqa: S311  to be repeated
        return [self._form(dice) for _ in range(count)]

    def _form(self, dice: Random) -> "Bad":
        headers = [(name, _spoilt(value, dice)) for name, value in self.headers] * dice.choice([1, 1, 2])
        path = _spoilt(self.path, dice) if dice.random() < 0.5 else self.path
        return Bad(self.seed, 0, self.method, path, _spoilt(self.query, dice), tuple(headers), self.logged_in)


def _spoilt(text: str, dice: Random) -> str:
    place = dice.randint(0, len(text))
    return (
        text[:place] + dice.choice(_ODD) * dice.choice([0, 1, 1, 300]) + text[place + dice.choice([0, 0, 1, 5]) :]
    )


CASES = [
    # paths: nothing but a name and a positive bigint is one
    Bad(1, 404, path="/v1/reports/general/0"),
    Bad(2, 404, path="/v1/reports/general/-17"),
    Bad(3, 404, path="/v1/reports/general/9223372036854775808"),
    Bad(4, 404, path="/v1/reports/general/" + "9" * 5000),
    Bad(5, 404, path="/v1/reports/general/17/"),
    Bad(6, 404, path="/v1/reports/general/17\x00"),
    Bad(7, 404, path="/v1/reports/general/\N{ARABIC-INDIC DIGIT ONE}7"),
    Bad(8, 404, path="/v1/reports/../reports/general/17"),
    Bad(9, 404, path="/v1/reports/%2e%2e%2fgeneral/17"),
    Bad(10, 404, path="/v1/reports/\xff\xfe/17"),
    Bad(11, 404, path="//v1/reports/general/17"),
    Bad(12, 404, path=""),
    Bad(13, 404, path="/" + "a" * 70_000),
    Bad(14, 404, path="/v1/reports/_meta/17"),
    Bad(15, 404, path="*"),
    # methods
    Bad(20, 405, method="POST"),
    Bad(21, 405, method="DELETE"),
    Bad(22, 405, method="PROPFIND"),
    Bad(23, 405, method=""),
    Bad(24, 404, method="POST", path="/nowhere"),
    # queries
    Bad(30, 400, query="at=yesterday"),
    Bad(31, 400, query="at=2026-13-01"),
    Bad(32, 400, query="at=%00"),
    Bad(33, 400, query="at=2026-11-20&at=" + "9" * 10_000),
    Bad(42, 400, query="at=2026-11-20&at=2026-11-20"),
    Bad(43, 400, query="at="),
    Bad(44, 400, query="at=2026%2D11%2D20"),
    Bad(40, 400, query="at=20261120"),
    Bad(41, 400, query="at=2026-W47-5"),
    Bad(34, 404, query="at=0001-01-01"),
    Bad(35, 404, query="at=9999-12-31"),
    Bad(36, 400, headers=(("accept-datetime", "soon"),)),
    Bad(37, 400, headers=(("accept-datetime", "Fri, 99 Nov 2026 10:00:00 GMT"),)),
    Bad(38, 404, headers=(("accept-datetime", "Mon, 01 Jan 0001 00:00:00 +2359"),)),
    Bad(39, 400, headers=(("accept-datetime", "\xff" * 3000),)),
    # tokens: absent, forged, over-long, binary, twice
    Bad(50, 401, logged_in=False),
    Bad(51, 401, logged_in=False, headers=(("authorization", f"Bearer {FORGED}"),)),
    Bad(52, 401, logged_in=False, headers=(("cookie", f"__Host-momentus={FORGED}"),)),
    Bad(53, 401, logged_in=False, headers=(("authorization", "Bearer " + "A" * 100_000),)),
    Bad(54, 401, logged_in=False, headers=(("authorization", "Bearer \x00\xff"),)),
    Bad(55, 401, logged_in=False, headers=(("authorization", "Basic dTpw"),)),
    Bad(56, 401, logged_in=False, headers=(("authorization", f"Bearer {FORGED}"), ("authorization", "Bearer x"))),
    Bad(57, 401, logged_in=False, headers=(("cookie", "=;;;__Host-momentus;__Host-momentus=" + "\x80" * 9000),)),
    Bad(58, 401, logged_in=False, path="/openapi.json"),
    Bad(59, 401, logged_in=False, path="/openapi.json", headers=(("cookie", f"__Host-momentus={FORGED}"),)),
    # forms and bounds that cannot be met
    Bad(70, 406, headers=(("accept", "text/html"),)),
    Bad(71, 406, headers=(("accept-encoding", "br, identity;q=0"),)),
    Bad(72, 504, headers=(("cache-control", "min-fresh=99999999999999999999999, only-if-cached"),)),
    Bad(73, 504, headers=(("cache-control", 'min-fresh="86400", min-fresh=1, only-if-cached'),)),
    # conditions
    Bad(80, 412, headers=(("if-match", '"0000000000000000"'),)),
    Bad(81, 412, headers=(("if-match", 'W/"0000000000000000"'), ("if-none-match", "*"))),
    Bad(82, 412, headers=(("if-unmodified-since", "Mon, 01 Jan 2001 00:00:00 GMT"),)),
    Bad(83, 200, headers=(("if-unmodified-since", "soon"), ("if-modified-since", "\xff" * 3000))),
]
