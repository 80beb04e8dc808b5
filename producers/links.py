"""The links of one process: one to a server, whoever it is; on a cluster one for each lane group."""

from .address import read_address
from .link import Link


class Links:
    """Made when they are first asked for. Belong to one event loop.

    Args:
        url: see :mod:`.address` for its forms.

    Raises:
        ValueError: an address of another form.

    Example:
        links = Links("cluster://127.0.0.1:7000,127.0.0.1:7001")
        await links.of("{mail}").call("HGET", "momentus:{mail}:counters", "done:mail.normal")
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._parted = bool(read_address(url).cluster)
        self._links: dict[str, Link] = {}

    def of(self, tag: str) -> Link:
        """The link for keys with this hash tag, braces included."""
        known = tag if self._parted else ""
        if known not in self._links:
            self._links[known] = Link(self._url, known)
        return self._links[known]

    async def close(self) -> None:
        """Close the connections."""
        for link in self._links.values():
            await link.close()
