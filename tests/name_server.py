"""A name server on loopback that knows what a test tells it: UDP, one answer a question, NXDOMAIN for the rest."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Zone = Mapping[tuple[str, str], Sequence[str]]
"""Name without its last dot, and type, to the records as a zone file has them."""


class _Server(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, octets: bytes, client: tuple[str, int]) -> None:
        question = dns.message.from_wire(octets)
        (asked,) = question.question
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        records = self._zone.get((name, kind), ())
        if records:
            answer.answer.append(dns.rrset.from_text(asked.name, 60, dns.rdataclass.IN, asked.rdtype, *records))
        elif not any(known == name for known, _ in self._zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), client)


@asynccontextmanager
async def name_server(zone: Zone) -> AsyncIterator[str]:
    """Its ``address:port`` while the block runs."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Server(zone), local_addr=("127.0.0.1", 0))
    try:
        yield "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])
    finally:
        transport.close()
