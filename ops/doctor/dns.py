"""DNS records of a sender domain and of a mail server. Only this module uses dnspython.

A name that does not exist is one fact; a name server that does not answer is another (`unanswered`). The checks
must not confuse them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver
import dns.reversename

_SECONDS = 3.0
_PATIENCE = 2
"""Number of unanswered queries after which no more are sent: no name server can be reached."""
_MOST_INCLUDES = 12
_INCLUDE = re.compile(r"(?:^|\s)[+?~-]?(?:include:|redirect=)([A-Za-z0-9._-]+)", re.IGNORECASE)
_ABSENT = (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainFacts:
    """DNS facts of one sender domain.

    Attributes:
        unanswered: the queries that no name server answered.
        spf: texts that start like SPF; more than one is a fault (RFC 7208, 4.5).
        spf_included: the SPF text of each included domain, recursively.
        dkim: the text of each selector's record, if it exists.
        dmarc: texts that start like DMARC, of the domain or the nearest parent that has one.
        mail_servers: its MX hosts; ``("",)`` is the null MX.
    """

    domain: str
    unanswered: tuple[str, ...] = ()
    spf: tuple[str, ...] = ()
    spf_included: Mapping[str, str] = field(default_factory=dict)
    dkim: Mapping[str, str] = field(default_factory=dict)
    dmarc: tuple[str, ...] = ()
    mail_servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """Addresses of a mail server, with the names that the PTR records of each give."""

    host: str
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    confirmed: frozenset[str] = frozenset()


class Resolver:
    """Client of name servers.

    Args:
        server: ``address`` or ``address:port`` of a name server; empty: those of this machine.
    """

    def __init__(self, server: str = "") -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=not server)
        if server:
            address, _, port = server.partition(":")
            self._resolver.nameservers, self._resolver.port = [address], int(port or 53)
        self._resolver.lifetime = _SECONDS
        self._unanswered: list[str] = []

    async def domain(self, domain: str, selectors: Sequence[str]) -> DomainFacts:
        """Look up the SPF, DKIM, DMARC and MX records of a sender domain."""
        self._unanswered = []
        spf = await self._texts(domain, "v=spf1")
        keys = {selector: await self._texts(f"{selector}._domainkey.{domain}", "") for selector in selectors}
        return DomainFacts(
            domain=domain,
            spf=spf,
            spf_included=await self._included(spf),
            dkim={selector: texts[0] for selector, texts in keys.items() if texts},
            dmarc=await self._dmarc(domain),
            mail_servers=tuple(text.split()[-1].rstrip(".").lower() for text in await self._records(domain, "MX")),
            unanswered=tuple(self._unanswered),
        )

    async def host(self, host: str) -> HostFacts:
        """Look up a server's addresses, and the names in the PTR records of these."""
        names: dict[str, tuple[str, ...]] = {}
        confirmed: set[str] = set()
        for address in [*await self._records(host, "A"), *await self._records(host, "AAAA")]:
            pointers = await self._records(dns.reversename.from_address(address).to_text(), "PTR")
            names[address] = tuple(pointer.rstrip(".").lower() for pointer in pointers)
            for name in names[address]:
                if address in [*await self._records(name, "A"), *await self._records(name, "AAAA")]:
                    confirmed.add(address)
        return HostFacts(host=host, names=names, confirmed=frozenset(confirmed))

    async def _included(self, spf: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        waiting = [name for text in spf for name in _INCLUDE.findall(text)]
        while waiting and len(found) < _MOST_INCLUDES:
            name = waiting.pop(0).lower()
            if name not in found:
                found[name] = next(iter(await self._texts(name, "v=spf1")), "")
                waiting += _INCLUDE.findall(found[name])
        return found

    async def _dmarc(self, domain: str) -> tuple[str, ...]:
        """Return the DMARC texts of the domain, else of its nearest parent, except a top-level one."""
        labels = domain.split(".")
        for start in range(max(1, len(labels) - 1)):
            if texts := await self._texts(f"_dmarc.{'.'.join(labels[start:])}", "v=dmarc1"):
                return texts
        return ()

    async def _texts(self, name: str, prefix: str) -> tuple[str, ...]:
        answer = await self._answer(name, "TXT")
        texts = (b"".join(record.strings).decode("utf-8", "replace") for record in answer or ())
        return tuple(text for text in texts if text.lower().startswith(prefix))

    async def _records(self, name: str, kind: str) -> list[str]:
        return [record.to_text() for record in await self._answer(name, kind) or ()]

    async def _answer(self, name: str, kind: str) -> dns.resolver.Answer | None:
        if len(self._unanswered) >= _PATIENCE:
            self._unanswered.append(f"{kind} {name}")
            return None
        try:
            return await self._resolver.resolve(name, kind)
        except _ABSENT:
            return None
        except (dns.exception.DNSException, OSError):
            self._unanswered.append(f"{kind} {name}")
            return None
