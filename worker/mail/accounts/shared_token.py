"""Bearer token that all workers share: requested once per expiry, and sealed in Redis.

    in this process  ->  in Redis, sealed  ->  a new one from the authority
                                               (by one worker at a time, the others wait for it)

The first worker that finds the token due takes a lease and sends a request to the authority; meanwhile the others
use the old token, or wait if it has expired. The lease only saves requests: two requests give two valid tokens.

In Redis the token is encrypted with AES-256-GCM under a key that is derived (HKDF-SHA-256) from the account's own
client secret, which is never in Redis, and bound to the account's name. So access to Redis or its backups is not
enough to log in. A token that cannot be decrypted, because the secret has changed, counts as absent.

What can go wrong: `TokenUnavailable` if Redis or the authority is down; `TokenRefused` if the authority refuses. A
server that refuses a token early gets one new token; if it refuses that too, the account is at fault and not the
token, and no third token is requested until the second has expired.
"""

import asyncio
import secrets
import time
from dataclasses import replace
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from redis.exceptions import RedisError

from producers.link import Link
from worker.mail.smtp.token import Token, TokenSource, TokenUnavailable

_EARLY: Final = 300.0
"""Seconds before its expiry in which a token is renewed while the old one is still used."""
_EARLY_SHARE: Final = 0.1
_STILL_GOOD: Final = 30.0
_LEASE_MS: Final = 30_000
_PATIENCE: Final = 30.0
_INTERVAL: Final = 0.1
_ANSWER_SECONDS: Final = 2.0
_NONCE_BYTES: Final = 12


class SharedTokens:
    """Shared token of one account; implements `worker.mail.smtp.token.Tokens`.

    Args:
        source: the authority.
        link: connection to Redis.
        account: the account's name, part of the keys.
        secret: the account's client secret or private key.

    Example:
        tokens = SharedTokens(MicrosoftTokens(...), link, account="main", secret=client_secret)
        server = Server("smtp.office365.com", 587, "required", "tasks@example.com", tokens=tokens)
    """

    def __init__(self, source: TokenSource, link: Link, *, account: str, secret: str) -> None:
        self._source = source
        self._link = link
        self._key = token_key(account)
        self._lease_key = f"momentus:{{mail}}:token_lease:{account}"
        derived = HKDF(SHA256(), length=32, salt=None, info=b"momentus mail token 1").derive(secret.encode())
        self._seal = AESGCM(derived)
        self._known: Token | None = None
        self._one_at_a_time = asyncio.Lock()

    async def token(self) -> Token:
        """Return the token to log in with.

        Raises:
            TokenUnavailable, TokenRefused: see `worker.mail.smtp.token`.
        """
        async with self._one_at_a_time:
            if not _is_fresh(self._known):
                self._known = await self._read_stored()
            if self._known is None or not _is_fresh(self._known):
                self._known = await self._renew(self._known, after_refusal=False)
            return self._known

    async def renewed(self, refused: Token) -> Token | None:
        """Return another token after a server refused this one early; None if another would be refused too.

        Raises:
            TokenUnavailable, TokenRefused: see `worker.mail.smtp.token`.
        """
        async with self._one_at_a_time:
            found = await self._read_stored()
            if found is None or found.value == refused.value:
                if refused.after_refusal or (found and found.after_refusal):
                    return None
                found = await self._renew(refused, after_refusal=True)
            self._known = found
            return found

    async def _renew(self, old: Token | None, *, after_refusal: bool) -> Token:
        """Return a new token, requested here or by another worker."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            if await self._call("SET", self._lease_key, "1", "NX", "PX", _LEASE_MS):
                try:
                    return await self._find_other(old) or await self._request_token(after_refusal=after_refusal)
                finally:
                    await self._call("DEL", self._lease_key)
            if found := await self._find_other(old):
                return found
            if not after_refusal and old is not None and time.time() < old.expires_at - _STILL_GOOD:
                return old
            await asyncio.sleep(_INTERVAL)
        raise TokenUnavailable(
            f"timeout: another worker has been requesting the token without success for {_PATIENCE:g} s"
        )

    async def _request_token(self, *, after_refusal: bool) -> Token:
        try:
            async with asyncio.timeout(_PATIENCE):
                token = await self._source.token()
        except TimeoutError as error:
            raise TokenUnavailable(f"timeout: the authority did not respond within {_PATIENCE:g} s") from error
        life = token.expires_at - time.time()
        renew_at = token.expires_at - min(_EARLY, life * _EARLY_SHARE)
        token = replace(token, renew_at=renew_at, after_refusal=after_refusal)
        if life > 1:
            await self._call("SET", self._key, self._encrypt(token), "PX", round(life * 1000))
        return token

    async def _find_other(self, old: Token | None) -> Token | None:
        found = await self._read_stored()
        return found if _is_fresh(found) and (old is None or found is None or found.value != old.value) else None

    async def _read_stored(self) -> Token | None:
        sealed = await self._call("GET", self._key)
        return self._decrypt(sealed) if isinstance(sealed, bytes) else None

    def _encrypt(self, token: Token) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        content = orjson.dumps([token.value, token.expires_at, token.renew_at, token.after_refusal])
        return nonce + self._seal.encrypt(nonce, content, self._key.encode())

    def _decrypt(self, sealed: bytes) -> Token | None:
        try:
            content = self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._key.encode())
        except (InvalidTag, ValueError):
            return None
        return Token(*orjson.loads(content))

    async def _call(self, *command: str | bytes | int) -> object:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._link.call(*command)
        except (RedisError, OSError, TimeoutError) as error:
            raise TokenUnavailable(f"Redis did not answer: {type(error).__name__}") from error


def token_key(account: str) -> str:
    """Return the key of the STRING that holds the account's sealed token and expires with it."""
    return f"momentus:{{mail}}:token:{account}"


def _is_fresh(token: Token | None) -> bool:
    return token is not None and time.time() < token.renew_at
