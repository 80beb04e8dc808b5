"""Parts in which a large set is stored, each taking the server about a millisecond.

A small change is written into the stored set by one call. For a larger change the new set is built under another
key, part by part: changed documents are sent, and the server copies the others. Then one call, whose cost does not
depend on the size, replaces the stored set unless another set was stored meanwhile. A reader sees the old set
until that call, and the new one after it.

The price of a large change to a large set: all of it is written again, and both sets need memory meanwhile.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from reports.compress import Compressor
from reports.document import Document
from reports.last_set import ChangedDocuments
from reports.node_ids import NodeId

SCOPES = 32
"""Largest number of scopes in one part; each has up to five fields.

Measured while 50,000 nodes were stored on two cores (``./run bench publish``): the 99th percentile of a send
beside it is 4.1 ms with 32 scopes and 5.5 ms with 64 (1.1 ms when nothing is stored); storing takes a tenth more.
"""
BYTES = 256_000
"""Largest size in bytes of the documents in one part, except for a single larger document."""
DIRECT_SCOPES = 256
"""Largest number of scopes in a change that one call writes into the stored set; its documents have at most
`BYTES` as well.

Staging copies the whole set, so that 100 changed nodes of 20,000 would copy 20,000. Measured with ``publish.lua``
on Redis 7.0.15 (best of 150 calls on one connection, bodies of 500 bytes with two variants): the server takes
0.5 ms for 64 scopes, 1.0 ms for 128, 2.0 ms for 256, 2.4 ms for 320; the caller's round trip is 2.5 ms for 256.
Of bodies of 2,000 bytes, 128 scopes (256 kB) take it 1.8 ms.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Arguments of one call of ``stage.lua``.

    Attributes:
        fields: names and values, alternating.
        carried: scopes that are copied from the stored set.
        gone: scopes that are gone in the new set.
    """

    fields: Sequence[bytes | str] = field(default=(), repr=False)
    carried: Sequence[NodeId] = ()
    gone: Sequence[NodeId] = ()

    @property
    def arguments(self) -> list[bytes | str | int]:
        """Arguments that follow those that all parts share."""
        return [len(self.fields), *self.fields, len(self.carried), *self.carried, *self.gone]


def is_direct(scopes: Sequence[NodeId], size: Callable[[NodeId], int]) -> bool:
    """Return True if a change is small enough to be stored by one call, in place.

    >>> is_direct(range(256), lambda scope: 1_000), is_direct(range(257), lambda scope: 0)
    (True, False)
    >>> is_direct([1], lambda scope: 10_000_000), is_direct(range(2), lambda scope: 300_000)
    (True, False)
    """
    return len(scopes) <= DIRECT_SCOPES and (len(scopes) == 1 or sum(map(size, scopes)) <= BYTES)


def slices(scopes: Iterable[NodeId], size: Callable[[NodeId], int]) -> Iterator[list[NodeId]]:
    """Split scopes into slices of one part each.

    >>> [len(one) for one in slices(range(150), lambda scope: 1_000)]
    [64, 64, 22]
    >>> [len(one) for one in slices(range(5), lambda scope: 100_000)]
    [2, 2, 1]
    """
    part: list[NodeId] = []
    room = BYTES
    for scope in scopes:
        took = size(scope)
        if part and (len(part) == SCOPES or took > room):
            yield part
            part, room = [], BYTES
        part.append(scope)
        room -= took
    if part:
        yield part


def parts_of(
    documents: Mapping[NodeId, Document],
    *,
    changed: Sequence[NodeId],
    gone: Sequence[NodeId],
    long_gone: Iterable[NodeId],
) -> Iterator[Part]:
    """Yield the whole of a new set, part by part. Compresses changed documents, so call it off the event loop.

    Args:
        changed: scopes whose documents are not stored.
        gone: scopes that are stored and missing in the new set.
        long_gone: scopes that are stored as gone.
    """
    compressor = Compressor()
    for scopes in slices(changed, lambda scope: size_of(documents[scope])):
        yield Part(fields=fields_of(documents, scopes, compressor))
    sent = set(changed)
    unchanged = (scope for scope in documents if scope not in sent)
    for scopes in slices(unchanged, partial(stored_size, documents)):
        yield Part(carried=scopes)
    for scopes in slices((scope for scope in long_gone if scope not in documents), lambda _: 0):
        yield Part(carried=scopes)
    for scopes in slices(gone, lambda _: 0):
        yield Part(gone=scopes)


def fields_of(
    documents: Mapping[NodeId, Document], scopes: Sequence[NodeId], compressor: Compressor
) -> list[bytes | str]:
    """Return names and values of the fields that store these documents with their variants."""
    fields: list[bytes | str] = []
    for scope in scopes:
        document = documents[scope]
        fields += [str(scope), document.body, f"head:{scope}", document.head]
        variants = compressor.variants(document.body)
        for name, octets in (("zstd", variants.zstd), ("gzip", variants.gzip)):
            if octets:
                fields += [f"{scope}:{name}", octets]
    return fields


def stored_size(documents: Mapping[NodeId, Document], scope: NodeId) -> int:
    """Return the bytes of a document that may not have been written, without its variants."""
    if isinstance(documents, ChangedDocuments) and scope not in documents.changed:
        return documents.last.sizes[scope]
    return size_of(documents[scope])


def size_of(document: Document) -> int:
    """Return the bytes of a document, without its variants."""
    return len(document.body) + len(document.head)
