"""What caches are told of a response that depends on a session: never less strict than the application says."""

import pytest

from sessions.response_headers import keep_from_shared_caches, vary_by_cookie


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], [b"Cookie"]),
        ([b""], [b"", b"Cookie"]),
        ([b"Accept-Encoding"], [b"Accept-Encoding, Cookie"]),
        ([b"Accept", b"Origin"], [b"Accept", b"Origin, Cookie"]),
        ([b"Accept-Encoding, cookie"], [b"Accept-Encoding, cookie"]),
        ([b"*"], [b"*"]),
    ],
)
def test_a_response_varies_by_the_cookie_beside_what_it_varies_by_already(
    given: list[bytes], kept: list[bytes]
) -> None:
    others = [(b"content-type", b"text/html")]
    after = vary_by_cookie([*others, *((b"Vary", value) for value in given)])
    assert [value for name, value in after if name.lower() == b"vary"] == kept
    assert after[0] == others[0]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], [b"no-store"]),
        ([b""], [b"", b"no-store"]),
        ([b"no-store"], [b"no-store"]),
        ([b"no-cache, No-Store"], [b"no-cache, No-Store"]),
        ([b"private, max-age=60"], [b"private, max-age=60"]),
        ([b"PRIVATE"], [b"PRIVATE"]),
        ([b"public, max-age=3600"], [b"max-age=3600, private"]),
        ([b"max-age=3600, s-maxage=60"], [b"max-age=3600, private"]),
        ([b"no-cache"], [b"no-cache, private"]),
        ([b'private="set-cookie, x-a", max-age=5'], [b"max-age=5, private"]),
        ([b'no-cache="set-cookie"'], [b'no-cache="set-cookie", private']),
        ([b"private", b"s-maxage=5"], [b"private"]),
        ([b"max-age=1", b"public"], [b"max-age=1, private"]),
    ],
)
def test_no_shared_cache_keeps_it_and_what_is_stricter_stays(given: list[bytes], kept: list[bytes]) -> None:
    after = keep_from_shared_caches([(b"Cache-Control", value) for value in given])
    assert [value for _, value in after] == kept
